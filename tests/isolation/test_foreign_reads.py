"""Isolation between users: every ChatKit request of bob's, with every id of ann's in every field that takes an id.

Bob's answer equals, byte for byte, the one for an unknown id; ann's rows do not change; and his AWS calls name no
partition and no folder except his own and the stage's.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.chat import Answer, message
from tests.apps.dynamodb import DynamoDBApp, populated_dynamodb_app
from tests.fuzz.chatkit_types import REQUESTS, paths_of

NAMES = ("thread_id", "item_id", "item_ids", "attachment_id", "attachments", "after")
ANSWER = {"status": "answered", "answers": {"q1": {"values": ["a"]}}}
ACTION = {"type": "a", "payload": {}}

# A valid request of bob's for each operation, with his own ids where the tests put ann's.
THREAD, FORM, WIDGET = {"thread_id": "thr_bob_full"}, {"item_id": "form_bob"}, {"item_id": "widget_bob"}
VALID: dict[str, dict[str, Any]] = {
    "threads.create": {"input": message("hi", attachments=["atc_bob"])},
    "threads.add_user_message": {**THREAD, "input": message("hi", attachments=["atc_bob"])},
    "threads.add_client_tool_output": {"thread_id": "thr_bob_waiting", "result": 1},
    "threads.add_structured_input": {**THREAD, **FORM, "input": ANSWER},
    "threads.retry_after_item": {**THREAD, "item_id": "msg_bob"},
    "threads.custom_action": {**THREAD, **WIDGET, "action": ACTION},
    "threads.sync_custom_action": {**THREAD, **WIDGET, "action": ACTION},
    "threads.get_by_id": THREAD,
    "threads.list": {"after": "thr_bob_full"},
    "threads.update": {**THREAD, "title": "mine"},
    "threads.delete": THREAD,
    "items.list": {**THREAD, "after": "msg_bob"},
    "items.feedback": {**THREAD, "item_ids": ["msg_bob"], "kind": "negative"},
    "attachments.create": {"name": "a.txt", "size": 1, "mime_type": "text/plain"},
    "attachments.delete": {"attachment_id": "atc_bob"},
    "input.transcribe": {"audio_base64": "AAAA", "mime_type": "audio/webm"},
}
# These ids name a tool of the agent and an entity of the page, which are not stored here.
NO_REFERENCE = {"input.inference_options.tool_choice.id", "input.content.id"}


def fields_of(operation: str) -> Iterator[str]:
    """Yield the fields of an operation's params that contain ids, at any depth."""
    params = json.dumps(VALID[operation])
    yield from (name for name in NAMES if f'"{name}"' in params)


def with_ids(operation: str, ids: dict[str, str]) -> bytes:
    """Return the operation's valid request with these ids."""

    def put(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: ([ids[name]] if isinstance(inner, list) else ids[name]) if name in ids else put(inner)
            for name, inner in value.items()
        }

    return json.dumps({"type": operation, "params": put(VALID[operation])}).encode()


def foreign_fields() -> list[tuple[str, tuple[str, ...]]]:
    """List (operation, fields that get foreign ids): each field alone, and all of them together."""
    combinations: list[tuple[str, tuple[str, ...]]] = []
    for operation in VALID:
        fields = tuple(fields_of(operation))
        combinations += [(operation, (name,)) for name in fields]
        if len(fields) > 1:
            combinations.append((operation, fields))
    return combinations


@pytest.fixture(scope="module")
def shared() -> Iterator[DynamoDBApp]:
    with populated_dynamodb_app() as dynamodb_app:
        yield dynamodb_app


@pytest.fixture
def dynamodb_app(shared: DynamoDBApp) -> DynamoDBApp:
    """The shared app with its recording cleared: refused requests change nothing, so all tests can share it."""
    shared.touched.clear()
    return shared


