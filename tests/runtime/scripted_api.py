"""A fake Runtime API scripted by the test, byte for byte. It records every request and keeps no state."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

import h11

# Spelled out as AWS documents them: if they were imported from the runtime, a misspelling would go unnoticed.
HEADERS = {
    "request_id": "Lambda-Runtime-Aws-Request-Id",
    "deadline_ms": "Lambda-Runtime-Deadline-Ms",
    "function_arn": "Lambda-Runtime-Invoked-Function-Arn",
    "trace_id": "Lambda-Runtime-Trace-Id",
    "invocation_id": "Lambda-Runtime-Invocation-Id",
}
ACCEPTED = b'{"status":"OK"}'


class Request:
    """A request from the runtime. It exists as soon as its head has arrived; its body grows."""

    def __init__(self, head: h11.Request, writer: asyncio.StreamWriter) -> None:
        self.method, self.path = head.method.decode(), head.target.decode()
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self.body = bytearray()
        self.trailers: dict[str, str] = {}
        self.ended = False  # completely; False although `over` is set: the runtime dropped the connection
        self.fault: h11.RemoteProtocolError | None = None  # the bytes were not a valid request
        self.over = asyncio.Event()
        self.grew = asyncio.Event()
        self._writer = writer

    async def complete(self) -> Self:
        """Wait for the end of the request."""
        await self.over.wait()
        return self

    async def has(self, text: bytes) -> None:
        """Wait until the body contains `text`."""
        while text not in self.body:
            self.grew.clear()
            await self.grew.wait()

    def answer(self, status: int, body: bytes = ACCEPTED, headers: Iterable[tuple[str, str]] = ()) -> None:
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers)]
        self._writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)

    def answer_raw(self, data: bytes) -> None:
        self._writer.write(data)

    def drop(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


class ScriptedApi:
    """A running Runtime API. `take` returns requests in the order in which their heads arrived."""

    def __init__(self) -> None:
        self.address = ""
        self.connections = 0
        self._requests: list[Request] = []
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, path: str = "") -> Request:
        """Wait for the next request whose path ends with `path`. Other requests stay in the queue."""
        while True:
            for request in self._requests:
                if request.path.endswith(path):
                    self._requests.remove(request)
                    return request
            self._arrived.clear()
            await self._arrived.wait()

    async def deliver(self, event: object = None, **fields: object) -> Request:
        """Answer `next` with `event` (bytes as they are, anything else as JSON); return the request that follows."""
        next_request = await self.take("/invocation/next")
        body = event if isinstance(event, bytes) else json.dumps(http_event() if event is None else event).encode()
        values = {"request_id": "r-1", "deadline_ms": 10_000} | fields
        next_request.answer(
            200, body, [(HEADERS[name], str(value)) for name, value in values.items() if value is not None]
        )
        return await self.take()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        request: Request | None = None
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            while data := await reader.read(65536):
                http.receive_data(data)
                while (part := http.next_event()) is not h11.NEED_DATA:
                    match part:
                        case h11.Request():
                            request = Request(part, writer)
                            self._requests.append(request)
                            self._arrived.set()
                        case h11.Data(data=more):
                            assert request is not None
                            request.body += more
                            request.grew.set()
                        case h11.EndOfMessage(headers=trailers):
                            assert request is not None
                            request.trailers = {name.decode().lower(): value.decode() for name, value in trailers}
                            request.ended = True
                            request.over.set()
                            rest, _ = http.trailing_data
                            http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                            if rest:
                                http.receive_data(rest)
        except h11.RemoteProtocolError as fault:
            assert request is not None
            request.fault = fault
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            if request is not None:
                request.over.set()
            writer.transport.abort()


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    api = ScriptedApi()
    server = await asyncio.start_server(api._connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    api.address = f"{host}:{port}"
    try:
        yield api
    finally:
        server.close()
        for task in api._tasks:
            task.cancel()
        await asyncio.gather(*api._tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # the sockets close in the next iteration of the loop


def http_event(path: str = "/", method: str = "GET", **more: object) -> dict[str, object]:
    """The smallest payload 2.0 event that Mangum accepts."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "example.com"},
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": "127.0.0.1"}},
        "isBase64Encoded": False,
        **more,
    }
