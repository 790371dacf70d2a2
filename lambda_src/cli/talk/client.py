"""A running chat as one of its users meets it, over HTTP: for `chat talk` and `chat doctor`. Knows no terminal."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from lambda_src import sse
from lambda_src.cli.options import AUTHORIZATION
from lambda_src.errors import ChatError

ASSISTANT = re.compile(r"/chatkit(/[a-z][a-z0-9-]*)?/*$")
CONNECT_S = 10.0
SILENCE_S = 90.0  # a heartbeat comes every 15 s: after this nobody is there any more
RESUMES = 3  # broken connections in a row, without an event between them
PAUSE_S = 1.0  # before a broken stream is taken up again
BUSY = (429, 500, 502, 503, 504)  # what stands in front of a chat says in its place
Events = AsyncGenerator[dict[str, Any]]
Sleep = Callable[[float], Awaitable[object]]


class EndpointError(ChatError):
    """The endpoint refused, or was not there. Its text says what to do; `status` is None without an answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


def place_of(url: str) -> tuple[str, str]:
    """Where the chat is, without a slash at its end, and the path of the assistant: `/chatkit`, or `/chatkit/sales`.

    `url` is the page's or the assistant's. EndpointError when it is no http(s) URL.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that do not match, a port that is no number
        usable = False
    if not usable:
        raise EndpointError(f"{url!r} is no address: it must begin with https:// (or http:// on this machine).")
    named = ASSISTANT.search(url)
    return (url[: named.start()], named[0].rstrip("/")) if named else (url.rstrip("/"), "/chatkit")


@asynccontextmanager
async def connected(url: str, *, token: str | None, token_header: str = AUTHORIZATION) -> AsyncIterator["Endpoint"]:
    """An Endpoint with a connection of its own."""
    base, path = place_of(url)
    timeout = httpx2.Timeout(SILENCE_S, connect=CONNECT_S)
    async with httpx2.AsyncClient(base_url=base, timeout=timeout) as http:
        yield Endpoint(http, token=token, token_header=token_header, path=path, sleep=asyncio.sleep)


class Endpoint:
    """One user. `token` may be set later, by `sign_in`."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        token: str | None,
        token_header: str = AUTHORIZATION,
        path: str = "/chatkit",
        sleep: Sleep,
    ) -> None:
        self.token = token
        self.path = path
        self._http, self._token_header, self._sleep = http, token_header, sleep

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._http.base_url).rstrip("/")

    async def sign_in(self) -> bool:
        """Make sure that we may talk: with the token, without one, or else as a guest (True), where guests are let in.

        EndpointError: none of these.
        """
        try:
            await self.ask("threads.list", limit=1)
        except EndpointError as refused:
            if refused.status != httpx2.codes.UNAUTHORIZED or self.token is not None:
                raise
        else:
            return False
        answer = await self._send("POST", "/auth/guest")
        if answer.status_code in (httpx2.codes.NOT_FOUND, httpx2.codes.METHOD_NOT_ALLOWED):
            raise EndpointError(
                f"{self.url} lets in nobody without a token, and no guests: give one, as --token or in CHATKIT_TOKEN.",
                status=httpx2.codes.UNAUTHORIZED,
            )
        self.token = str(self._json(answer)["token"])
        return True

    async def ask(self, operation: str, **params: Any) -> Any:  # noqa: ANN401 - JSON, both ways
        """A request that is answered at once. EndpointError."""
        return self._json(await self._send("POST", self.path, {"type": operation, "params": params}))

    async def raw(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Any answer, as it is. EndpointError when there is none."""
        return await self._sent(self._http.build_request(method, path, json=body, headers=headers))

    async def chunks(self, operation: str, params: dict[str, Any]) -> AsyncGenerator[bytes]:
        """A turn's bytes, in the pieces in which they arrive. EndpointError."""
        request = self._http.build_request("POST", self.path, json={"type": operation, "params": params})
        answer = await self._sent(request, stream=True)
        try:
            if answer.status_code != httpx2.codes.OK:
                await answer.aread()
                self._json(answer)
            async for chunk in answer.aiter_raw():
                yield chunk
        except httpx2.TransportError as fault:
            raise EndpointError(f"The connection to {self.url} broke: {_why(fault)}.") from fault
        finally:
            await answer.aclose()

    async def stop(self, turn_id: str) -> bool:
        """Ask a turn to stop; False when there is none."""
        answer = await self._send("POST", f"{self.path}/stop", {"turn_id": turn_id})
        return bool(self._json(answer)["stopped"])

    async def turn_in(self, thread_id: str) -> str | None:
        """The turn that runs in a thread."""
        answer = self._json(await self._send("GET", f"{self.path}/threads/{thread_id}/turn"))
        return None if answer["turn_id"] is None else str(answer["turn_id"])

    async def stream(self, operation: str, params: dict[str, Any], *, turn_id: str) -> Events:
        """A turn's events. A connection that breaks is taken up again where it broke. EndpointError."""
        body = {"type": operation, "params": params}
        request = self._http.build_request("POST", self.path, json=body, headers={"x-chat-turn": turn_id})
        async for event in self._events(request, turn_id):
            yield event

    async def follow(self, turn_id: str) -> Events:
        """The events of a turn that runs already, from its first. EndpointError."""
        async for event in self._events(self._resuming(turn_id, seen=0), turn_id):
            yield event

    async def _events(self, request: httpx2.Request, turn_id: str) -> Events:
        seen = broken = 0
        while True:
            try:
                answer = await self._sent(request, stream=True)
                try:
                    if answer.status_code == httpx2.codes.NO_CONTENT:
                        return  # the turn is over, and all of its events were seen
                    if answer.status_code != httpx2.codes.OK:
                        await answer.aread()
                        self._json(answer)
                    async for message in sse.messages(answer.aiter_bytes()):
                        seen, broken = seen + 1, 0
                        yield json.loads(message.data)
                finally:
                    await answer.aclose()
            except httpx2.TransportError as fault:
                broken += 1
                if seen == 0 or broken > RESUMES:
                    raise EndpointError(f"The connection to {self.url} broke: {_why(fault)}.") from fault
                await self._sleep(PAUSE_S)
                request = self._resuming(turn_id, seen=seen)
            else:
                return

    def _resuming(self, turn_id: str, *, seen: int) -> httpx2.Request:
        return self._http.build_request(
            "GET", f"{self.path}/turns/{turn_id}/events", headers={"last-event-id": str(seen)}
        )

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        return await self._sent(self._http.build_request(method, path, json=body))

    async def _sent(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        """EndpointError when nobody is there; a TransportError later than that is the caller's."""
        if self.token is not None:
            request.headers[self._token_header] = f"Bearer {self.token}"
        if self._token_header != AUTHORIZATION:  # CloudFront signs the request, and wants to know what is in it
            request.headers["x-amz-content-sha256"] = hashlib.sha256(request.content).hexdigest()
        try:
            return await self._http.send(request, stream=stream)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as fault:
            raise EndpointError(f"Nothing answers at {self.url}: {_why(fault)}. Is it the right --url?") from fault
        except httpx2.TransportError as fault:
            if stream:
                raise
            raise EndpointError(f"The connection to {self.url} broke: {_why(fault)}.") from fault

    def _json(self, answer: httpx2.Response) -> Any:  # noqa: ANN401 - the answer's JSON
        """The answer, if it is one of a chat."""
        try:
            fields = answer.json()
        except ValueError:
            fields = None
        if answer.status_code == httpx2.codes.OK and fields is not None:
            return fields
        text = fields.get("message") or fields.get("Message") if isinstance(fields, dict) else None
        if answer.status_code == httpx2.codes.UNAUTHORIZED and self.token is not None:
            text = "The token is not accepted, or not any more. Give a new one, as --token or in CHATKIT_TOKEN."
        busy = answer.status_code in BUSY and "the server cannot answer at the moment. Try again."
        message = text or busy or "that is no answer of a chat. Is it the right --url?"
        raise EndpointError(f"{answer.status_code}: {message}", status=answer.status_code)


def _why(fault: Exception) -> str:
    return str(fault).rstrip(".") or type(fault).__name__
