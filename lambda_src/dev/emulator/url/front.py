"""The HTTP side of a function URL: one HTTP/1.1 connection after another, with h11. Knows no invocation.

Each request becomes one call of `handle(request, sink)`; each chunk of the response is sent before the next one is
read. When the client leaves, the function is not notified, as on Lambda; see `cancel_when_caller_leaves`.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import h11

from lambda_src.dev.emulator.exchange import READ_BYTES, Server, linger, until_closed
from lambda_src.dev.emulator.protocol import EVENT_MAX_BYTES, ErrorReport, Prelude
from lambda_src.dev.emulator.switches import Cors
from lambda_src.dev.emulator.url.cors import preflight, with_cors
from lambda_src.dev.emulator.url.events import Request

BODILESS = (204, 304)  # RFC 9110: no body, whatever the function sends

Admit = Callable[[Request], str | None]
Handle = Callable[[Request, "HttpSink"], Awaitable[None]]


class Front(Server):
    """`start` listens; `stop` cuts every connection. `admit` says why a request is refused, before anything else."""

    def __init__(self, handle: Handle, *, cors: Cors | None = None, admit: Admit | None = None) -> None:
        super().__init__()
        self._handle = handle
        self._admit = admit
        self._cors = cors

    async def start(self, host: str, port: int, *, listener: socket.socket | None = None) -> str:
        """Listen on `listener`, or on `port` (0: a free one). Returns the URL without a trailing slash."""
        where = {"host": host, "port": port} if listener is None else {"sock": listener}
        return f"http://{await self._listen(**where)}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_BYTES)
        while await self._exchange(connection, reader, writer):
            connection.start_next_cycle()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Handle one request; returns whether another may follow on this connection."""
        request = await _read(connection, reader, writer)
        if request is None:
            return False
        refused = None if self._admit is None else self._admit(request)
        answer = preflight(self._cors, request) if self._cors is not None else None
        sink = HttpSink(connection, reader, writer, request, self._cors if answer is None else None)
        if refused is not None:
            await sink.refuse(403, {"Message": refused})
        elif len(request.body) > EVENT_MAX_BYTES:
            await sink.refuse(413, {"Message": "Request Entity Too Large"})
        elif answer is not None:
            await sink.start(answer)
            await sink.end()
        else:
            await self._handle(request, sink)
        if sink.hanging:
            await reader.read()  # until the client gives up
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            return True
        await linger(reader, writer)
        return False


class HttpSink:
    """A delivery.Sink that writes HTTP. Once the client has left, it ignores everything."""

    def __init__(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
        cors: Cors | None,
    ) -> None:
        self.hanging = False
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._request = request
        self._cors = cors
        self._bodiless = request.method == "HEAD"

    async def start(self, prelude: Prelude) -> None:
        prelude = with_cors(self._cors, self._request, prelude)
        headers = {"content-type": "application/octet-stream"} | prelude.headers
        if (length := headers.pop("content-length", None)) is not None:
            headers["x-amzn-remapped-content-length"] = length
        self._bodiless = self._bodiless or prelude.status in BODILESS
        pairs = [*headers.items(), *(("set-cookie", cookie) for cookie in prelude.cookies)]
        try:
            response = h11.Response(status_code=prelude.status, headers=pairs, reason=_reason(prelude.status))
        except h11.LocalProtocolError:  # no status, or a header value, that HTTP can carry
            await self.fail(ErrorReport("Runtime.InvalidResponse", "InvalidResponse", "no HTTP"))
            self._bodiless = True
            return
        await self._send(response)

    async def write(self, data: bytes) -> None:
        if not self._bodiless:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def cut(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self._writer.close()

    async def hang(self) -> None:
        self.hanging = True

    async def fail(self, report: ErrorReport) -> None:
        """The response of a function URL to any error before the response; it reveals nothing of the report."""
        await self.refuse(502, {"Message": "Internal Server Error"})

    async def left(self) -> None:
        """Return when the client has closed the connection."""
        await until_closed(self._reader, self._connection)

    async def refuse(self, status: int, fields: dict[str, str]) -> None:
        """Send a response of the URL itself."""
        body = json.dumps(fields).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        if self._connection.their_state is not h11.DONE:
            headers.append(("connection", "close"))  # the rest of the request is not read
        await self._send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
        await self._send(h11.Data(data=b"" if self._request.method == "HEAD" else body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        if self._connection.our_state in (h11.DONE, h11.CLOSED, h11.ERROR, h11.MUST_CLOSE):
            return
        data = self._connection.send(event)
        if self._writer.is_closing():
            return  # the client left: the function is not notified
        with contextlib.suppress(OSError):  # it leaves now
            if data:
                self._writer.write(data)
            await self._writer.drain()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a status that is only the function's
        return ""


async def _read(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next request, its body cut one byte over what Lambda takes; None at the end of the connection."""
    head: h11.Request | None = None
    body = bytearray()
    while len(body) <= EVENT_MAX_BYTES:
        match connection.next_event():
            case h11.Request() as head:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[], reason=_reason(100))
                    writer.write(connection.send(go_on) or b"")
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                break
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(READ_BYTES))
            case _:  # ConnectionClosed, or PAUSED after one
                return None
    assert head is not None
    host, *_ = writer.get_extra_info("peername") or ("127.0.0.1",)
    return Request(
        head.method.decode(),
        head.target.decode("latin-1"),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers],
        bytes(body),
        host,
    )
