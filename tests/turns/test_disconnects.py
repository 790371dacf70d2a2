"""Clients that go away in the middle of an answer, on servers that tell so (uvicorn) and on Lambda."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.items import TResponseStreamEvent

from lambda_src.models.demo_model import DemoModel
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Chat, app_with, message, no_pause, server_with

BODY = json.dumps({"type": "threads.create", "params": {"input": message("hi")}}).encode()


class Held(DemoModel):
    """The demo model, which stops after its first words until it is let go on."""

    def __init__(self) -> None:
        super().__init__(sleep=no_pause)
        self.has_begun, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        async for event in super().stream_response(*args, **kwargs):
            yield event
            if event.type == "response.output_text.delta" and not self.has_begun.is_set():
                self.has_begun.set()
                await self.may_go_on.wait()


class Visit:
    """One POST to the app as an ASGI server makes it, whose client leaves when it is told to."""

    def __init__(self, model: Held, *, spec_version: str = "2.3", invocation: object = None) -> None:
        self.store = MemoryStore()
        self.app = app_with(server_with(self.store, model=model))
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": "POST",
            "path": "/chatkit",
            "raw_path": b"/chatkit",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer ann"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            **({} if invocation is None else {"aws.context": invocation}),
        }
        self._left = asyncio.Event()
        self._asked = False

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": BODY}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, _: Any) -> None:
        if self._left.is_set():
            raise OSError("nobody there")

    def begin(self) -> asyncio.Task[None]:
        """The request, under way."""
        receive: Any = self._receive
        send: Any = self._send
        return asyncio.create_task(self.app(self._scope, receive, send))

    async def leave(self) -> None:
        """The client goes, once its first words are on their way, and everybody gets to know."""
        await settled()
        self._left.set()
        await settled()

    async def kept(self) -> list[dict[str, Any]]:
        """What a reload shows."""
        chat = Chat(self.app)
        [thread] = (await chat("threads.list")).json["data"]
        items: list[dict[str, Any]] = (await chat("items.list", thread_id=thread["id"], order="asc")).json["data"]
        return items


class Invocation:
    """Lambda's context."""

    aws_request_id = "r"
    function_version = "7"
    trace_id = None

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_elsewhere_the_answer_is_written_to_its_end_when_its_reader_has_gone(spec_version: str) -> None:
    model = Held()
    visit = Visit(model, spec_version=spec_version)
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    model.may_go_on.set()
    await request
    whole = await visit_whole()
    assert [item["content"][0]["text"] for item in await visit.kept()] == whole


async def test_on_lambda_the_turn_ends_with_its_response() -> None:
    model = Held()
    visit = Visit(model, invocation=Invocation())
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    await request
    [_, cut] = await visit.kept()
    assert (await visit_whole())[1].startswith(cut["content"][0]["text"])
    assert (await visit_whole())[1] != cut["content"][0]["text"]


async def test_a_server_that_goes_down_ends_the_turn_and_keeps_what_was_said() -> None:
    model = Held()
    visit = Visit(model)
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    [_, cut] = await visit.kept()
    assert (await visit_whole())[1] != cut["content"][0]["text"]


async def settled() -> None:
    """Whatever can go on has gone on."""
    for _ in range(100):
        await asyncio.sleep(0)


async def visit_whole() -> list[str]:
    """The texts of the same chat, when nobody leaves."""
    model = Held()
    model.may_go_on.set()
    visit = Visit(model)
    await visit.begin()
    return [item["content"][0]["text"] for item in await visit.kept()]
