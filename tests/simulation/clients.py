"""People, their tabs, and the rules of web/src/chat-client.js: names of turns, retries, Stop, reloads, resuming.

A page of last week (`is_old`) sends no x-chat-turn and resumes nothing, as ChatKit's component does by itself.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lambda_src import sse
from lambda_src.dev.emulator.url.events import Request
from tests.simulation.history import Deletion, History, Send, Stream
from tests.simulation.sources import SECOND
from tests.simulation.trace import Trace
from tests.simulation.url import Function, Response

AUDIENCE = "chat"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = {
    **json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key())),
    "kid": "k",
    "use": "sig",
    "alg": "EdDSA",
}
TRANSPORT_TRIES = 6  # ChatKit's own transport: the first, and five retries
ATTACH_FOR_S, RESUME_FOR_S = 60.0, 960.0  # chat-client.js
STOP_AGAIN_S = (0.0, 0.5, 1.0, 2.0, 4.0)  # client/stops.js
RESUME_AGAIN_S = (0.0, 0.5, 1.5)  # client/tries.js
PATIENCE_S = 120.0  # a browser gives up a request without a response
SILENCE_S = 60.0  # ... and a proxy a stream without a byte


class RefusedError(Exception):
    """A 4xx that a retry would meet again."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"{status} {code}")


class BrokenError(Exception):
    """A connection that broke, or a 5xx."""


@dataclass(eq=False)
class Person:
    """Somebody with tabs. `mark` is in everything that they write. A guest's token comes from the server."""

    name: str
    is_guest: bool
    world: "Web"
    token: str | None = None
    tabs: list["Tab"] = field(default_factory=list)
    is_gone: bool = False  # a guest who has signed in, or who was erased
    minting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def mark(self) -> str:
        return f"~{self.name}~"

    async def authorization(self) -> str:
        """A valid token."""
        now_s = self.world.trace.now_ns // SECOND
        if self.is_guest:
            async with self.minting:
                if self.token is None:
                    self.token = await self._new_token()
            return f"Bearer {self.token}"
        claims = {"sub": self.name, "aud": AUDIENCE, "exp": now_s + 900}
        return "Bearer " + jwt.encode(claims, KEY, algorithm="EdDSA", headers={"kid": "k"})

    async def _new_token(self) -> str:
        """A guest's token."""
        response = await self.world.fetch("POST", "/auth/guest", {}, b"")
        if response.status != 200:
            raise BrokenError(f"no guest token: {response.status}")
        try:
            return str(json.loads(await response.body())["token"])
        except ConnectionResetError as error:
            raise BrokenError("the response broke off") from error


class Web:
    """The network between people and the function."""

    def __init__(self, function: Function, trace: Trace, history: History, rng: random.Random) -> None:
        self.function, self.trace, self.history, self.rng = function, trace, history, rng
        self.breaks = 0.0  # the probability that a connection breaks
        self.on_bytes: Callable[[str, bytes], None] = lambda person, data: None
        self.on_refused: Callable[[Send, str], None] = lambda send, message: None

    async def fetch(
        self, method: str, target: str, headers: dict[str, str], body: bytes, *, source: str = "203.0.113.7"
    ) -> Response:
        """A request; returns with the head of the response. BrokenError if there is none."""
        sent = [("host", "chat.example.com"), ("content-type", "application/json"), *headers.items()]
        began_s = self.trace.now_ns / SECOND
        response = await self.function.request(
            Request(method, target, sent, body, source), self.rng.choice((0.005, 0.03, 0.15))
        )
        if self.rng.random() < self.breaks:
            asyncio.get_running_loop().call_later(self.rng.choice((0.01, 0.2, 1.0, 3.0)), response.break_off)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await response.head()
        except (ConnectionResetError, TimeoutError) as error:
            raise BrokenError(type(error).__name__) from error
        self.history.waits.append((f"{method} {target}", self.trace.now_ns / SECOND - began_s))
        return response


