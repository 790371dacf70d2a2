"""infra/wheels.py: which AWS services stay in botocore."""

import gzip
import json
from pathlib import Path

import pytest

from infra.wheels import services_named, trim_services


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
def test_a_service_is_named_by_a_literal_in_a_call(source: str, named: set[str], tmp_path: Path) -> None:
    file = tmp_path / "tool.py"
    file.write_text(source, encoding="utf-8")
    assert services_named([file]) == named


def test_services_stay_that_our_code_or_a_library_names_and_boto3s_examples_do_not_count(tmp_path: Path) -> None:
    for service in ("dynamodb", "sqs", "ec2", "iam"):
        (tmp_path / "botocore" / "data" / service).mkdir(parents=True)
    (tmp_path / "botocore" / "data" / "endpoints.json").write_text('{"partitions": []}', encoding="utf-8")
    (tmp_path / "boto3").mkdir()
    (tmp_path / "boto3" / "session.py").write_text('client("ec2")', encoding="utf-8")
    (tmp_path / "library.py").write_text('boto3.client("sqs")', encoding="utf-8")
    assert trim_services(tmp_path, keep={"dynamodb"}) == ["dynamodb", "sqs"]
    assert {path.name for path in (tmp_path / "botocore" / "data").iterdir()} == {"dynamodb", "sqs", "endpoints.json"}


def test_the_addresses_of_other_services_go_too(tmp_path: Path) -> None:
    data = tmp_path / "botocore" / "data"
    for service, prefix in (("s3", "s3"), ("cloudwatch", "monitoring"), ("ec2", "ec2")):
        (data / service / "2010-08-01").mkdir(parents=True)
        described = json.dumps({"metadata": {"endpointPrefix": prefix}}).encode()
        (data / service / "2010-08-01" / "service-2.json.gz").write_bytes(gzip.compress(described))
    every: dict[str, object] = {"s3": {"endpoints": {}}, "monitoring": {}, "ec2": {}, "cloudwatch": {}}
    partitions = [{"partition": "aws", "services": every}, {"partition": "aws-cn", "services": {"ec2": {}}}]
    (data / "endpoints.json").write_text(json.dumps({"version": 3, "partitions": partitions}), encoding="utf-8")
    trim_services(tmp_path, keep={"s3", "cloudwatch"})
    left = json.loads((data / "endpoints.json").read_text(encoding="utf-8"))
    assert left["version"] == 3
    assert [set(one["services"]) for one in left["partitions"]] == [{"s3", "monitoring", "cloudwatch"}, set()]


def test_a_bundle_without_boto3_has_nothing_to_trim(tmp_path: Path) -> None:
    assert trim_services(tmp_path, keep={"s3"}) == []
