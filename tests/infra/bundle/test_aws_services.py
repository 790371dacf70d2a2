"""infra/bundle/aws_services.py: trims botocore to the AWS services and operations that the code uses."""

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from infra.bundle.aws_services import operations_named, services_named, trim_services


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('boto3.client("sqs")', {"sqs"}),
        ("session.resource(\n    'dynamodb', config=c)", {"dynamodb"}),
        ('aws_client(service_name="bedrock-runtime")', {"bedrock-runtime"}),
        ("boto3.client(name)", set()),
        ('say("sqs")', set()),
    ],
)
def test_a_service_is_recognized_by_a_literal_in_a_call(source: str, named: set[str], tmp_path: Path) -> None:
    file = tmp_path / "tool.py"
    file.write_text(source, encoding="utf-8")
    assert services_named([file]) == named


def test_services_named_by_our_code_or_a_library_stay_but_boto3s_examples_do_not_count(tmp_path: Path) -> None:
    for service in ("dynamodb", "sqs", "ec2", "iam"):
        (tmp_path / "botocore" / "data" / service).mkdir(parents=True)
    (tmp_path / "botocore" / "data" / "endpoints.json").write_text('{"partitions": []}', encoding="utf-8")
    (tmp_path / "boto3").mkdir()
    (tmp_path / "boto3" / "session.py").write_text('client("ec2")', encoding="utf-8")
    (tmp_path / "library.py").write_text('boto3.client("sqs")', encoding="utf-8")
    assert trim_services(tmp_path, keep={"dynamodb"}, operations=set()) == ["dynamodb", "sqs"]
    assert {path.name for path in (tmp_path / "botocore" / "data").iterdir()} == {"dynamodb", "sqs", "endpoints.json"}


def test_the_endpoints_of_other_services_are_removed_too(tmp_path: Path) -> None:
    data = tmp_path / "botocore" / "data"
    for service, prefix in (("s3", "s3"), ("cloudwatch", "monitoring"), ("ec2", "ec2")):
        (data / service / "2010-08-01").mkdir(parents=True)
        description = json.dumps({"metadata": {"endpointPrefix": prefix}, "documentation": "<p>Long.</p>"}).encode()
        (data / service / "2010-08-01" / "service-2.json.gz").write_bytes(gzip.compress(description))
    services: dict[str, object] = {"s3": {"endpoints": {}}, "monitoring": {}, "ec2": {}, "cloudwatch": {}}
    partitions = [{"partition": "aws", "services": services}, {"partition": "aws-cn", "services": {"ec2": {}}}]
    (data / "endpoints.json").write_text(json.dumps({"version": 3, "partitions": partitions}), encoding="utf-8")
    trim_services(tmp_path, keep={"s3", "cloudwatch"}, operations=set())
    remaining = json.loads((data / "endpoints.json").read_text(encoding="utf-8"))
    assert remaining["version"] == 3
    assert [set(partition["services"]) for partition in remaining["partitions"]] == [
        {"s3", "monitoring", "cloudwatch"},
        set(),
    ]


def botocore_with(tmp_path: Path, *services: str) -> Path:
    """A folder with the installed botocore's data of these services, but none of its code."""
    original = Path(botocore.__file__).parent / "data"
    for service in services:
        shutil.copytree(original / service, tmp_path / "botocore" / "data" / service)
    for file in original.glob("*.json"):
        shutil.copy(file, tmp_path / "botocore" / "data")
    return tmp_path


def session_on(folder: Path) -> botocore.session.Session:
    """A session that reads the data in this folder."""
    session = botocore.session.Session()
    loader = Loader([str(folder / "botocore" / "data")], include_default_search_paths=False)
    session.register_component("data_loader", loader)
    return session


