"""One keep-alive HTTP/1.1 connection to the Runtime API: bytes out, one response in at a time. Knows no Lambda.

A protocol of our own instead of asyncio's streams, for two reasons. A response may come while we still write (a 413, a
410): here that is a future which the writer can watch, with no task per invocation to read it. And a response that
arrives together with a reset is not lost.
"""

import asyncio
import socket
from typing import Self

from lambda_src.runtime.http1 import ApiResponse, HttpError, ResponseParser

GATHERED_MAX_BYTES = 64 * 1024  # asyncio's own high-water mark: more than that is sent, so that the writer can wait


class Connection(asyncio.Protocol):
    """`request` sends and returns the future of the response; `write` sends more of the same request.

    What is written in one turn of the event loop leaves in one write at its end: a model's events come in bursts, and
    each write is a system call and a packet.
    """

    def __init__(self) -> None:
        self._gathered = bytearray()
        self._flush_soon: asyncio.Handle | None = None
        self._parser = ResponseParser()
        self._response: asyncio.Future[ApiResponse] | None = None
        self._writable: asyncio.Future[None] | None = None  # present while the transport's buffer is full
        self._lost: Exception | None = None
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, address: str) -> Self:
        """A connection to `host:port`. OSError when nobody listens."""
        host, _, port = address.rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(cls, host.strip("[]"), int(port))
        return connection

    @property
    def usable(self) -> bool:
        return self._lost is None and not self._transport.is_closing()

    def request(self, data: bytes) -> asyncio.Future[ApiResponse]:
        """Send the first bytes of a request, in one write; the future also fails when the connection does."""
        self._response = response = asyncio.get_running_loop().create_future()
        if self._lost is not None:
            response.set_exception(self._lost)
        else:
            self._flush()
            self._transport.write(data)
        return response

    async def write(self, data: bytes) -> None:
        """Send more of the request, and wait while the other end does not read. ConnectionError if it is gone."""
        if self._lost is not None:
            raise self._lost
        self._gathered += data
        if len(self._gathered) > GATHERED_MAX_BYTES:
            self._flush()
        elif self._flush_soon is None:
            self._flush_soon = asyncio.get_running_loop().call_soon(self._flush)
        await self.drain()

    async def drain(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def write_if_idle(self, data: bytes) -> None:
        """Send more of the request, or nothing if the other end does not read or is gone."""
        if self._lost is None and self._writable is None:
            self._flush()
            self._transport.write(data)

    def close(self) -> None:
        """Drop the connection, with whatever was not sent yet."""
        self._transport.abort()

    def _flush(self) -> None:
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
        if self._gathered and self._lost is None:
            self._transport.write(bytes(self._gathered))
        self._gathered.clear()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")  # with Nagle's algorithm a small write waits for the last ACK: 40 ms
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        try:
            responses = self._parser.feed(data)
        except HttpError as fault:
            self._fail(ConnectionAbortedError(str(fault)))
            self._transport.abort()
        else:
            self._deliver(responses)

    def eof_received(self) -> None:
        self._deliver(self._parser.close())

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the Runtime API closed the connection"))

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _deliver(self, responses: list[ApiResponse]) -> None:
        for response in responses:
            if self._response is not None and not self._response.done():
                self._response.set_result(response)
                if response.is_last:
                    self._transport.abort()  # not close(): nobody reads the rest of a refused body

    def _fail(self, error: Exception) -> None:
        self._lost = self._lost or error
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
        self.resume_writing()