def comparable(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """Return everything in an answer that a client can compare."""
    return answer.status, answer.body, {k: v for k, v in answer.headers.items() if k != "x-request-id"}


def assert_only_bobs_keys(dynamodb_app: DynamoDBApp) -> None:
    """Assert that bob's requests named no key of another user's."""
    for partition in dynamodb_app.touched.partitions:
        assert (partition + "#").startswith(("USER#bob#", "STAGE#", "SWEEP#")), partition
    for folder in dynamodb_app.touched.folders:
        assert folder.split("/")[1] == "bob", folder


def test_the_matrix_has_every_operation_of_the_sdk() -> None:
    assert set(VALID) == set(REQUESTS)


def test_the_matrix_has_every_field_that_takes_an_id() -> None:
    for operation, params in REQUESTS.items():
        names = {path for path in paths_of(params) if path.rpartition(".")[2].endswith(("id", "ids", "after"))}
        id_fields = {path.rpartition(".")[2] for path in names - NO_REFERENCE}
        assert id_fields <= set(fields_of(operation)), operation


@pytest.mark.parametrize(
    ("operation", "fields"), foreign_fields(), ids=lambda cell: cell if isinstance(cell, str) else "+".join(cell)
)
async def test_anns_ids_are_unknown_ids_for_bob(
    dynamodb_app: DynamoDBApp, operation: str, fields: tuple[str, ...]
) -> None:
    before = dynamodb_app.rows_of("ann")
    unknown = comparable(await dynamodb_app.bob.post(with_ids(operation, dict.fromkeys(fields, "unknown_1"))))
    assert unknown[0] in (200, 404, 422)
    longest = max(len(dynamodb_app.ids_of["ann"][name]) for name in fields)
    for number in range(longest):
        ids = {
            name: dynamodb_app.ids_of["ann"][name][number % len(dynamodb_app.ids_of["ann"][name])] for name in fields
        }
        assert comparable(await dynamodb_app.bob.post(with_ids(operation, ids))) == unknown
    assert dynamodb_app.rows_of("ann") == before
    assert_only_bobs_keys(dynamodb_app)


ROUTES = [
    ("POST", "/chatkit/stop", "turn_id"),
    ("POST", "/chatkit/stop", "thread_id"),
    ("GET", "/chatkit/turns/{}/events", "turn_id"),
    ("GET", "/chatkit/threads/{}/turn", "thread_id"),
    ("GET", "/chatkit/attachments/{}", "attachment_id"),
]


@pytest.mark.parametrize(("method", "path", "name"), ROUTES, ids=lambda value: value)
async def test_anns_ids_in_a_url_are_unknown_for_bob(
    dynamodb_app: DynamoDBApp, method: str, path: str, name: str
) -> None:
    async def ask(value: str) -> tuple[int, bytes, dict[str, str]]:
        body = json.dumps({name: value}).encode() if method == "POST" else b""
        return comparable(await dynamodb_app.bob.post(body, path.format(value), method))

    before, unknown = dynamodb_app.rows_of("ann"), await ask("unknown-0123456789")
    for value in dynamodb_app.ids_of["ann"][name]:
        assert await ask(value) == unknown
    assert dynamodb_app.rows_of("ann") == before
    assert_only_bobs_keys(dynamodb_app)


async def test_the_recording_notices_foreign_keys(dynamodb_app: DynamoDBApp) -> None:
    await dynamodb_app.ann("threads.get_by_id", thread_id="thr_ann_full")
    with pytest.raises(AssertionError):
        assert_only_bobs_keys(dynamodb_app)


async def test_bobs_own_requests_name_only_his_own_keys(dynamodb_app: DynamoDBApp) -> None:
    before = dynamodb_app.rows_of("ann")
    for operation, params in sorted(VALID.items(), key=lambda entry: entry[0] == "threads.delete"):
        await dynamodb_app.bob(operation, **params)
    assert dynamodb_app.rows_of("ann") == before
    assert any(partition.startswith("USER#bob#THREAD#") for partition in dynamodb_app.touched.partitions)
    assert_only_bobs_keys(dynamodb_app)
