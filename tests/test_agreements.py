"""What infra/ deploys and what lambda_src/ expects are the same, though neither imports the other.

The one side is read from the committed template, which tests/infra/test_template.py proves fresh.
"""

import ast
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from chatkit.types import AttachmentCreateParams
from fastapi import FastAPI

from infra import environment, front_door, observed, origin_secrets
from infra.cloudfront import FOR_EVER
from infra.config import StageConfig
from infra.stage_knobs import TIMEOUT_S
from lambda_src import front, observability
from lambda_src.admin.stage import read_stage
from lambda_src.app import serve
from lambda_src.attachments.media import FileLimits
from lambda_src.attachments.s3 import SIGNING_CONFIG, S3AttachmentStore
from lambda_src.context import User
from lambda_src.dev.store_contract.samples import context_of, file_of, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.events import Events
from lambda_src.page import Page
from lambda_src.runs import RUN_STOPS_WITHIN_S
from lambda_src.settings import PREFIX, Settings
from lambda_src.store import keys
from lambda_src.store.calls import Calls
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.payloads import INLINE_MAX_BYTES
from lambda_src.store.memory import MemoryStore
from lambda_src.turns.running import CLOSING_TIME_MS
from tests.infra.aws_calls import AwsCalls, Grant
from tests.store.tables import moto_aws

ROOT = Path(__file__).parents[1]
TASK_ROOT = "/var/task"
OPERATORS_ONLY = {"scan"}  # of the command line, with an operator's own rights: the function may not
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
TWO_DAYS_NS = 2 * 86_400 * 10**9

Properties = dict[str, Any]


def _of_type(kind: str) -> list[Properties]:
    template = json.loads((ROOT / "tests" / "template.json").read_text(encoding="utf-8"))
    return [r["Properties"] for r in template["Resources"].values() if r["Type"] == kind]


@pytest.fixture(scope="module")
def function() -> Properties:
    """The one function."""
    [function] = _of_type("AWS::Lambda::Function")
    return function


@pytest.fixture(scope="module")
def variables(function: Properties) -> dict[str, Any]:
    """Its environment; what CloudFormation fills in is a dict."""
    found: dict[str, Any] = function["Environment"]["Variables"]
    return found


@pytest.fixture(scope="module")
def table() -> Properties:
    """The one table."""
    [table] = _of_type("AWS::DynamoDB::GlobalTable")
    return table


# The environment


def test_every_variable_that_is_set_is_a_setting_or_the_wrapper(variables: dict[str, Any]) -> None:
    settings = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    assert variables.keys() - settings == {"AWS_LAMBDA_EXEC_WRAPPER"}


def test_the_settings_can_be_read_from_what_is_set(variables: dict[str, Any]) -> None:
    env = {name: value if isinstance(value, str) else "filled-in" for name, value in variables.items()}
    settings = Settings.from_env(env)  # raises for what is missing or unknown
    assert (settings.table, settings.bucket, settings.store) == ("filled-in", "filled-in", "dynamodb")


def test_the_names_that_cloudformation_fills_in_are_those_of_table_and_bucket(variables: dict[str, Any]) -> None:
    filled_in = {name for name, value in variables.items() if not isinstance(value, str)}
    assert filled_in == {"CHAT_TABLE", "CHAT_BUCKET"}


EVERY_KNOB: list[dict[str, Any]] = [
    {"models": ["a"], "quotas": {"stage_tokens_per_day": 1}, "thread_retention_days": 1, "model_key_parameter": "/key"},
    {"auth": {"guest": {"messages_per_day": 1}}, "quotas": {"stage_tokens_per_day": 1}},
    {"front_door": "cloudfront"},
    {"front_door": "cloudfront", "origin_access": "iam"},
    {"front_door": "apigw", "cors_origins": ["https://www.example.org"]},
]


@pytest.mark.parametrize("knobs", EVERY_KNOB, ids=str)
def test_whatever_a_stage_chooses_is_a_setting(knobs: dict[str, Any]) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": auth, **knobs}}})
    told = environment.variables(config, environment.Places(table="t", bucket="b", origin_secrets=("arn:1",)))
    settings = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    assert told.keys() - settings == {"AWS_LAMBDA_EXEC_WRAPPER"}


