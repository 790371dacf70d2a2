"""All 16 operations through the emulated Lambda, each happy, not found, foreign, malformed and too large."""

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

pytestmark = pytest.mark.asyncio(loop_scope="module")

Params = dict[str, Any]
numbers = count()  # the same words again within seconds are a repeated request, which runs nothing
AUDIO = {"audio_base64": base64.b64encode(b"OggS and sound").decode(), "mime_type": "audio/ogg"}
SHIP = {"type": "order.ship", "payload": {"order_id": 17}}
ANSWERS = {"status": "answered", "answers": {"why": {"values": ["because"]}}}


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation: what a happy request names, and the same with names that do not exist.

    `missing` is the status of the latter (200 where ChatKit's contract is silence), None where nothing is named.
    """

    operation: str
    happy: Callable[[Client], Awaitable[Params]]
    lost: Params
    missing: int | None = 404
    malformed: Params | None = None


async def thread(ann: Client, phrase: str = "hello") -> tuple[str, str]:
    """A new thread, and the id of the last item that its answer finished."""
    answer = await ann("threads.create", input=message(f"{phrase} {next(numbers)}"))
    return thread_of(answer), str(items_of(answer)[-1]["id"])


async def in_a_thread(ann: Client) -> Params:
    return {"thread_id": (await thread(ann))[0]}


async def with_a_file(ann: Client) -> Params:
    created = await ann("attachments.create", name="a.txt", size=3, mime_type="text/plain")
    return {"attachment_id": created.json["id"]}


async def nothing(_: Client) -> Params:
    return {}


async def message_in_a_thread(ann: Client) -> Params:
    return {**await in_a_thread(ann), "input": message(f"more {next(numbers)}")}


async def client_tool_in_a_thread(ann: Client) -> Params:
    return {"thread_id": (await thread(ann, "read my clipboard"))[0], "result": {"text": "x"}}


async def form_in_a_thread(ann: Client) -> Params:
    thread_id, item_id = await thread(ann, "ask me something")
    return {"thread_id": thread_id, "item_id": item_id, "input": ANSWERS}


async def message_to_retry(ann: Client) -> Params:
    thread_id, _ = await thread(ann)
    items = (await ann("items.list", thread_id=thread_id, order="asc")).json["data"]
    return {"thread_id": thread_id, "item_id": items[0]["id"]}


async def widget_in_a_thread(ann: Client) -> Params:
    thread_id, _ = await thread(ann, "show me a widget")
    items = (await ann("items.list", thread_id=thread_id, order="asc")).json["data"]
    return {"thread_id": thread_id, "item_id": items[1]["id"], "action": SHIP}


async def item_in_a_thread(ann: Client) -> Params:
    thread_id, item_id = await thread(ann)
    return {"thread_id": thread_id, "item_ids": [item_id], "kind": "positive"}


async def name_for_a_thread(ann: Client) -> Params:
    return {**await in_a_thread(ann), "title": "Mine"}


async def new_message(_: Client) -> Params:
    return {"input": message(f"hello {next(numbers)}")}


async def new_file(_: Client) -> Params:
    return {"name": "a.txt", "size": 3, "mime_type": "text/plain"}


async def recording(_: Client) -> Params:
    return AUDIO


NO_THREAD = {"thread_id": "thr_no"}
NO_ITEM = {**NO_THREAD, "item_id": "msg_no"}
CELLS = [
    Cell("threads.create", new_message, {"input": message("x", attachments=["atc_no"])}),
    Cell("threads.add_user_message", message_in_a_thread, {**NO_THREAD, "input": message("x")}),
    Cell("threads.add_client_tool_output", client_tool_in_a_thread, {**NO_THREAD, "result": 1}),
    Cell("threads.add_structured_input", form_in_a_thread, {**NO_ITEM, "input": ANSWERS}),
    Cell("threads.retry_after_item", message_to_retry, NO_ITEM),
    Cell("threads.custom_action", widget_in_a_thread, {**NO_ITEM, "action": SHIP}),
    Cell("threads.sync_custom_action", widget_in_a_thread, {**NO_ITEM, "action": SHIP}),
    Cell("threads.get_by_id", in_a_thread, NO_THREAD),
    Cell("threads.list", nothing, {"after": "thr_no"}, malformed={"order": "sideways"}),
    Cell("items.list", in_a_thread, NO_THREAD, missing=200),
    Cell("items.feedback", item_in_a_thread, {**NO_THREAD, "item_ids": ["msg_no"], "kind": "negative"}),
    Cell("attachments.create", new_file, {}, missing=None),
    Cell("attachments.delete", with_a_file, {"attachment_id": "atc_no"}, missing=200),
    Cell("threads.update", name_for_a_thread, {**NO_THREAD, "title": "Mine"}),
    Cell("threads.delete", in_a_thread, NO_THREAD, missing=200),
    Cell("input.transcribe", recording, {}, missing=None),
]  # fmt: skip

every_operation = pytest.mark.parametrize("cell", CELLS, ids=[cell.operation for cell in CELLS])
naming = [cell for cell in CELLS if cell.missing is not None]


async def test_the_matrix_is_whole() -> None:
    assert len({cell.operation for cell in CELLS}) == 16


@every_operation
async def test_happy(ann: Client, cell: Cell) -> None:
    answer = await ann(cell.operation, **await cell.happy(ann))
    assert answer.status == 200, answer.body
    assert not answer.of("error")


@pytest.mark.parametrize("cell", naming, ids=[cell.operation for cell in naming])
async def test_not_found_and_foreign_are_one_answer(ann: Client, cell: Cell) -> None:
    mine = await cell.happy(ann)
    ids = {"thread_id", "item_id", "attachment_id", "item_ids"}
    foreign = {**cell.lost, **{name: value for name, value in mine.items() if name in ids}}
    match cell.operation:
        case "threads.create":
            foreign = {"input": message("x", attachments=[(await with_a_file(ann))["attachment_id"]])}
        case "threads.list":
            foreign = {"after": (await thread(ann))[0]}
        case _:
            pass
    bob = ann.as_("bob")
    missing, other = await bob(cell.operation, **cell.lost), await bob(cell.operation, **foreign)
    assert (missing.status, other.status) == (cell.missing, cell.missing)
    assert missing.body == other.body


@every_operation
async def test_malformed(ann: Client, cell: Cell) -> None:
    wrong = cell.malformed or {name: object_for(value) for name, value in (await cell.happy(ann)).items()}
    answer = await ann(cell.operation, **wrong)
    assert (answer.status, answer.json["error"]) == (422, "invalid_request")


def object_for(value: object) -> object:
    """A value of a type that this one is not."""
    return [{"no": 1}] if isinstance(value, str | int) else 7


@every_operation
async def test_too_large(ann: Client, cell: Cell) -> None:
    body = json.dumps({"type": cell.operation, "params": await cell.happy(ann)}).encode()
    answer = await ann.post(body + b" " * (MAX_BODY_BYTES - len(body) + 1))
    assert (answer.status, answer.json["error"]) == (413, "too_large")
