"""A TCP server, and the HTTP requests of a runtime process, with h11. Knows no routes."""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import h11

from lambda_src.dev.emulator.protocol import Invocation

READ_BYTES = 64 * 1024  # the size of a pipe; more would only wait in memory
HEAD_MAX_BYTES = 1024 * 1024  # as in Go, in which the service is written: the X-Ray cause is a long header
LINGER_S = 0.5  # as in Go

T = TypeVar("T")


class Server(ABC):
    """Serves one connection after another; `stop` closes all of them, in the middle of whatever they carry."""

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def stop(self) -> None:
        """Close every connection."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next turn

    async def _listen(self, **where: Any) -> str:  # noqa: ANN401 - arguments of asyncio.start_server
        """Listen; the address, as host and port."""
        self._server = await asyncio.start_server(self._connected, **where)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, h11.RemoteProtocolError):
            pass  # the other side went away, or does not speak HTTP
        except asyncio.CancelledError:
            pass  # stop() waits for this task; nobody else cancels it
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """The head of a request; header names in lower case, repeated ones joined."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange:
    """`request`, then `body` or `chunks`, then `respond`, `send_invocation` or `refuse`; and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trailers: Mapping[str, str] = {}
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)

    async def request(self) -> ApiRequest | None:
        """The next request; None if the connection ends before it."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        match await self._event():
            case h11.Request() as head:
                return ApiRequest(head.method.decode(), head.target.decode("latin-1"), _joined(head.headers))
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. ConnectionError or h11.RemoteProtocolError if the connection ends within it."""
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while True:
            match await self._event():
                case h11.Data(data=data):
                    yield bytes(data)
                case h11.EndOfMessage(headers=trailers):
                    self.trailers = _joined(trailers)
                    return
                case _:
                    raise ConnectionAbortedError("closed in the middle of a request")

    async def body(self, limit: int | None = None) -> bytes | None:
        """The whole body; None as soon as it exceeds `limit` bytes."""
        data = bytearray()
        async for part in self.chunks():
            data += part
            if limit is not None and len(data) > limit:
                return None
        return bytes(data)

    async def respond(self, status: int, fields: object, *, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Respond with JSON."""
        await self._send(status, [("Content-Type", "application/json"), *headers], json.dumps(fields).encode())

    async def refuse(self, status: int, fields: object) -> None:
        """Respond with JSON immediately, as the service does. If the body is not read yet, this ends the connection."""
        if self._http.their_state is not h11.SEND_BODY:
            await self.respond(status, fields)
            return
        await self.respond(status, fields, headers=[("Connection", "close")])
        await linger(self._reader, self._writer)
        raise ConnectionAbortedError("refused before the request was read")

    async def send_invocation(self, invocation: Invocation, *, empty: bool) -> None:
        """Respond to `next`."""
        await self._send(200, invocation.headers(empty=empty), invocation.event)

    async def unless_closed(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; ConnectionAbortedError if the runtime closes the connection first."""
        closed = until_closed(self._reader, self._http)
        return await unless(closed, work, ConnectionAbortedError("closed while it waited"))

    async def _send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        all_headers = [*headers, ("Content-Length", str(len(body)))]
        head = h11.Response(status_code=status, headers=all_headers, reason=HTTPStatus(status).phrase)
        parts = [self._http.send(part) for part in (head, h11.Data(data=body), h11.EndOfMessage())]
        self._writer.write(b"".join(part or b"" for part in parts))
        await self._writer.drain()

    async def _event(self) -> Any:  # noqa: ANN401 - h11's union of events and sentinels
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ_BYTES))
        return event


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the rest of a refused request before closing: a reset could discard the response already sent."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(LINGER_S):
            while await reader.read(READ_BYTES):
                pass


async def until_closed(reader: asyncio.StreamReader, connection: h11.Connection) -> None:
    """Return when the other side has closed the connection; keep what it sends of its next request."""
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            connection.receive_data(data)


async def unless(happens: Coroutine[Any, Any, object], work: Coroutine[Any, Any, T], error: Exception) -> T:
    """The result of `work`; raises `error` if `happens` returns first. Neither is left running."""
    happening, working = asyncio.ensure_future(happens), asyncio.ensure_future(work)
    try:
        await asyncio.wait({happening, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise error
        return working.result()
    finally:
        happening.cancel()
        working.cancel()
        await asyncio.gather(happening, working, return_exceptions=True)  # otherwise they would keep using the reader


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
