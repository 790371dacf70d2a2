"""The /chatkit route: ChatKit's requests and streams, and the errors for bad requests before anything is stored."""

import asyncio
import json
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message

from lambda_src.context import RequestContext, User
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, app_with, message, server_with
from tests.runtime.scripted_api import http_event

ANN = RequestContext(user=User(id="ann"), request_id="r")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def chat(store: MemoryStore) -> Chat:
    return Chat(app_with(server_with(store)))


async def thread_of(chat: Chat, text: str = "hello") -> str:
    answer = await chat("threads.create", input=message(text))
    return str(answer.of("thread.created")[0]["thread"]["id"])


async def test_a_new_thread_streams_in_chatkits_order(chat: Chat) -> None:
    answer = await chat("threads.create", input=message("hello"))
    kinds = [event["type"] for event in answer.events]
    assert answer.status == 200
    assert kinds[:3] == ["thread.created", "thread.item.done", "stream_options"]
    assert answer.of("thread.item.done")[0]["item"]["type"] == "user_message"
    assert kinds.count("thread.item.updated") > 10
    assert answer.of("thread.item.done")[1]["item"]["type"] == "assistant_message"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"


async def test_both_messages_are_stored(chat: Chat) -> None:
    thread = (await chat("threads.get_by_id", thread_id=await thread_of(chat))).json
    assert [item["type"] for item in thread["items"]["data"]] == ["user_message", "assistant_message"]
    assert "demo model" in thread["items"]["data"][1]["content"][0]["text"]


async def test_the_deltas_add_up_to_the_answer_under_one_id(chat: Chat) -> None:
    answer = await chat("threads.create", input=message("hello"))
    done = answer.of("thread.item.done")[1]["item"]
    updates = [event for event in answer.of("thread.item.updated") if "delta" in event["update"]]
    assert {event["item_id"] for event in updates} == {done["id"]}
    assert "".join(event["update"]["delta"] for event in updates) == done["content"][0]["text"]


async def test_the_title_comes_from_the_first_message_and_stays(chat: Chat) -> None:
    thread_id = await thread_of(chat, "one two three four five six seven eight nine ten eleven")
    await chat("threads.add_user_message", thread_id=thread_id, input=message("another"))
    listed = (await chat("threads.list")).json["data"]
    assert [thread["title"] for thread in listed] == ["one two three four five six seven eight nine ten e..."]


async def test_a_renamed_thread_keeps_its_name(chat: Chat) -> None:
    thread_id = await thread_of(chat)
    assert (await chat("threads.update", thread_id=thread_id, title="Mine")).json["title"] == "Mine"
    await chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert (await chat("threads.get_by_id", thread_id=thread_id)).json["title"] == "Mine"


async def test_the_model_receives_the_history_once(store: MemoryStore) -> None:
    model = ScriptedModel([[assistant_message("one")], [assistant_message("two")]])
    chat = Chat(app_with(server_with(store, model=model)))
    thread_id = await thread_of(chat, "first")
    await chat("threads.add_user_message", thread_id=thread_id, input=message("second"))
    assert input_texts(model) == ["first", "one", "second"]


