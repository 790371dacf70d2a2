"""A matrix made from the SDK's own types: every request x every field that names something x everything of ann's.

Bob's answer is, byte for byte, the one for an id that never existed; ann's rows do not change; and no call of his to
the table or the bucket so much as names a partition or a folder that is not his own (or the stage's).
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

# One sound request of bob's for each operation; his own ids stand where a foreign one will.
THREAD, FORM, WIDGET = {"thread_id": "thr_bob_full"}, {"item_id": "form_bob"}, {"item_id": "widget_bob"}
SOUND: dict[str, dict[str, Any]] = {
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
# A tool of the agent, an entity of the page: nothing that is kept here.
NO_REFERENCE = {"input.inference_options.tool_choice.id", "input.content.id"}


def fields_of(operation: str) -> Iterator[str]:
    """The fields of an operation's params that name something, wherever they stand."""
    params = json.dumps(SOUND[operation])
    yield from (name for name in NAMES if f'"{name}"' in params)


def with_ids(operation: str, ids: dict[str, str]) -> bytes:
    """The operation's sound request with some ids put in."""

    def put(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: ([ids[name]] if isinstance(inner, list) else ids[name]) if name in ids else put(inner)
            for name, inner in value.items()
        }

    return json.dumps({"type": operation, "params": put(SOUND[operation])}).encode()


def cells() -> list[tuple[str, tuple[str, ...]]]:
    """(operation, fields that become foreign): each field alone, and all of them at once."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for operation in SOUND:
        fields = tuple(fields_of(operation))
        found += [(operation, (name,)) for name in fields]
        if len(fields) > 1:
            found.append((operation, fields))
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[DynamoDBApp]:
    with populated_dynamodb_app() as dynamodb_app:
        yield dynamodb_app


@pytest.fixture
def dynamodb_app(shared: DynamoDBApp) -> DynamoDBApp:
    """Refused requests change nothing, so one dynamodb_app serves them all."""
    shared.touched.clear()
    return shared


def seen(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """All that a client can compare."""
    return answer.status, answer.body, {k: v for k, v in answer.headers.items() if k != "x-request-id"}


def assert_only_his_own(dynamodb_app: DynamoDBApp) -> None:
    """Bob's requests named nothing of anybody else's."""
    for partition in dynamodb_app.touched.partitions:
        assert (partition + "#").startswith(("USER#bob#", "STAGE#", "SWEEP#")), partition
    for folder in dynamodb_app.touched.folders:
        assert folder.split("/")[1] == "bob", folder


def test_the_matrix_has_every_operation_of_the_sdk() -> None:
    assert set(SOUND) == set(REQUESTS)


def test_the_matrix_has_every_field_that_could_name_something() -> None:
    for operation, params in REQUESTS.items():
        names = {path for path in paths_of(params) if path.rpartition(".")[2].endswith(("id", "ids", "after"))}
        told = {path.rpartition(".")[2] for path in names - NO_REFERENCE}
        assert told <= set(fields_of(operation)), operation


@pytest.mark.parametrize(
    ("operation", "fields"), cells(), ids=lambda cell: cell if isinstance(cell, str) else "+".join(cell)
)
async def test_what_is_anns_is_for_bob_what_never_existed(
    dynamodb_app: DynamoDBApp, operation: str, fields: tuple[str, ...]
) -> None:
    before = dynamodb_app.rows_of("ann")
    unknown = seen(await dynamodb_app.bob.post(with_ids(operation, dict.fromkeys(fields, "unknown_1"))))
    assert unknown[0] in (200, 404, 422)
    longest = max(len(dynamodb_app.ids_of["ann"][name]) for name in fields)
    for number in range(longest):
        ids = {
            name: dynamodb_app.ids_of["ann"][name][number % len(dynamodb_app.ids_of["ann"][name])] for name in fields
        }
        assert seen(await dynamodb_app.bob.post(with_ids(operation, ids))) == unknown
    assert dynamodb_app.rows_of("ann") == before
    assert_only_his_own(dynamodb_app)


TURN_ROUTES = [
    ("POST", "/chatkit/stop", "turn_id"),
    ("POST", "/chatkit/stop", "thread_id"),
    ("GET", "/chatkit/turns/{}/events", "turn_id"),
    ("GET", "/chatkit/threads/{}/turn", "thread_id"),
]


@pytest.mark.parametrize(("method", "path", "name"), TURN_ROUTES, ids=lambda value: value)
async def test_a_turn_of_anns_is_for_bob_one_that_never_ran(
    dynamodb_app: DynamoDBApp, method: str, path: str, name: str
) -> None:
    async def ask(value: str) -> tuple[int, bytes, dict[str, str]]:
        body = json.dumps({name: value}).encode() if method == "POST" else b""
        return seen(await dynamodb_app.bob.post(body, path.format(value), method))

    before, unknown = dynamodb_app.rows_of("ann"), await ask("unknown-0123456789")
    for value in dynamodb_app.ids_of["ann"][name]:
        assert await ask(value) == unknown
    assert dynamodb_app.rows_of("ann") == before
    assert_only_his_own(dynamodb_app)


async def test_the_record_would_notice(dynamodb_app: DynamoDBApp) -> None:
    await dynamodb_app.ann("threads.get_by_id", thread_id="thr_ann_full")
    with pytest.raises(AssertionError):
        assert_only_his_own(dynamodb_app)


async def test_bobs_own_requests_touch_nothing_but_his_own(dynamodb_app: DynamoDBApp) -> None:
    before = dynamodb_app.rows_of("ann")
    for operation, params in sorted(SOUND.items(), key=lambda entry: entry[0] == "threads.delete"):
        await dynamodb_app.bob(operation, **params)
    assert dynamodb_app.rows_of("ann") == before
    assert any(partition.startswith("USER#bob#THREAD#") for partition in dynamodb_app.touched.partitions)
    assert_only_his_own(dynamodb_app)
