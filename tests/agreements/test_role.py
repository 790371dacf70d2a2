"""Least privilege: the function's IAM role allows exactly the AWS calls that the stores make, recorded on moto."""

import ast
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from chatkit.types import AttachmentCreateParams

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.s3_files import SIGNING_CONFIG, S3AttachmentStore
from lambda_src.context import Turn, User
from lambda_src.dev.store_contract.samples import context_of, file_of, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.aws_calls import Calls
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.payloads import INLINE_MAX_BYTES
from tests.agreements.aws_calls import AwsCalls, Grant
from tests.agreements.deployed import resources
from tests.store.new_threads_contract import begin, claim
from tests.store.tables import moto_aws

ROOT = Path(__file__).parents[2]
OPERATORS_ONLY = {"scan"}  # the command line calls these with the operator's credentials; the function may not
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
TWO_DAYS_NS = 2 * 86_400 * 10**9


async def _use_everything(store: DynamoDBStore, later: DynamoDBStore) -> None:
    """Run every store operation that the function uses; export, import and erase are operator commands."""
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
    await claim(store)
    assert await begin(store, thread_id="thr_3")
    await later.sweep(stop=lambda: False)
    await later.sweep_orphans(everything=True, stop=lambda: False)


async def nothing_to_copy(_: str) -> None:
    """Copy nothing: the attachment store copies files."""


async def _attach_a_picture(files: S3AttachmentStore, upload: Callable[[str], object]) -> None:
    """Take a file through its life: create, upload, verify, bind, read, copy, delete."""
    ada = replace(context_of("ada"), turn=Turn("turn-0123456789ab"))
    params = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    picture = await files.create_attachment(params, ada)
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
    """The AWS calls that all store operations make."""
    calls = AwsCalls()
    with moto_aws() as aws:
        bucket, table = aws.bucket(), aws.table()
        upload = keys.attachment_objects("ada", "atc_2") + "bytes"
        orphan = keys.offload_object("ada", "an odd/id", "msg_0", "0")  # its metadata names its row
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
    """Return what the role allows on the table and the bucket."""
    [policy] = resources("AWS::IAM::Policy")
    granted = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        places = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        granted |= {(action, _resource(action, resource)) for action in actions for resource in places}
    return {(action, resource) for action, resource in granted if action.startswith(("dynamodb:", "s3:"))}


def _resource(action: str, resource: Any) -> str:
    """Return the resource that an ARN's last part names: an index, a folder, or without such a part the whole."""
    ending = resource["Fn::Join"][1][-1] if isinstance(resource, dict) and "Fn::Join" in resource else ""
    if not isinstance(ending, str) or not ending:
        return "table" if action.startswith("dynamodb:") else "bucket"
    return "index" if ending == f"/index/{keys.ORDER_INDEX}" else ending.removeprefix("/")


async def test_the_role_allows_exactly_the_calls_of_the_stores(calls: AwsCalls) -> None:
    assert _granted() == calls.needed


def test_the_role_of_a_stage_with_operators_may_publish_to_its_topic_and_to_nothing_else() -> None:
    template = json.loads((ROOT / "tests/infra/snapshots/full.json").read_text(encoding="utf-8"))["Resources"]
    [topic] = [name for name in template if name.startswith("EventsTopic") and "Policy" not in name]
    policies = [resource["Properties"] for resource in template.values() if resource["Type"] == "AWS::IAM::Policy"]
    statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    [publishing] = [each for each in statements if "sns" in json.dumps(each["Action"])]
    assert (publishing["Action"], publishing["Resource"]) == ("sns:Publish", {"Ref": topic})


async def test_the_recording_covers_every_client_operation_in_the_source(calls: AwsCalls) -> None:
    named: set[str] = set()
    sources = [path for folder in ("store", "attachments") for path in (ROOT / "lambda_src" / folder).rglob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Attribute(attr="_client"), attr=operation):
                    named.add(operation.replace("_", ""))
    named.discard("generatepresignedurl")  # not an operation: it signs one, which is recorded by its own name
    assert named - OPERATORS_ONLY == {operation.lower() for operation in calls.operations}