class Tab:
    """One tab of a person, in one thread."""

    def __init__(self, person: Person, number: int, *, is_old: bool) -> None:
        self.person, self.name, self.is_old = person, f"{person.name}/{number}", is_old
        self.thread_id: str | None = None
        self.send: Send | None = None  # the turn that it waits for
        self.newest_message: str | None = None
        self.form: dict[str, Any] | None = None  # that waits for an answer
        self._web = person.world
        self._name: str | None = None  # of the turn that it waits for
        self._response: Response | None = None
        self._is_aborted = False
        self._broken: dict[bytes, tuple[str, float]] = {}
        self._generation = 0

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being written in it."""
        return self.send is not None

    # Requests

    async def _send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Response:
        authorization = await self.person.authorization()
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        return await self._web.fetch(
            method, f"/chatkit{path}", {"authorization": authorization, **(headers or {})}, data
        )

    async def call(self, operation: str, **params: object) -> Any:
        """A request without a stream. RefusedError, BrokenError."""
        return await self._result(await self._send("POST", "", {"type": operation, "params": params}))

    async def _result(self, response: Response) -> Any:
        try:
            body = await response.body()
        except ConnectionResetError as error:
            raise BrokenError("the response broke off") from error
        self._web.on_bytes(self.person.name, body)
        if response.status >= 500 or (response.status == 429 and b'"error"' not in body):
            raise BrokenError(f"{response.status} {body[:80]!r}")
        content: Any = json.loads(body) if body else None
        if response.status >= 400:
            raise RefusedError(response.status, content["error"], content.get("message", ""))
        return content

    async def retried(self, request: Callable[[], Awaitable[Any]], tries: int = 4) -> Any:
        """The result of a request, tried again while it breaks."""
        for attempt in range(tries):
            try:
                return await request()
            except BrokenError:
                if attempt == tries - 1:
                    raise
                await asyncio.sleep(1.0 * 2**attempt)
        raise AssertionError

    # What people do

    async def say(
        self, send: Send, operation: str, params: dict[str, object], metadata: Mapping[str, object] | None = None
    ) -> None:
        """Ask for a turn, as ChatKit's transport does: again and again until it ends well or is refused."""
        self._generation += 1
        generation, self.send, self._is_aborted = self._generation, send, False
        request = {"type": operation, "params": params} | ({"metadata": metadata} if metadata else {})
        body = json.dumps(request, separators=(",", ":")).encode()
        seen = 0
        outcome = "broken"
        try:
            for attempt in range(TRANSPORT_TRIES):
                if attempt:
                    await asyncio.sleep(min(8.0, 1.0 * 2 ** (attempt - 1)) * self._web.rng.uniform(0.5, 1))
                if self._is_aborted or generation != self._generation:
                    outcome = "left"
                    break
                try:
                    seen = await self._open(send, body, seen)
                    outcome = "whole"
                    break
                except RefusedError as refused:
                    self._web.trace.add(self.name, f"m{send.number}", "is refused", refused.status, refused.code)
                    self._web.on_refused(send, refused.message)
                    outcome = "refused"
                    break
                except BrokenError as broken:
                    self._web.trace.add(self.name, f"m{send.number}", "breaks", str(broken)[:60])
                    seen = (
                        send.streams[-1].seen + len(send.streams[-1].events) if send.streams and not self.is_old else 0
                    )
        finally:
            send.outcome = "stopped" if send.stop_asked_ns is not None else outcome  # type: ignore[assignment]  # one of them
            send.ended_ns = self._web.trace.now_ns
            self._web.trace.add(self.name, f"m{send.number}", "ends", send.outcome)
            if generation == self._generation:
                self.send = self._response = None

    async def _open(self, send: Send, body: bytes, seen: int) -> int:
        """One attempt; how many events were seen in all."""
        headers: dict[str, str] = {}
        if not self.is_old:
            headers["x-chat-turn"] = self._name_of(body, seen)
            send.names.add(headers["x-chat-turn"])
            if seen:
                headers["last-event-id"] = str(seen)
        authorization = await self.person.authorization()
        self._web.trace.add(self.name, f"m{send.number}", send.kind, headers.get("x-chat-turn", "-"), seen)
        sent_ns = self._web.trace.now_ns
        send.attempts += 1
        try:
            response = await self._web.fetch("POST", "/chatkit", {"authorization": authorization, **headers}, body)
        except BrokenError:
            self._broke(body)
            raise
        if send.attempts == 1:
            send.waited = sent_ns, self._web.trace.now_ns, response.machine
        send.statuses.append(response.status)
        if response.status == 204:
            return seen
        if response.status != 200:
            try:
                await self._result(response)
            except BrokenError:
                self._broke(body)
                raise
            raise BrokenError(f"status {response.status}")
        self._response = response
        stream = Stream(self.person.name, self._web.trace.now_ns, response.headers.get("x-chat-turn", ""), seen=seen)
        send.turn_ids.add(stream.turn_id)
        send.streams.append(stream)
        try:
            await self.read(response, stream, send)
        except BrokenError:
            self._broke(body)
            raise
        return seen + len(stream.events)

    def _name_of(self, body: bytes, seen: int) -> str:
        name, at_s = self._broken.pop(body, (None, 0.0))
        within_s = RESUME_FOR_S if seen else ATTACH_FOR_S
        if name is None or self._web.trace.now_ns / SECOND - at_s >= within_s:
            name = self._web.rng.randbytes(16).hex()
        self._name = name
        return name

    def _broke(self, body: bytes) -> None:
        if self._name is not None:
            self._broken[body] = (self._name, self._web.trace.now_ns / SECOND)

    async def read(self, response: Response, stream: Stream, send: Send | None) -> None:
        """Read a stream to its end. BrokenError if it breaks."""
        self._web.history.streams.append(stream)
        parser, rest = sse.Parser(), b""
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    data = await response.read()
                stream.last_ns = self._web.trace.now_ns
                if data is None:
                    break
                self._web.on_bytes(self.person.name, data)
                rest = (rest + data).rpartition(b"\n\n")[2]
                for message in parser.feed(data):
                    self._event(json.loads(message.data), stream, send)
        except (ConnectionResetError, TimeoutError) as error:
            raise BrokenError("the stream broke off") from error
        finally:
            stream.ended_ns = self._web.trace.now_ns
            stream.errors += response.errors
        if rest.strip(b"\n") and not rest.startswith(b":"):
            raise BrokenError("the stream ended inside an event")
        stream.is_whole = True

    def _event(self, event: dict[str, Any], stream: Stream, send: Send | None) -> None:
        stream.events.append(event)
        self._web.trace.add(
            self.name, "sees", event["type"], (event.get("item") or {}).get("id", event.get("item_id", ""))
        )
        if send is None:
            return
        match event:
            case {"type": "thread.created", "thread": {"id": thread_id}}:
                send.thread_id = thread_id
                if self.send is send:
                    self.thread_id = thread_id
            case {"type": "thread.item.done", "item": {"type": "user_message", "id": item_id}}:
                send.item_id = item_id
                self.newest_message = item_id
            case {"type": "thread.item.done", "item": {"type": "structured_input"} as form}:
                self.form = form
            case {"type": "stream_options"} if send.acked_ns is None:
                send.acked_ns = self._web.trace.now_ns

    async def stop(self) -> None:
        """Press Stop."""
        send, name = self.send, self._name
        if send is None or self._is_aborted:
            return
        self._is_aborted = True
        send.stop_asked_ns = self._web.trace.now_ns
        turn_id = send.streams[-1].turn_id if send.streams else None
        has_met = bool(send.statuses)
        if self._response is not None:
            self._response.leave()
        target = turn_id if self.is_old else name
        if target is None:
            return
        for wait_s in STOP_AGAIN_S:
            await asyncio.sleep(wait_s)
            try:
                stopped = (await self._result(await self._send("POST", "/stop", {"turn_id": target})))["stopped"]
            except BrokenError:
                continue
            except RefusedError:
                return
            self._web.trace.add(self.name, f"m{send.number}", "stop", stopped)
            if stopped:
                send.stopped_ns = self._web.trace.now_ns
            if stopped or has_met:
                return

    def abandon(self) -> None:
        """The page goes away: a reload, a closed laptop."""
        self._is_aborted = True
        self._generation += 1
        if self._response is not None:
            self._response.leave()
        self.send = self._response = None

    async def reload(self) -> None:
        """Load the page anew: the list, the newest thread, and the turn that runs in it."""
        self.abandon()
        threads = await self.retried(lambda: self.call("threads.list", limit=20, order="desc"))
        if self.thread_id is None:
            self.thread_id = threads["data"][0]["id"] if threads["data"] else None
        if self.thread_id is None:
            return
        try:
            await self.show()
        except RefusedError as refused:
            if refused.status != 404:
                raise
            self.thread_id = self.newest_message = None
            return
        if self.is_old:
            return
        thread_id = self.thread_id
        running = await self.retried(lambda: self._got(f"/threads/{thread_id}/turn"))
        if running["turn_id"] is not None:
            await self.follow(running["turn_id"])
            await self.show()

    async def show(self) -> list[dict[str, Any]]:
        """Load the thread of this tab."""
        if (thread_id := self.thread_id) is None:
            return []
        thread = await self.retried(lambda: self.call("threads.get_by_id", thread_id=thread_id))
        items: list[dict[str, Any]] = thread["items"]["data"]
        mine = [item["id"] for item in items if item["type"] == "user_message"]
        self.newest_message = mine[-1] if mine else None
        return items

    async def _got(self, path: str) -> Any:
        return await self._result(await self._send("GET", path))

    async def follow(self, turn_id: str) -> None:
        """Resume a turn, across breaks."""
        seen = 0
        failures = 0
        while failures < len(RESUME_AGAIN_S):
            await asyncio.sleep(RESUME_AGAIN_S[failures])
            stream: Stream | None = None
            try:
                response = await self._send("GET", f"/turns/{turn_id}/events", None, {"last-event-id": str(seen)})
                if response.status == 204:
                    return
                if response.status != 200:
                    await self._result(response)
                stream = Stream(self.person.name, self._web.trace.now_ns, turn_id, seen=seen)
                await self.read(response, stream, None)
                return
            except RefusedError:
                return
            except BrokenError:
                if stream is not None and stream.events:
                    failures, seen = 0, seen + len(stream.events)
                failures += 1

    async def delete(self) -> None:
        """Delete the thread of this tab."""
        thread_id = self.thread_id
        if thread_id is None:
            return
        deletion = Deletion(self.person.name, thread_id, self._web.trace.now_ns)
        self._web.history.deletions.append(deletion)
        try:
            await self.retried(lambda: self.call("threads.delete", thread_id=thread_id))
        except RefusedError as refused:
            if refused.status != 404:
                raise
        deletion.acked_ns = self._web.trace.now_ns
        self._web.trace.add(self.name, "deleted", thread_id)
        if self.thread_id == thread_id:
            self.thread_id = self.newest_message = None

    async def linked(self, guest_token: str) -> Any:
        """Sign in: what the guest had becomes this person's."""
        return await self._result(await self._send("POST", "/link", {"guest_token": guest_token}))

    async def rename(self, title: str) -> None:
        """Rename the thread of this tab."""
        thread_id = self.thread_id
        if thread_id is None:
            return
        history = self._web.history
        if thread_id in history.renaming:
            history.unclear_titles.add(thread_id)
        history.renaming.add(thread_id)
        try:
            await self.call("threads.update", thread_id=thread_id, title=title)
        except BrokenError:
            history.unclear_titles.add(thread_id)
            raise
        finally:
            history.renaming.discard(thread_id)
        history.titles[thread_id] = title