@pytest.mark.parametrize("entry", [{"guest": {}}, {"issuer": "https://login.example.org/", "audience": "chat"}])
@pytest.mark.parametrize("knobs", [{}, {"model_key_parameter": "/mine/key"}])
def test_the_command_line_writes_secrets_where_the_function_reads_them(
    entry: dict[str, Any], knobs: dict[str, Any], tmp_path: Path
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": entry, "quotas": {"stage_tokens_per_day": 1}, **knobs}}}
    cdk_json = tmp_path / "cdk.json"
    cdk_json.write_text(json.dumps({"context": context}), encoding="utf-8")
    written, read = read_stage(cdk_json, None), StageConfig.from_context(context)
    assert (written.model_key, written.guest_secret) == (read.model_key_name, read.guest_secret_name)


def test_the_shortest_time_out_leaves_a_cut_turn_time_to_end_well() -> None:
    assert TIMEOUT_S[0] > RUN_STOPS_WITHIN_S + CLOSING_TIME_MS / 1000


def test_pages_of_other_sites_may_send_and_read_the_same_whoever_answers_cors() -> None:
    assert tuple(front_door.REQUEST_HEADERS) == front.REQUEST_HEADERS
    assert tuple(front_door.RESPONSE_HEADERS) == front.RESPONSE_HEADERS


def test_the_function_looks_for_the_proof_where_cloudfront_puts_it() -> None:
    assert origin_secrets.HEADER == front.ORIGIN_HEADER


# The clock


def test_cloudfront_keeps_what_the_page_names_by_its_hash_and_nothing_else() -> None:
    app = FastAPI()
    serve(app, Page(told={}))
    assert app.url_path_for("static", name="*") == f"/{FOR_EVER}"


async def test_the_event_of_each_hour_is_one_that_the_function_knows() -> None:
    [rule] = _of_type("AWS::Events::Rule")
    [target] = rule["Targets"]
    assert (rule["ScheduleExpression"], json.loads(target["Input"])) == ("rate(1 hour)", {"chat": "sweep"})
    swept = await Events(MemoryStore())(json.loads(target["Input"]), Hours())
    assert swept == {"swept": 0, "orphans": 0, "adopted": 0}


class Hours:
    """An invocation with time to spare."""

    def get_remaining_time_in_millis(self) -> int:
        return 3_600_000


# The table and the bucket


def test_the_table_has_the_keys_and_the_index_that_the_store_asks_for(table: Properties) -> None:
    expected = keys.table_definition("any")
    assert table["KeySchema"] == expected["KeySchema"]
    assert table["LocalSecondaryIndexes"] == expected["LocalSecondaryIndexes"]
    assert sorted(table["AttributeDefinitions"], key=str) == sorted(expected["AttributeDefinitions"], key=str)
    [index] = table["LocalSecondaryIndexes"]
    assert (index["IndexName"], index["KeySchema"][1]["AttributeName"]) == (keys.ORDER_INDEX, keys.ORDER_KEY)


def test_rows_expire_by_the_attribute_that_the_store_sets(table: Properties) -> None:
    assert table["TimeToLiveSpecification"] == {"AttributeName": keys.TTL_ATTRIBUTE, "Enabled": True}


def test_uploads_expire_under_the_prefix_where_the_store_looks_for_them() -> None:
    [bucket] = _of_type("AWS::S3::Bucket")
    assert [rule["Prefix"] for rule in bucket["LifecycleConfiguration"]["Rules"]] == [keys.PENDING_PREFIX]


# The function


def test_the_handler_exists(function: Properties) -> None:
    module, _, name = function["Handler"].rpartition(".")
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))
    assigned = [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    assert name in assigned


def test_the_wrapper_exists_and_can_be_executed(variables: dict[str, Any]) -> None:
    wrapper = ROOT / Path(variables["AWS_LAMBDA_EXEC_WRAPPER"]).relative_to(TASK_ROOT)
    assert os.access(wrapper, os.X_OK)


def test_a_turn_that_is_cut_has_time_to_end_well(function: Properties) -> None:
    assert function["Timeout"] > RUN_STOPS_WITHIN_S + CLOSING_TIME_MS / 1000


def test_the_url_streams_as_the_runtime_answers() -> None:
    assert [url["InvokeMode"] for url in _of_type("AWS::Lambda::Url")] == ["RESPONSE_STREAM"]


# What it tells of itself


def _metrics(value: Any) -> Iterator[tuple[str, frozenset[str]]]:
    """(name, dimensions) of each metric of the function's own in a template: of alarms, of graphs, of searches."""
    match value:
        case {"Namespace": observed.NAMESPACE, "MetricName": str(name), "Dimensions": dimensions}:
            yield name, frozenset(one["Name"] for one in dimensions)
        case dict():
            for inner in value.values():
                yield from _metrics(inner)
        case list():
            for inner in value:
                yield from _metrics(inner)
        case str():
            graphed = rf'"{observed.NAMESPACE}","(\w+)"((?:,"\w+","?[^"\]]*"?)*)'
            for name, dimensions in re.findall(graphed, value):
                yield name, frozenset(re.findall(r',"(\w+)",', dimensions))
            for dimensions, name in re.findall(rf'{{{observed.NAMESPACE},([\w,]+)}} MetricName=\\+"(\w+)\\+"', value):
                yield name, frozenset(dimensions.split(","))


def _emitted() -> set[tuple[str, frozenset[str]]]:
    """(name, dimensions) of each metric that some log line becomes."""
    fields: list[dict[str, Any]] = [
        {"status": 401, "limit": "day", "cold_start": True, "items": 2},
        {"operation": "attachments.create", "status": 200, "kind": "stopped", "error_type": "E"},
        {"first_event_ms": 1, "first_token_ms": 2, "tokens_in": 3, "tokens_out": 4, "kind": "deadline"},
    ]
    told = StringIO()
    handler = observability.MetricsHandler(told, service="chat")
    for event in observability.METRICS:
        for one in fields:
            handler.emit(logging.makeLogRecord({"msg": event, **one}))
    return {
        (metric["Name"], frozenset(dimensions))
        for line in told.getvalue().splitlines()
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
        if directive["Namespace"] == observed.NAMESPACE
    }


def test_alarms_and_graphs_show_metrics_that_the_function_emits_and_all_of_them() -> None:
    template = json.loads((ROOT / "tests/infra/snapshots/full.json").read_text(encoding="utf-8"))
    shown = {*_metrics(template)}
    assert shown <= _emitted()
    assert {name for name, _ in _emitted()} - {name for name, _ in shown} == {"Attachments"}


# What the function may do


async def _use_everything(store: DynamoDBStore, later: DynamoDBStore) -> None:
    """One short life with all that the function does to its store; export, import and erase are the admin's."""
    ada, bob = context_of("ada"), context_of("bob")
    large = message_of("msg_2", incompressible(2 * INLINE_MAX_BYTES))
    thread = thread_of()
    await store.save_thread(thread, ada)
    thread.title = "Renamed"
    await store.save_thread(thread, ada)
    await store.load_thread("thr_1", ada)
    await store.load_threads(10, None, "desc", ada)
    for item in (message_of("msg_1"), large, message_of("msg_3")):
        await store.add_thread_item("thr_1", item, ada)
    await store.save_item("thr_1", large, ada)
    await store.load_item("thr_1", "msg_2", ada)
    await store.load_thread_items("thr_1", "msg_1", 10, "asc", ada)
    await store.add_feedback("thr_1", ["msg_1"], "positive", ada)
    await store.delete_thread_item("thr_1", "msg_2", ada)
    for attachment in (file_of("atc_1"), file_of("atc_2", thread_id="thr_1")):
        await store.save_attachment(attachment, ada)
    await store.load_attachment("atc_2", ada)
    await store.delete_attachment("atc_1", ada)
    await store.add_thread_item("thr_1", large, ada)
    await store.delete_thread("thr_1", ada)
    await store.save_thread(thread_of("thr_2"), ada)
    await store.add_thread_item("thr_2", large, ada)
    await store.claim_guest("ada", bob)
    await store.hand_over("thr_2", "ada", bob, copy_file=nothing_to_copy)
    assert [claim.guest_id async for claim in store.claimed_guests()] == ["ada"]
    await store.end_claim("ada", bob)
    await later.sweep(stop=lambda: False)
    await later.sweep_orphans(hour=None, stop=lambda: False)


async def nothing_to_copy(_: str) -> None:
    """Files are the AttachmentStore's."""


async def _attach_a_picture(files: S3AttachmentStore, upload: Callable[[str], object]) -> None:
    """One short life of a file: asked for, uploaded by the browser, looked at, kept, read, removed."""
    ada = context_of("ada")
    asked = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    picture = await files.create_attachment(asked, ada)
    upload(keys.user_objects(keys.PENDING_PREFIX, "ada") + keys.object_segment(picture.id))
    await files.verify(picture, ada)
    await files.bind(picture, ada)
    await files.read(picture.id, ada, max_bytes=100)
    await files.keep_image("img_1", PNG, ada)
    files.image_url("img_1", ada)
    await files.copy_to(User("bob"), picture.id, ada)
    await files.delete_attachment(picture.id, ada)


@pytest.fixture
async def calls() -> AwsCalls:
    """What that life asks of AWS."""
    calls = AwsCalls()
    with moto_aws() as aws:
        bucket, table = aws.bucket(), aws.table()
        upload = keys.attachment_objects("ada", "atc_2") + "bytes"
        orphan = keys.offload_object("ada", "thr_0", "msg_0", "0")
        for key in (upload, orphan):
            aws.s3.put_object(Bucket=bucket, Key=key, Metadata={"pk": "USER%23ada", "sk": "THREAD%23thr_0"})
        signing = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=SIGNING_CONFIG
        )
        for client in (aws.dynamodb, aws.s3, signing):
            calls.listen_to(client)
        files = S3AttachmentStore(signing, bucket, calls=Calls(), limits=FileLimits(), clock=time.time_ns)
        store = DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)
        later = DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3, clock=lambda: time.time_ns() + TWO_DAYS_NS)
        await _use_everything(store, later)
        browser = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        await _attach_a_picture(files, lambda key: browser.put_object(Bucket=bucket, Key=key, Body=PNG))
    return calls


