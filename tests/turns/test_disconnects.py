"""Clients that disconnect during an answer, on servers that report it (uvicorn) and on Lambda."""

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


class PausedModel(DemoModel):
    """The demo model; pauses after its first word until `may_continue` is set."""

    def __init__(self) -> None:
        super().__init__(sleep=no_pause)
        self.has_begun, self.may_continue = asyncio.Event(), asyncio.Event()

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        async for event in super().stream_response(*args, **kwargs):
            yield event
            if event.type == "response.output_text.delta" and not self.has_begun.is_set():
                self.has_begun.set()
                await self.may_continue.wait()


class Visit:
    """A POST to the app as from an ASGI server; its client can leave."""

    def __init__(self, model: PausedModel, *, spec_version: str = "2.3", invocation: object = None) -> None:
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
        self._disconnected = asyncio.Event()
        self._body_sent = False

    async def _receive(self) -> dict[str, Any]:
        if not self._body_sent:
            self._body_sent = True
            return {"type": "http.request", "body": BODY}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, _: Any) -> None:
        if self._disconnected.is_set():
            raise OSError("disconnected")

    def begin(self) -> asyncio.Task[None]:
        """Start the request."""
        receive: Any = self._receive
        send: Any = self._send
        return asyncio.create_task(self.app(self._scope, receive, send))

    async def leave(self) -> None:
        """Disconnect after the first words were sent, and let every task notice it."""
        await run_all_tasks()
        self._disconnected.set()
        await run_all_tasks()

    async def reload(self) -> list[dict[str, Any]]:
        """Return the items that a reload shows."""
        chat = Chat(self.app)
        [thread] = (await chat("threads.list")).json["data"]
        items: list[dict[str, Any]] = (await chat("items.list", thread_id=thread["id"], order="asc")).json["data"]
        return items


class Invocation:
    """A Lambda context."""

    aws_request_id = "r"
    function_version = "7"
    trace_id = None

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_outside_lambda_the_answer_is_completed_after_its_reader_has_disconnected(spec_version: str) -> None:
    model = PausedModel()
    visit = Visit(model, spec_version=spec_version)
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    model.may_continue.set()
    await request
    expected = await undisturbed_texts()
    assert [item["content"][0]["text"] for item in await visit.reload()] == expected


async def test_on_lambda_the_turn_ends_with_its_response() -> None:
    model = PausedModel()
    visit = Visit(model, invocation=Invocation())
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    await request
    [_, cut] = await visit.reload()
    assert (await undisturbed_texts())[1].startswith(cut["content"][0]["text"])
    assert (await undisturbed_texts())[1] != cut["content"][0]["text"]


async def test_a_server_shutdown_ends_the_turn_and_keeps_its_words() -> None:
    model = PausedModel()
    visit = Visit(model)
    request = visit.begin()
    await model.has_begun.wait()
    await visit.leave()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    [_, cut] = await visit.reload()
    assert (await undisturbed_texts())[1] != cut["content"][0]["text"]


async def run_all_tasks() -> None:
    """Run all tasks as far as possible."""
    for _ in range(100):
        await asyncio.sleep(0)


async def undisturbed_texts() -> list[str]:
    """Return the texts of the same chat without a disconnect."""
    model = PausedModel()
    model.may_continue.set()
    visit = Visit(model)
    await visit.begin()
    return [item["content"][0]["text"] for item in await visit.reload()]
