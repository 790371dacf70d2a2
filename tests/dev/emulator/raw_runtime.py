"""A scripted runtime client for tests of the emulated Runtime API: it sends exactly the bytes that a test gives it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from lambda_src.dev.emulator.delivery import Collected, Delivery
from lambda_src.dev.emulator.protocol import ErrorReport, Invocation
from lambda_src.dev.emulator.sandboxes.runtime_api import RuntimeApi
from lambda_src.dev.emulator.sandboxes.states import ClassicStates, States
from lambda_src.dev.emulator.switches import Switches

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n"
STREAMING = (
    b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nhost: x\r\n"
    b"lambda-runtime-function-response-mode: %b\r\n"
    b"content-type: application/vnd.awslambda.http-integration-response\r\ntransfer-encoding: chunked\r\n%b\r\n"
)
PRELUDE = b'{"statusCode":200,"headers":{},"cookies":[]}' + b"\0" * 8


class RawRuntime:
    """A runtime that sends the bytes of a test and reads one response at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send `data` and return the status, headers and body of the response."""
        self.writer.write(data)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        start, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        return int(start.split(" ")[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def error_of(self, data: bytes) -> tuple[int, str]:
        status, _, body = await self.send(data)
        return status, json.loads(body)["errorType"]


async def until(condition: Callable[[], object]) -> None:
    """Let the server run until the condition holds."""
    while not condition():  # noqa: ASYNC110 - nothing here could set an event
        await asyncio.sleep(0)


class Served:
    """A running RuntimeApi, to which tests deliver invocations."""

    def __init__(self, states: States) -> None:
        self.released: list[str | None] = []
        self.faults: list[ErrorReport] = []
        self.api = RuntimeApi(
            states, on_next=self.released.append, on_taken=lambda _: None, on_fault=self.faults.append
        )
        self.address = ""

    def deliver(self, request_id: str, event: bytes = b"{}", *, invocation_id: str = "") -> tuple[Delivery, Collected]:
        collected = Collected()
        invocation = Invocation(request_id=request_id, deadline_ms=1, event=event, invocation_id=invocation_id)
        delivery = Delivery(invocation, collected, Switches())
        self.api.deliver(delivery)
        return delivery, collected

    async def connect(self) -> RawRuntime:
        host, _, port = self.address.rpartition(":")
        return RawRuntime(*await asyncio.open_connection(host, int(port)))


@contextlib.asynccontextmanager
async def served(states: States | None = None) -> AsyncIterator[tuple[Served, RawRuntime]]:
    server = Served(states or ClassicStates())
    server.address = await server.api.start()
    runtime = await server.connect()
    try:
        yield server, runtime
    finally:
        runtime.writer.close()
        await server.api.stop()


def streamed_response(
    request_id: str = "r-1", *, mode: bytes = b"streaming", trailer: bytes = b"", body: bytes = b"hi"
) -> bytes:
    declared = (
        b"trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n" if trailer else b""
    )
    data = PRELUDE + body
    return STREAMING % (request_id.encode(), mode, declared) + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(data), data, trailer)


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
