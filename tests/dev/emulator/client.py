"""A test HTTP client on h11 that returns the chunks of a response as they arrive."""

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
    complete: bool  # False if the connection was cut before the end


class Stream:
    """A response that is still arriving."""

    def __init__(self, reader: asyncio.StreamReader, http: h11.Connection) -> None:
        self._reader = reader
        self._http = http
        self.head: h11.Response | None = None
        self.ended = False

    async def chunk(self) -> bytes:
        """The next bytes of the body, or b"" at its end or where it was cut."""
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
        head = await self._event()
        assert isinstance(head, h11.Response)
        self.head = head
        return head

    async def _event(self) -> Any:
        """The next h11 event, or None where the response was cut."""
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
    """Send a request. Leaving the block closes the connection, like a client that disconnects."""
    parts = urlsplit(url)
    assert parts.hostname
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    http = h11.Connection(h11.CLIENT)
    all_headers = [("host", parts.netloc), ("content-length", str(len(body))), *headers]
    for event in (
        h11.Request(method=method, target=target, headers=all_headers),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
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


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for a condition that another process brings about. If it never holds, the test times out."""
    while not condition():  # noqa: ASYNC110 - nothing here could set an event
        await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    """The state of a process as ps prints it (T: stopped, Z: zombie), or "" if there is no such process."""
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()[:1]
