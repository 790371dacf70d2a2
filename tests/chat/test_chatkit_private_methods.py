"""ChatKit's private methods that our server overrides or calls: these tests fail when an update changes one."""

import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    StreamingReq,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadStreamEvent,
    UserMessageInput,
    UserMessageItem,
)
from pydantic import BaseModel, TypeAdapter

from lambda_src import chatkit_json
from lambda_src.chat.server import ChatServer
from lambda_src.context import RequestContext, User
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import message, server_with

ANN = RequestContext(User("ann"), "r")
HELP = "chatkit.server has changed: compare its method with lambda_src/chat/server.py, then update both"


@pytest.mark.parametrize(
    ("name", "parameters", "kind"),
    [
        ("_process_streaming_impl", ["self", "request", "context"], inspect.isasyncgenfunction),
        ("_process_new_thread_item_respond", ["self", "thread", "item", "context"], inspect.isasyncgenfunction),
        ("_process_events", ["self", "thread", "context", "stream"], inspect.isasyncgenfunction),
        ("_build_user_message_item", ["self", "input", "thread", "context"], inspect.iscoroutinefunction),
        ("_serialize", ["self", "obj"], inspect.isfunction),
        ("_update_pending_items", ["self", "pending_items", "event"], inspect.isfunction),
    ],
)
def test_a_private_method_of_chatkit_has_the_expected_signature(name: str, parameters: list[str], kind: Any) -> None:
    method = getattr(ChatKitServer, name, None)
    assert method is not None, f"{name} is gone. {HELP}"
    assert list(inspect.signature(method).parameters) == parameters, f"{name} has other parameters. {HELP}"
    assert kind(method), f"{name} is a different kind of function. {HELP}"


class Recording(ChatServer):
    """Records which of the two overridden methods upstream's `process` calls."""

    def __init__(self, server: ChatServer) -> None:
        self.__dict__.update(server.__dict__)
        self.calls: list[str] = []

    async def _process_streaming_impl(
        self, request: StreamingReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        self.calls.append("_process_streaming_impl")
        async for event in super()._process_streaming_impl(request, context):
            yield event

    def _serialize(self, obj: BaseModel) -> bytes:
        self.calls.append("_serialize")
        return super()._serialize(obj)


async def test_chatkit_calls_both_methods_and_produces_the_same_events_as_the_shortcut() -> None:
    server = Recording(server_with(MemoryStore()))
    body = json.dumps({"type": "threads.create", "params": {"input": message("hi")}})
    result = await server.process(body, ANN)
    assert isinstance(result, StreamingResult)
    upstream = [event async for event in result]
    assert server.calls[0] == "_process_streaming_impl", HELP
    assert server.calls.count("_serialize") == len(upstream) > 5, HELP
    request = TypeAdapter[ThreadsCreateReq](ThreadsCreateReq).validate_json(body)
    ours = [event async for event in await server.events(request, ANN)]
    assert list(map(shape, ours)) == list(map(shape, upstream)), HELP


def shape(event: bytes) -> tuple[str, list[str]]:
    """Return the type and field names of an encoded event, which are equal in two turns."""
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    decoded = json.loads(event.removeprefix(b"data: "))
    return decoded["type"], sorted(decoded)


DELTA = ThreadItemUpdatedEvent(
    item_id="msg_1", update=AssistantMessageContentPartTextDelta(content_index=0, delta="\u2028 <é>\x00")
)


def answer(created_at: datetime) -> ThreadItemDoneEvent:
    item: ThreadItem = AssistantMessageItem(id="msg_1", thread_id="thr_1", created_at=created_at, content=[])
    return ThreadItemDoneEvent(item=item)


def test_a_text_delta_is_the_same_in_both_encodings() -> None:
    """The server uses upstream's encoding for deltas, which is faster."""
    server = server_with(MemoryStore())
    assert server._serialize(DELTA) == chatkit_json.encoded(DELTA), HELP


def test_the_servers_encoding_differs_from_chatkits_only_in_times() -> None:
    server = server_with(MemoryStore())
    naive, aware = datetime(2026, 1, 1, 12), datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    for created_at in (naive, aware):
        event = answer(created_at)
        ours, upstream = json.loads(server._serialize(event)), json.loads(ChatKitServer._serialize(server, event))
        assert ours["item"].pop("created_at") == "2026-01-01T12:00:00Z"
        assert datetime.fromisoformat(upstream["item"].pop("created_at")) == created_at
        assert ours == upstream, HELP


async def test_a_message_with_a_preloaded_thread_produces_the_same_events_as_chatkit() -> None:
    """In that case the server calls two private methods instead of `_process_streaming_impl`."""
    shapes = []
    for is_preloaded in (False, True):
        server = server_with(store := MemoryStore())
        created = [event async for event in server._process_streaming_impl(create(), ANN)]
        first = created[0]
        assert isinstance(first, ThreadCreatedEvent)
        thread = await store.load_thread(first.thread.id, context=ANN)
        request = add(thread)
        if is_preloaded:
            item = await server._build_user_message_item(request.params.input, thread, ANN)
            events = [event async for event in server._process_new_thread_item_respond(thread, item, ANN)]
        else:
            events = [event async for event in server._process_streaming_impl(request, ANN)]
        shapes.append([event.type for event in events])
    assert shapes[0] == shapes[1], HELP


async def test_the_words_of_an_answer_are_not_collected_a_second_time() -> None:
    """Upstream adds them to a part of the message, for a partial answer that turns/ stores in another way."""
    part = AssistantMessageContent(text="")
    added = AssistantMessageContentPartAdded(content_index=0, content=part)
    item = AssistantMessageItem(id="msg_1", thread_id="thr_1", created_at=datetime(2026, 1, 1), content=[])

    async def stream() -> AsyncGenerator[ThreadStreamEvent]:
        yield ThreadItemAddedEvent(item=item)
        yield ThreadItemUpdatedEvent(item_id=item.id, update=added)
        yield DELTA

    thread = ThreadMetadata(id="thr_1", created_at=datetime(2026, 1, 1))
    for server, text in ((server_with(MemoryStore()), ""), (Upstream(MemoryStore()), "\u2028 <é>\x00")):
        part.text = ""
        assert [event.type async for event in server._process_events(thread, ANN, stream)].count(DELTA.type) == 2
        assert part.text == text, HELP


class Upstream(ChatKitServer[RequestContext]):
    """ChatKit's own server."""

    def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        raise NotImplementedError


def create() -> ThreadsCreateReq:
    return ThreadsCreateReq.model_validate({"type": "threads.create", "params": {"input": message("hi")}})


def add(thread: ThreadMetadata) -> ThreadsAddUserMessageReq:
    user_input = UserMessageInput.model_validate(message("more"))
    params = {"thread_id": thread.id, "input": user_input.model_dump()}
    return ThreadsAddUserMessageReq.model_validate({"type": "threads.add_user_message", "params": params})
