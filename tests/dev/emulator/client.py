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
        if self.head is None:
            await self.start()
        match await self._part():
            case bytes() as data:
                return data
            case End():
                self.ended = True
        return b""

    async def start(self) -> Head:
        """Wait for status and headers."""
        found = await self._part()
        assert isinstance(found, Head)
        self.head = found
        return found

    async def _part(self) -> Head | bytes | End | None:
        while not self._parts:
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._parts += self._parser.feed(data)
        return self._parts.pop(0)

    async def rest(self) -> bytes:
        body = bytearray()
        while data := await self.chunk():
            body += data
        return bytes(body)


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
        head = await stream.start()
        body = b"" if method == "HEAD" else await stream.rest()
    return Answer(int(head.start[1]), head.headers, body, stream.ended)


async def get(url: str) -> Answer:
    return await request(url)
