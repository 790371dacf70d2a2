"""Lambda's end of a sandbox's Runtime API, over connections in memory. Speaks the protocol of the emulator."""

import asyncio
import json
from collections.abc import Callable
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, Protocol

import h11

from lambda_src.dev.emulator import protocol
from lambda_src.dev.emulator.protocol import ErrorReport, Invocation, Prelude
from tests.simulation.loop import SimulatedLoop


class Owner(Protocol):
    """The sandbox that a connection belongs to."""

    def on_next(self) -> None:
        """The runtime waits for an invocation."""
        ...

    def on_begin(self, prelude: Prelude) -> None:
        """The response begins."""
        ...

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        ...

    def on_end(self, report: ErrorReport | None) -> None:
        """The response is complete, or ended with an error."""
        ...

    def on_failure(self, report: ErrorReport) -> None:
        """The runtime reports an error instead of a response."""
        ...

    def on_closed(self) -> None:
        """The runtime has closed the connection."""
        ...


class _Socket:
    def setsockopt(self, *_: object) -> None:
        """Nothing to set."""


class RuntimeEnd(asyncio.Transport):
    """The runtime's end of a connection."""

    def __init__(self, loop: SimulatedLoop, protocol: asyncio.Protocol, server: "ServerEnd") -> None:
        super().__init__()
        self._loop, self._protocol, self._server = loop, protocol, server
        self._context = copy_context()
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Socket() if name == "socket" else default

    def is_closing(self) -> bool:
        return self._is_closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closed:
            self._loop.call_soon(self._server.received, bytes(data), context=self._loop.world)

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._loop.call_soon(self._server.owner.on_closed, context=self._loop.world)
            self._loop.call_soon(self._protocol.connection_lost, None, context=self._context)

    def deliver(self, data: bytes) -> None:
        """Bytes from the server."""
        if not self._is_closed:
            self._loop.call_soon(self._protocol.data_received, data, context=self._context)


class ServerEnd:
    """Lambda's end: parses requests, calls the owner, answers."""

    def __init__(self, loop: SimulatedLoop, owner: Owner, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self.owner = owner
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""
        self._has_begun = False
        runtime_protocol = make_protocol()
        self.transport = RuntimeEnd(loop, runtime_protocol, self)
        self.ends = (self.transport, runtime_protocol)
        runtime_protocol.connection_made(self.transport)

    def received(self, data: bytes) -> None:
        """Bytes from the runtime."""
        self._http.receive_data(data)
        while True:
            match self._http.next_event():
                case h11.Request() as request:
                    self._request, self._body, self._has_begun = request, b"", False
                case h11.Data(data=part):
                    self._data(bytes(part))
                case h11.EndOfMessage(headers=trailers):
                    self._end({name.decode(): value.decode() for name, value in trailers})
                case _:
                    return

    def send_invocation(self, invocation: Invocation) -> None:
        """Answer `next`."""
        self._respond(200, invocation.headers(empty=False), invocation.event)

    @property
    def _path(self) -> str:
        assert self._request is not None
        return self._request.target.decode()

    @property
    def _streams(self) -> bool:
        assert self._request is not None
        return self._path.endswith("/response") and (b"lambda-runtime-function-response-mode", b"streaming") in [
            (name.lower(), value) for name, value in self._request.headers
        ]

    def _data(self, data: bytes) -> None:
        if self._has_begun:
            self.owner.on_data(data)
            return
        self._body += data
        if self._streams and (split := protocol.split_prelude(self._body)) is not None:
            self._has_begun = True
            self.owner.on_begin(split[0])
            if split[1]:
                self.owner.on_data(split[1])

    def _end(self, trailers: dict[str, str]) -> None:
        assert self._request is not None
        headers = {name.decode().lower(): value.decode() for name, value in self._request.headers}
        if self._request.method == b"GET":
            self.owner.on_next()
            return
        self._respond(202, [("Content-Type", "application/json")], json.dumps({"status": "OK"}).encode())
        if self._path.endswith("/error"):
            self.owner.on_failure(ErrorReport.read(headers, self._body))
        elif self._streams:
            self.owner.on_end(ErrorReport.from_trailers(trailers))
        else:
            self.owner.on_begin(Prelude())
            self.owner.on_data(self._body)
            self.owner.on_end(None)

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        head = h11.Response(
            status_code=status, headers=[*headers, ("Content-Length", str(len(body)))], reason=HTTPStatus(status).phrase
        )
        parts = [self._http.send(part) for part in (head, h11.Data(data=body), h11.EndOfMessage())]
        self.transport.deliver(b"".join(part or b"" for part in parts))
        self._http.start_next_cycle()