def test_service_descriptions_lose_only_their_documentation_and_unused_operations(tmp_path: Path) -> None:
    folder = botocore_with(tmp_path, "s3", "ssm")
    trim_services(folder, keep={"s3", "ssm"}, operations={"get_object", "GetParameter"})
    weight = sum(path.stat().st_size for path in (folder / "botocore" / "data").rglob("service-2.json"))
    assert weight < 30_000  # 2.4 MB with documentation and all operations
    plain, trimmed = botocore.session.Session(), session_on(folder)
    for region in ("eu-central-1", "us-gov-west-1", "cn-north-1"):
        for service, call, parameters in (
            ("s3", "get_object", {"Bucket": "files", "Key": "a b"}),
            ("ssm", "get_parameter", {"Name": "/chat/key", "WithDecryption": True}),
        ):
            requests = [_sent_request(session, service, region, call, parameters) for session in (plain, trimmed)]
            assert requests[0] == requests[1]


def _sent_request(
    session: botocore.session.Session, service: str, region: str, call: str, parameters: Any
) -> tuple[Any, ...]:
    """The request that a client would send, and the class of the error in its response."""
    client: Any = session.create_client(service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b")
    sent: list[AWSRequest] = []

    def answer(request: Any, **_: object) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 404, HTTPHeaders(), Raw(b'{"__type": "ParameterNotFound", "message": "none"}'))

    client.meta.events.register("before-send.*.*", answer)
    with pytest.raises(ClientError) as refused:
        getattr(client, call)(**parameters)
    return sent[0].method, sent[0].url, sent[0].body, refused.type.__name__


def operations_kept(folder: Path, service: str) -> set[str]:
    return set(session_on(folder).get_service_model(service).operation_names)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("client.list_queues()", {"ListQueues"}),
        ('client.get_paginator("list_queues")', {"ListQueues"}),
        ('client._make_api_call("SendMessage", {})', {"SendMessage"}),
        ("client.list_queue()", set()),
        ("", set()),
    ],
)
def test_an_operation_stays_if_code_or_a_library_names_it(source: str, kept: set[str], tmp_path: Path) -> None:
    code, folder = tmp_path / "tool.py", botocore_with(tmp_path / "zip", "sqs")
    code.write_text(source, encoding="utf-8")
    (folder / "library.py").write_text("queue.send_message_batch()", encoding="utf-8")
    trim_services(folder, keep={"sqs"}, operations=operations_named([code], services=["sqs"]))
    assert operations_kept(folder, "sqs") == kept | {"SendMessageBatch"}


def test_the_operation_of_a_waiter_that_code_names_stays(tmp_path: Path) -> None:
    code, folder = tmp_path / "tool.py", botocore_with(tmp_path / "zip", "dynamodb")
    code.write_text('client.get_waiter("table_exists").wait(TableName="t")', encoding="utf-8")
    trim_services(folder, keep={"dynamodb"}, operations=operations_named([code], services=["dynamodb"]))
    assert operations_kept(folder, "dynamodb") == {"DescribeTable", "DescribeEndpoints"}  # botocore calls the latter


def test_an_error_that_code_catches_can_be_caught_without_its_operation(tmp_path: Path) -> None:
    code, folder = tmp_path / "tool.py", botocore_with(tmp_path / "zip", "ssm")
    code.write_text("client.get_parameter()\nclient.exceptions.ParameterAlreadyExists", encoding="utf-8")
    trim_services(folder, keep={"ssm"}, operations=operations_named([code], services=["ssm"]))
    client: Any = session_on(folder).create_client("ssm", region_name="eu-central-1")
    assert issubclass(client.exceptions.ParameterAlreadyExists, ClientError)


def test_the_operations_behind_boto3s_resources_stay(tmp_path: Path) -> None:
    folder = botocore_with(tmp_path, "sqs")
    resources = folder / "boto3" / "data" / "sqs" / "2012-11-05"
    resources.mkdir(parents=True)
    queue = {"resources": {"Queue": {"actions": {"Purge": {"request": {"operation": "PurgeQueue"}}}}}}
    (resources / "resources-1.json").write_text(json.dumps(queue), encoding="utf-8")
    trim_services(folder, keep={"sqs"}, operations=set())
    assert operations_kept(folder, "sqs") == {"PurgeQueue"}


class Raw(io.BytesIO):
    """A body with the `stream` method of a urllib3 response."""

    def stream(self, *_: object, **__: object) -> Any:
        yield self.read()


def test_a_bundle_without_boto3_has_nothing_to_trim(tmp_path: Path) -> None:
    assert trim_services(tmp_path, keep={"s3"}, operations=set()) == []
