"""All 16 operations through the emulated Lambda: success, not found, another user's, malformed and too large."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from lambda_src.settings import MAX_BODY_BYTES
from tests.apps.chat import message
from tests.apps.emulated import Client
from tests.apps.full import items_of, thread_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e operations")]

Params = dict[str, Any]
numbers = count()  # makes messages unique: the same text again within seconds counts as a retry and starts no run
AUDIO = {"audio_base64": base64.b64encode(b"OggS and sound").decode(), "mime_type": "audio/ogg"}
SHIP = {"type": "order.ship", "payload": {"order_id": 17}}
ANSWERS = {"status": "answered", "answers": {"why": {"values": ["because"]}}}


@dataclass(frozen=True, slots=True)
class Case:
    """One operation, with the parameters of a request that succeeds, and with IDs that do not exist (`unknown`).

    `unknown_status` is the status for unknown IDs: 200 where ChatKit ignores them, None if the operation takes no ID.
    """

    operation: str
    valid: Callable[[Client], Awaitable[Params]]
    unknown: Params
    unknown_status: int | None = 404
    malformed: Params | None = None


async def new_thread(ann: Client, phrase: str = "hello") -> tuple[str, str]:
    """Creates a thread; returns its ID and the ID of the last item of the answer."""
    response = await ann("threads.create", input=message(f"{phrase} {next(numbers)}"))
    return thread_of(response), str(items_of(response)[-1]["id"])


async def thread_params(ann: Client) -> Params:
    return {"thread_id": (await new_thread(ann))[0]}


async def attachment_params(ann: Client) -> Params:
    created = await ann("attachments.create", name="a.txt", size=3, mime_type="text/plain")
    return {"attachment_id": created.json["id"]}


async def no_params(_: Client) -> Params:
    return {}


async def message_params(ann: Client) -> Params:
    return {**await thread_params(ann), "input": message(f"more {next(numbers)}")}


async def client_tool_params(ann: Client) -> Params:
    return {"thread_id": (await new_thread(ann, "read my clipboard"))[0], "result": {"text": "x"}}


async def form_params(ann: Client) -> Params:
    thread_id, item_id = await new_thread(ann, "ask me something")
    return {"thread_id": thread_id, "item_id": item_id, "input": ANSWERS}


async def retry_params(ann: Client) -> Params:
    thread_id, _ = await new_thread(ann)
    items = (await ann("items.list", thread_id=thread_id, order="asc")).json["data"]
    return {"thread_id": thread_id, "item_id": items[0]["id"]}


async def widget_params(ann: Client) -> Params:
    thread_id, _ = await new_thread(ann, "show me a widget")
    items = (await ann("items.list", thread_id=thread_id, order="asc")).json["data"]
    return {"thread_id": thread_id, "item_id": items[2]["id"], "action": SHIP}


async def feedback_params(ann: Client) -> Params:
    thread_id, item_id = await new_thread(ann)
    return {"thread_id": thread_id, "item_ids": [item_id], "kind": "positive"}


async def title_params(ann: Client) -> Params:
    return {**await thread_params(ann), "title": "Mine"}


async def create_params(_: Client) -> Params:
    return {"input": message(f"hello {next(numbers)}")}


async def upload_params(_: Client) -> Params:
    return {"name": "a.txt", "size": 3, "mime_type": "text/plain"}


async def audio_params(_: Client) -> Params:
    return AUDIO


UNKNOWN_THREAD = {"thread_id": "thr_no"}
UNKNOWN_ITEM = {**UNKNOWN_THREAD, "item_id": "msg_no"}
CASES = [
    Case("threads.create", create_params, {"input": message("x", attachments=["atc_no"])}),
    Case("threads.add_user_message", message_params, {**UNKNOWN_THREAD, "input": message("x")}),
    Case("threads.add_client_tool_output", client_tool_params, {**UNKNOWN_THREAD, "result": 1}),
    Case("threads.add_structured_input", form_params, {**UNKNOWN_ITEM, "input": ANSWERS}),
    Case("threads.retry_after_item", retry_params, UNKNOWN_ITEM),
    Case("threads.custom_action", widget_params, {**UNKNOWN_ITEM, "action": SHIP}),
    Case("threads.sync_custom_action", widget_params, {**UNKNOWN_ITEM, "action": SHIP}),
    Case("threads.get_by_id", thread_params, UNKNOWN_THREAD),
    Case("threads.list", no_params, {"after": "thr_no"}, malformed={"order": "sideways"}),
    Case("items.list", thread_params, UNKNOWN_THREAD, unknown_status=200),
    Case("items.feedback", feedback_params, {**UNKNOWN_THREAD, "item_ids": ["msg_no"], "kind": "negative"}),
    Case("attachments.create", upload_params, {}, unknown_status=None),
    Case("attachments.delete", attachment_params, {"attachment_id": "atc_no"}, unknown_status=200),
    Case("threads.update", title_params, {**UNKNOWN_THREAD, "title": "Mine"}),
    Case("threads.delete", thread_params, UNKNOWN_THREAD, unknown_status=200),
    Case("input.transcribe", audio_params, {}, unknown_status=None),
]  # fmt: skip

every_operation = pytest.mark.parametrize("case", CASES, ids=[case.operation for case in CASES])
with_ids = [case for case in CASES if case.unknown_status is not None]


async def test_every_operation_has_a_case() -> None:
    assert len({case.operation for case in CASES}) == 16


@every_operation
async def test_a_valid_request_succeeds(ann: Client, case: Case) -> None:
    response = await ann(case.operation, **await case.valid(ann))
    assert response.status == 200, response.body
    assert not response.of("error")


@pytest.mark.parametrize("case", with_ids, ids=[case.operation for case in with_ids])
async def test_another_users_ids_get_the_same_response_as_unknown_ids(ann: Client, case: Case) -> None:
    own = await case.valid(ann)
    ids = {"thread_id", "item_id", "attachment_id", "item_ids"}
    others = {**case.unknown, **{name: value for name, value in own.items() if name in ids}}
    match case.operation:
        case "threads.create":
            others = {"input": message("x", attachments=[(await attachment_params(ann))["attachment_id"]])}
        case "threads.list":
            others = {"after": (await new_thread(ann))[0]}
        case _:
            pass
    bob = ann.as_("bob")
    for_unknown, for_others = await bob(case.operation, **case.unknown), await bob(case.operation, **others)
    assert (for_unknown.status, for_others.status) == (case.unknown_status, case.unknown_status)
    assert for_unknown.body == for_others.body


@every_operation
async def test_a_malformed_request_is_refused(ann: Client, case: Case) -> None:
    malformed = case.malformed or {name: wrong_type(value) for name, value in (await case.valid(ann)).items()}
    response = await ann(case.operation, **malformed)
    assert (response.status, response.json["error"]) == (422, "invalid_request")


def wrong_type(value: object) -> object:
    """A value of a different type than the given one."""
    return [{"no": 1}] if isinstance(value, str | int) else 7


@every_operation
async def test_a_request_that_is_too_large_is_refused(ann: Client, case: Case) -> None:
    body = json.dumps({"type": case.operation, "params": await case.valid(ann)}).encode()
    response = await ann.post(body + b" " * (MAX_BODY_BYTES - len(body) + 1))
    assert (response.status, response.json["error"]) == (413, "too_large")
