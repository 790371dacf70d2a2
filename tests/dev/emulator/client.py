"""An HTTP client that shows chunks as they came, for tests. Knows nothing that a browser would not."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from lambda_src.runtime.http1 import End, Head, Parser


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool  # False: the connection was cut in the middle


class Stream:
    """An answer while it arrives."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._parser = Parser(requests=False)
        self._parts: list[Head | bytes | End] = []
        self.head: Head | None = None
        self.ended = False

    async def chunk(self) -> bytes:
        """The next bytes of the body; b"" at its end, or where it was cut."""
        while True:
            while self._parts:
                match self._parts.pop(0):
                    case Head() as head:
                        self.head = head
                    case End():
                        self.ended = True
                        return b""
                    case data:
                        return data
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                return b""
            if not data:
                return b""
            self._parts += self._parser.feed(data)

    async def rest(self) -> bytes:
        body = b""
        while data := await self.chunk():
            body += data
        return body


@asynccontextmanager
async def open_stream(
    url: str, method: str = "GET", *, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> AsyncIterator[Stream]:
    """Send a request; leaving the block closes the connection, like a client that goes away."""
    parts = urlsplit(url)
    assert parts.hostname
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    try:
        yield Stream(reader)
    finally:
        writer.close()


async def request(
    url: str, method: str = "GET", *, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    async with open_stream(url, method, headers=headers, body=body) as stream:
        if method == "HEAD":  # its length says nothing about what follows
            while stream.head is None and await stream.chunk():
                pass
            content = b""
        else:
            content = await stream.rest()
    assert stream.head is not None
    return Answer(int(stream.head.start[1]), stream.head.headers, content, stream.ended)


async def get(url: str) -> Answer:
    return await request(url)
