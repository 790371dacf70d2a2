"""Requests and answers on one connection of a runtime process, as http1 reads and writes them. Knows no routes."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from lambda_src.runtime.http1 import End, Head, HttpError, Parser, head
from lambda_src.runtime.protocol import Invocation

READ_BYTES = 64 * 1024  # a pipe's worth; more would only wait in our memory
LINGER_S = 0.5  # as Go's server, which the service is written in

T = TypeVar("T")


class Exchange:
    """`head`, then `body` or `chunks`, then `answer` or `invocation`; and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trailers: dict[str, str] = {}
        self.at_end = True  # whether the request was read to its end
        self._reader = reader
        self._writer = writer
        self._parser = Parser(requests=True)
        self._parts: deque[Head | bytes | End] = deque()

    async def head(self) -> Head | None:
        """The next request; None when the connection ended before it."""
        part = await self._part()
        if part is None:
            return None
        assert isinstance(part, Head)
        self.at_end = False
        return part

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; HttpError when the connection ends within."""
        while True:
            match await self._part():
                case bytes() as data:
                    yield data
                case End() as end:
                    self.trailers, self.at_end = end.trailers, True
                    return
                case _:
                    raise HttpError("the connection was closed in the middle of a request")

    async def body(self, limit: int | None = None) -> bytes | None:
        """The whole body; None as soon as it is over `limit` bytes."""
        data = bytearray()
        async for part in self.chunks():
            data += part
            if limit is not None and len(data) > limit:
                return None
        return bytes(data)

    async def answer(self, status: int, fields: object, *, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with JSON."""
        await self._send(status, [("Content-Type", "application/json"), *headers], json.dumps(fields).encode())

    async def refuse(self, status: int, fields: object) -> None:
        """Answer with JSON at once, as the service does: before the body was read, which then ends the connection."""
        if self.at_end:
            await self.answer(status, fields)
            return
        await self.answer(status, fields, headers=[("Connection", "close")])
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):  # lingering: closing with bytes unread resets, and may lose the answer
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(READ_BYTES):
                    pass
        raise ConnectionAbortedError("answered before the request was read")

    async def unless_closed(self, wait: Coroutine[Any, Any, T]) -> T:
        """What `wait` returns; ConnectionAbortedError when the other end closes first."""
        waiting, closed = asyncio.ensure_future(wait), asyncio.ensure_future(self._closed())
        try:
            await asyncio.wait({waiting, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ConnectionAbortedError("closed while it waited")
            return waiting.result()
        finally:
            waiting.cancel()
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)  # or it would still hold the reader

    async def _closed(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._reader.read(READ_BYTES):
                self._parts.extend(self._parser.feed(data))

    async def invocation(self, invocation: Invocation, *, empty: bool = False) -> None:
        """Answer `next`."""
        await self._send(200, invocation.headers(empty=empty), invocation.event)

    async def _send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        self._writer.write(head(line, [*headers, ("Content-Length", str(len(body)))]) + body)
        await self._writer.drain()

    async def _part(self) -> Head | bytes | End | None:
        while not self._parts:
            if not (data := await self._reader.read(READ_BYTES)):
                return None
            self._parts.extend(self._parser.feed(data))
        return self._parts.popleft()
