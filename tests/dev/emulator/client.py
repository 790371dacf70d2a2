"""An HTTP client that shows chunks as they came, for tests. Knows nothing that a browser would not."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool  # False: the connection was cut in the middle


class Stream:
    """A response while it arrives."""

    def __init__(self, reader: asyncio.StreamReader, http: h11.Connection) -> None:
        self._reader = reader
        self._http = http
        self.head: h11.Response | None = None
        self.ended = False

    async def chunk(self) -> bytes:
        """The next bytes of the body; b"" at its end, or where it was cut."""
        if self.head is None:
            await self.start()
        match await self._event():
            case h11.Data(data=data):
                return bytes(data)
            case h11.EndOfMessage():
                self.ended = True
        return b""

    async def start(self) -> h11.Response:
        """Wait for status and headers."""
        found = await self._event()
        assert isinstance(found, h11.Response)
        self.head = found
        return found

    async def _event(self) -> Any:
        """The next event of h11; None where the response was cut."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(65536))
        except (ConnectionError, h11.RemoteProtocolError):
            return None
        return event

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
    http = h11.Connection(h11.CLIENT)
    sent = [("host", parts.netloc), ("content-length", str(len(body))), *headers]
    for event in (h11.Request(method=method, target=target, headers=sent), h11.Data(data=body), h11.EndOfMessage()):
        writer.write(http.send(event) or b"")
    try:
        yield Stream(reader, http)
    finally:
        writer.close()


async def request(
    url: str, method: str = "GET", *, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    async with open_stream(url, method, headers=headers, body=body) as stream:
        head = await stream.start()
        body = b"" if method == "HEAD" else await stream.rest()
    joined: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return Answer(head.status_code, joined, body, stream.ended)


async def get(url: str) -> Answer:
    return await request(url)


async def eventually(seen: Callable[[], object]) -> None:
    """Wait for something that another process does. The test's timeout ends it when it never happens."""
    while not seen():  # noqa: ASYNC110 - nothing here could set an event
        await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    """One letter, as ps prints it: T is stopped, Z dead and not yet collected; "" for a process that is gone."""
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()[:1]