async def test_answers_with_the_same_id_do_not_replace_each_other(store: MemoryStore) -> None:
    steps = [[assistant_message(text, item_id="__fake_id__")] for text in ("one", "two")]
    chat = Chat(app_with(server_with(store, model=ScriptedModel(steps))))
    thread_id = await thread_of(chat)
    await chat("threads.add_user_message", thread_id=thread_id, input=message("again"))
    items = (await chat("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    assert [item["content"][0]["text"] for item in items if item["type"] == "assistant_message"] == ["one", "two"]


async def test_the_history_is_limited_to_its_newest_items(store: MemoryStore) -> None:
    steps = [[assistant_message(str(n), item_id=f"m{n}")] for n in range(3)]
    model = ScriptedModel(steps)
    chat = Chat(app_with(server_with(store, model=model, history_items=2)))
    thread_id = await thread_of(chat, "first")
    await chat("threads.add_user_message", thread_id=thread_id, input=message("second"))
    assert input_texts(model) == ["0", "second"]


def input_texts(model: ScriptedModel) -> list[str]:
    """Return the texts in the second call's input; assistant messages are plain text, user messages have parts."""
    contents = [item["content"] for item in model.calls[1].input]
    return [content if isinstance(content, str) else content[0]["text"] for content in contents]


async def test_retry_regenerates_the_answer_to_the_same_message(chat: Chat) -> None:
    thread_id = await thread_of(chat)
    items = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    again = await chat("threads.retry_after_item", thread_id=thread_id, item_id=items[0]["id"])
    assert again.status == 200
    after = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    assert [item["type"] for item in after] == ["user_message", "assistant_message"]
    assert after[0] == items[0]
    assert after[1]["id"] != items[1]["id"]


async def test_a_model_that_fails_is_explained_in_the_stream(store: MemoryStore) -> None:
    model = ScriptedModel([ZeroDivisionError("secret detail")])
    answer = await Chat(app_with(server_with(store, model=model)))("threads.create", input=message("hi"))
    assert answer.status == 200
    assert answer.of("error") == [{"type": "error", "code": "stream.error", "allow_retry": True}]
    assert b"secret detail" not in answer.body


async def test_every_time_on_the_wire_carries_its_offset(chat: Chat) -> None:
    answer = await chat("threads.create", input=message("hi"))
    times = [event["item"]["created_at"] for event in answer.events if "item" in event]
    times.append(answer.of("thread.created")[0]["thread"]["created_at"])
    times += [thread["created_at"] for thread in (await chat("threads.list")).json["data"]]
    assert len(times) >= 4
    assert all(time.endswith("Z") for time in times)


async def test_health_needs_no_token(chat: Chat) -> None:
    anonymous = chat.as_(None)
    assert (await anonymous.post(b"", "/chat/health", "GET")).json == {"status": "healthy", "service": "chat"}


async def test_every_answer_names_its_request(chat: Chat) -> None:
    ids = {(await chat("threads.list")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


REFUSED: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[]", "type"),
    (b"null", "type"),
    (b"{}", "type"),
    (b'{"type": "threads.explode", "params": {}}', "threads.explode"),
    (b'{"type": "threads.create"}', "params"),
    (b'{"type": "threads.create", "params": {}}', "params.input"),
    (b'{"type": "threads.create", "params": {"input": {"content": "hi"}}}', "params.input.content"),
    (b'{"type": "threads.get_by_id", "params": {"thread_id": 7}}', "params.thread_id"),
    (b'{"type": "threads.list", "params": {"order": "sideways"}}', "params.order"),
    (b'{"type": "threads.list", "params": {"limit": "many"}}', "params.limit"),
    (b'{"type": "threads.create", "params": {"input": {"content": [{"type":"input_text","text":"\\ud800"}]}}}', "JSON"),
    (b"[" * 5000, "JSON"),
    (b'{"type": "input.transcribe", "params": {"audio_base64": "AAAA", "mime_type": "audio/webm"}}', "Dictation"),
    (b'{"type": "attachments.create", "params": {"name": "a", "size": 1, "mime_type": "text/plain"}}', "attachments"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED, ids=lambda value: str(value[:60]))
async def test_an_invalid_request_is_refused_with_a_message(
    chat: Chat, store: MemoryStore, body: bytes, words: str
) -> None:
    answer = await chat.post(body)
    assert answer.status == 422
    assert answer.json["error"] == "invalid_request"
    assert words in answer.json["message"]
    assert not await everything(store)


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": {}}], ids=["omitted", "null", "empty"])
@pytest.mark.parametrize("operation", ["threads.create", "threads.add_user_message"])
async def test_a_tag_may_omit_its_data(chat: Chat, operation: str, data: dict[str, Any]) -> None:
    tag = {"type": "input_tag", "id": "ann", "text": "Ann", "group": "people", "interactive": True}
    content = [{"type": "input_text", "text": "ask "}, tag | data, tag | {"data": {"role": "boss"}}]
    thread = {} if operation == "threads.create" else {"thread_id": await thread_of(chat)}
    answer = await chat(operation, input=message("", content=content), **thread)
    assert answer.status == 200, answer.json
    [done] = [item for item in answer.of("thread.item.done") if item["item"]["type"] == "user_message"]
    assert [part.get("data") for part in done["item"]["content"]] == [None, {}, {"role": "boss"}]


@pytest.mark.parametrize("tag", [{"data": 7}, {"data": [1]}, {"id": None}, {"text": 3, "data": None}], ids=str)
async def test_an_otherwise_invalid_tag_is_refused(chat: Chat, tag: dict[str, Any]) -> None:
    content = [{"type": "input_tag", "id": "ann", "text": "Ann"} | tag, {"type": "input_tag", "id": "b", "text": "B"}]
    others: list[list[Any]] = [[], [7], [None], [{}], [[]]]
    for more in others:
        answer = await chat("threads.create", input=message("", content=content + more))
        assert (answer.status, answer.json["error"]) == (422, "invalid_request")


async def test_a_refusal_does_not_echo_what_the_user_wrote(chat: Chat) -> None:
    answer = await chat.post(b'{"type": "threads.create", "params": {"input": "my secret"}}')
    assert b"my secret" not in answer.body


@pytest.mark.parametrize("user", [None, ""])
async def test_a_request_without_a_token_is_a_401(chat: Chat, store: MemoryStore, user: str | None) -> None:
    answer = await chat.as_(user)("threads.create", input=message("hi"))
    assert (answer.status, answer.json["error"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not await everything(store)


async def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not(chat: Chat, store: MemoryStore) -> None:
    body = json.dumps({"type": "threads.create", "params": {"input": message("")}}).encode()
    padded = body.replace(b'"text": ""', b'"text": "' + b"x" * (MAX_BODY_BYTES - len(body)) + b'"')
    answer = await chat.post(padded + b" ")
    assert (answer.status, answer.json["error"]) == (413, "too_large")
    assert not await everything(store)
    assert (await chat.post(padded)).status == 200


MISSING_OR_FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("threads.get_by_id", {}),
    ("threads.add_user_message", {"input": message("hi")}),
    ("threads.add_client_tool_output", {"result": 1}),
    ("threads.add_structured_input", {"item_id": "ITEM", "input": {"status": "answered", "answers": {}}}),
    ("threads.retry_after_item", {"item_id": "ITEM"}),
    ("threads.custom_action", {"action": {"type": "a", "payload": {}}}),
    ("threads.custom_action", {"item_id": "ITEM", "action": {"type": "a", "payload": {}}}),
    ("threads.sync_custom_action", {"action": {"type": "a", "payload": {}}}),
    ("threads.update", {"title": "mine"}),
    ("items.feedback", {"item_ids": ["ITEM"], "kind": "positive"}),
]


@pytest.mark.parametrize(("kind", "params"), MISSING_OR_FOREIGN, ids=lambda value: str(value)[:40])
async def test_missing_and_foreign_threads_and_items_get_the_same_404(
    chat: Chat, store: MemoryStore, kind: str, params: dict[str, Any]
) -> None:
    thread_id = await thread_of(chat)
    item_id = (await chat("items.list", thread_id=thread_id)).json["data"][0]["id"]
    before = await everything(store)

    async def ask(user: str, thread: str, item: str) -> Answer:
        named = {name: [item] if name == "item_ids" else item for name in params if name.startswith("item_id")}
        return await chat.as_(user)(kind, **{**params, **named, "thread_id": thread})

    foreign, missing = await ask("bob", thread_id, item_id), await ask("ann", "thr_no", "msg_no")
    assert foreign.status == missing.status == 404
    assert foreign.body == missing.body
    assert await everything(store) == before


async def test_listing_and_deleting_a_foreign_thread_reveals_and_changes_nothing(chat: Chat) -> None:
    thread_id = await thread_of(chat)
    bob = chat.as_("bob")
    assert (await bob("items.list", thread_id=thread_id)).body == (await bob("items.list", thread_id="thr_no")).body
    assert (await bob("threads.list")).json["data"] == []
    assert (await bob("threads.delete", thread_id=thread_id)).json == {}
    assert (await chat("threads.get_by_id", thread_id=thread_id)).status == 200


async def test_a_message_with_an_unknown_attachment_stores_nothing(chat: Chat, store: MemoryStore) -> None:
    answer = await chat("threads.create", input=message("look", attachments=["atc_no"]))
    assert answer.status == 404
    assert not await everything(store)


async def test_retrying_a_missing_item_is_a_404(chat: Chat) -> None:
    answer = await chat("threads.retry_after_item", thread_id=await thread_of(chat), item_id="msg_no")
    assert answer.status == 404


async def test_a_tool_result_that_the_thread_does_not_await_is_a_conflict(chat: Chat, store: MemoryStore) -> None:
    thread_id = await thread_of(chat)
    before = await everything(store)
    answer = await chat("threads.add_client_tool_output", thread_id=thread_id, result=1)
    assert (answer.status, answer.json["error"]) == (409, "conflict")
    assert await everything(store) == before


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/chatkit", "GET", 405)])
async def test_errors_of_other_routes_have_the_same_format(chat: Chat, path: str, method: str, status: int) -> None:
    answer = await chat.post(b"", path, method)
    assert (answer.status, set(answer.json)) == (status, {"error", "message"})


@pytest.mark.parametrize(
    "path", ["/%ff", "/chat/health/%C3", "/chatkit/turns/%ff/events", "/static/%fe%ff", "/chatkit%80"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_path_that_is_not_utf8_is_a_400(chat: Chat, path: str, method: str) -> None:
    answer = await chat.post(b"", path, method)
    assert answer.status == 400
    assert method == "HEAD" or answer.json["error"] == "invalid_request"
    assert answer.headers["x-request-id"]


async def test_a_buffered_invocation_with_such_a_path_is_a_400(chat: Chat) -> None:
    answer = await asyncio.to_thread(StreamingMangum(chat.app, "off"), http_event("/%ff"), None)
    assert answer["statusCode"] == 400


async def test_an_unknown_path_in_another_script_is_a_404(chat: Chat) -> None:
    assert (await chat.post(b"", "/caf%C3%A9/%E2%98%82", "GET")).status == 404


async def test_an_internal_error_reveals_no_details(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(**_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(store, "load_threads", broken)
    answer = await Chat(app_with(server_with(store)))("threads.list")
    assert (answer.status, answer.json["error"]) == (500, "internal")
    assert b"secret detail" not in answer.body


async def everything(store: MemoryStore) -> list[str]:
    """Return everything of ann's as JSON lines."""
    lines: list[str] = []
    for thread in (await store.load_threads(limit=100, after=None, order="asc", context=ANN)).data:
        lines.append(thread.model_dump_json())
        page = await store.load_thread_items(thread.id, after=None, limit=100, order="asc", context=ANN)
        lines += [item.model_dump_json() for item in page.data]
    return lines