def _granted() -> set[Grant]:
    """What the role may do in the table and the bucket."""
    [policy] = _of_type("AWS::IAM::Policy")
    granted = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        granted |= {(action, _resource(action, resource)) for action in actions for resource in resources}
    return {(action, resource) for action, resource in granted if action.startswith(("dynamodb:", "s3:"))}


def _resource(action: str, resource: Any) -> str:
    """The part of a resource's name that we wrote: an index or a folder; nothing after it means the whole."""
    ending = resource["Fn::Join"][1][-1] if isinstance(resource, dict) and "Fn::Join" in resource else ""
    if not isinstance(ending, str) or not ending:
        return "table" if action.startswith("dynamodb:") else "bucket"
    return "index" if ending == f"/index/{keys.ORDER_INDEX}" else ending.removeprefix("/")


async def test_the_role_allows_exactly_what_the_stores_ask_for(calls: AwsCalls) -> None:
    assert _granted() == calls.needed


async def test_no_operation_of_the_stores_was_left_out_of_the_record(calls: AwsCalls) -> None:
    named: set[str] = set()
    sources = [path for folder in ("store", "attachments") for path in (ROOT / "lambda_src" / folder).rglob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Attribute(attr="_client"), attr=operation):
                    named.add(operation.replace("_", ""))
    named.discard("generatepresignedurl")  # not an operation: it signs one, which is recorded by its own name
    assert named - OPERATORS_ONLY == {operation.lower() for operation in calls.operations}
