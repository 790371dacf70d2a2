"""A fake Responses API without a network: answers any openai client event by event, in this process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from agents import OpenAIProvider, RunConfig
from openai import AsyncOpenAI

from lambda_src.models.demo_model import events_of

MakeClient = Callable[..., AsyncOpenAI]

APART = 6  # loop iterations between two events, so that each word is sent before the next arrives


class Bytes(httpx2.AsyncByteStream):
    """The bytes of a response, event by event, as they arrive from a socket."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            for _ in range(APART):
                await asyncio.sleep(0)
            yield line


def run_config(make: MakeClient, *answers: Any, call_times: list[float] | None = None) -> RunConfig:
    """A run config with a model that cycles through `answers`. The time of each call is appended to `call_times`."""
    scripts = [
        [f"event: {event.type}\ndata: {event.model_dump_json()}\n\n".encode() for event in events_of(answer)]
        for answer in answers
    ]
    calls = 0

    async def respond(request: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        if call_times is not None:
            call_times.append(time.perf_counter())
        if not json.loads(request.content).get("stream"):
            return httpx2.Response(400, json={})
        calls += 1
        lines = scripts[(calls - 1) % len(scripts)]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Bytes(lines))

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    client = make(api_key="none", http_client=http, max_retries=0)
    return RunConfig(model_provider=OpenAIProvider(openai_client=client), tracing_disabled=True)
