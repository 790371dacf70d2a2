"""Client for the checks: signs in as the page does, sends requests, and reads streams with the time of each event.

Each `person()` is a new guest if the deployment has guests, because a guest may run only one turn at a time.
"""

import asyncio
import json as codec
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from lambda_src import sse

if TYPE_CHECKING:
    from lambda_src.dev.verify.inside import Inside

ASK_S = 30.0  # for a response that does not stream, including a cold start
SILENCE_S = 40.0  # between two chunks of a stream: more than two heartbeats
PROMPT = "Count from one to two hundred in words, all on one line, and say nothing else."
_CONFIG = re.compile(r'<script type="application/json" id="page-config">(.*?)</script>', re.DOTALL)


class CannotSignInError(Exception):
    """The deployment requires a token and none was given; the text says how to give one."""


@dataclass(slots=True)
class Stream:
    """A turn's stream as it arrives: events, and when each was complete (seconds since the request was sent)."""

    turn_id: str
    request_id: str
    headers: Mapping[str, str]
    events: list[dict[str, Any]] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    reads: int = 0  # the number of chunks that arrived

    @property
    def thread_id(self) -> str:
        """The thread id in the first event."""
        return str(self.events[0]["thread"]["id"])

    @property
    def kinds(self) -> list[str]:
        """The types of the events."""
        return [event["type"] for event in self.events]

    @property
    def deltas(self) -> list[tuple[float, str]]:
        """When each piece of the answer arrived, and its text."""
        return [
            (arrived, event["update"]["delta"])
            for arrived, event in zip(self.arrived_s, self.events, strict=True)
            if event.get("update", {}).get("type") == "assistant_message.content_part.text_delta"
        ]

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(piece for _, piece in self.deltas)


@dataclass(slots=True)
class Person:
    """An authorized caller."""

    http: httpx2.AsyncClient
    headers: dict[str, str]
    now: Callable[[], float]

    async def ask(self, operation: str, **params: Any) -> httpx2.Response:  # noqa: ANN401 - ChatKit's own
        """POST /chatkit with a request that does not stream."""
        return await self.http.post(
            "chatkit", json={"type": operation, "params": params}, headers=self.headers, timeout=ASK_S
        )

    async def items(self, thread_id: str) -> list[dict[str, Any]]:
        """The thread's items, oldest first."""
        answer = await self.ask("items.list", thread_id=thread_id, order="asc", limit=100)
        return list(answer.json()["data"])

    async def stop(self, turn_id: str) -> httpx2.Response:
        """POST /chatkit/stop."""
        return await self.http.post("chatkit/stop", json={"turn_id": turn_id}, headers=self.headers, timeout=ASK_S)

    @asynccontextmanager
    async def turn(
        self, text: str, *, named: str | None = None, attachments: Sequence[str] = ()
    ) -> AsyncIterator[tuple[Stream, AsyncIterator[None]]]:
        """Send a message in a new thread. Yields the Stream, and an iterator that adds one event to it per step."""
        named = named or uuid.uuid4().hex
        content = [{"type": "input_text", "text": text}]
        body = {
            "type": "threads.create",
            "params": {"input": {"content": content, "attachments": [*attachments], "inference_options": {}}},
        }
        async with self._streamed("POST", "chatkit", named, json=body) as stream:
            yield stream

    @asynccontextmanager
    async def resumed(self, turn_id: str, *, after: int) -> AsyncIterator[tuple[Stream, AsyncIterator[None]]]:
        """Resume a turn after the event with this id."""
        path, last = f"chatkit/turns/{turn_id}/events", {"last-event-id": str(after)}
        async with self._streamed("GET", path, turn_id, more=last) as stream:
            yield stream

    @asynccontextmanager
    async def _streamed(
        self, method: str, path: str, named: str, *, more: Mapping[str, str] | None = None, json: object = None
    ) -> AsyncIterator[tuple[Stream, AsyncIterator[None]]]:
        headers = {**self.headers, "x-chat-turn": named, **(more or {})}
        began_s = self.now()
        timeout = httpx2.Timeout(SILENCE_S)
        async with self.http.stream(method, path, headers=headers, timeout=timeout, json=json) as answer:
            if answer.status_code != httpx2.codes.OK:
                await answer.aread()
                raise ValueError(f"the turn was answered {answer.status_code}: {answer.text[:200]}")
            stream = Stream(named, answer.headers.get("x-request-id", ""), answer.headers)
            yield stream, self._events(answer, stream, began_s)

    async def _events(self, answer: httpx2.Response, stream: Stream, began_s: float) -> AsyncIterator[None]:
        parser = sse.Parser()
        async for chunk in answer.aiter_raw():
            stream.reads += 1
            arrived_s = self.now() - began_s
            for message in parser.feed(chunk):
                stream.events.append(codec.loads(message.data))
                stream.arrived_s.append(arrived_s)
                stream.ids.append(int(message.id))
                yield


async def whole(turn: tuple[Stream, AsyncIterator[None]]) -> Stream:
    """The stream, once it has ended."""
    stream, events = turn
    async for _ in events:
        pass
    return stream


async def begun(turn: tuple[Stream, AsyncIterator[None]], *, pieces: int) -> Stream:
    """The stream, once `pieces` of the answer have arrived; ValueError if it ends before that."""
    stream, events = turn
    async for _ in events:
        if len(stream.deltas) >= pieces:
            return stream
    raise ValueError(f"the answer ended after {len(stream.deltas)} pieces: ask for a longer one with PROMPT=")


@dataclass(slots=True)
class Deployment:
    """The deployment at a URL. `page_config` is the page's configuration: how users sign in, the token's header."""

    url: str
    http: httpx2.AsyncClient
    page_config: Mapping[str, Any]
    prompt: str = PROMPT
    origin: str | None = None  # a site that may call, if any
    deadline_s: float | None = None  # the function's timeout, if a turn may reach it
    token: str | None = None
    stage: str | None = None  # in cdk.json; has the models and the key
    inside: "Inside | None" = None  # its resources in AWS, if credentials were given
    now: Callable[[], float] = time.perf_counter
    wait: Callable[[float], Any] = asyncio.sleep

    @property
    def is_open(self) -> bool:
        """Whether no token is required, as on a laptop."""
        return bool(self.page_config["auth"]["kind"] == "open")

    @property
    def has_guests(self) -> bool:
        """Whether users may chat without signing in."""
        auth = self.page_config["auth"]
        return auth["kind"] == "guest" or bool(auth.get("guests"))

    async def person(self) -> Person:
        """A caller with the given token, as a new guest, or without a token if none is required. CannotSignInError."""
        if self.token is None and not self.is_open and not self.has_guests:
            raise CannotSignInError("a token is needed: put one into CHAT_TOKEN")
        token = self.token
        if token is None and self.has_guests:
            answer = await self.http.post("auth/guest", timeout=ASK_S)
            answer.raise_for_status()
            token = answer.json()["token"]
        header = str(self.page_config.get("token_header", "authorization"))
        return Person(self.http, {} if token is None else {header: f"Bearer {token}"}, self.now)


def page_config_of(page: str) -> Mapping[str, Any]:
    """The configuration in the page. ValueError if it is not the page of this project."""
    if (match := _CONFIG.search(page)) is None:
        raise ValueError("this is not the page of a chatkit-lambda deployment: it holds no page-config")
    config: Mapping[str, Any] = codec.loads(match[1])
    return config
