"""The answer to one invocation on its way out: streamed, buffered, or an error. Knows no ASGI and no handler."""

import asyncio
import enum
from collections.abc import Callable

from lambda_src.runtime import protocol
from lambda_src.runtime.connection import Connection
from lambda_src.runtime.errors import ReplyBrokenError, RuntimeApiError
from lambda_src.runtime.http1 import ApiResponse, chunk, head, last_chunk
from lambda_src.runtime.protocol import ErrorReport, Invocation

JSON = "application/json"


class Stage(enum.Enum):
    """How far the answer is."""

    NEW = enum.auto()  # nothing was sent: an error may still become a 502
    OPEN = enum.auto()  # the head is out: an error can only travel in the trailers
    DONE = enum.auto()  # the last byte is out


class Reply:
    """Either `start` and `write` until one says `last`, or `buffered`, or `fail` at any point; then `finish`.

    `on_broken` is called once, with the reason, when the Runtime API refuses the rest of an incomplete answer.
    Anything sent after the end is refused with ReplyBrokenError: an app that ignored its cancellation may still send
    when the connection already carries the next answer.
    """

    def __init__(self, connection: Connection, invocation: Invocation, *, host: str) -> None:
        self.stage = Stage.NEW
        self.on_broken: Callable[[BaseException], None] = lambda reason: None
        self.broken: BaseException | None = None
        self._connection = connection
        self._invocation = invocation
        self._host = host
        self._response: asyncio.Future[ApiResponse] | None = None

    async def start(self, prelude: bytes, body: bytes, *, last: bool) -> None:
        """Begin a streamed answer: head, `prelude` (with its delimiter) and the first body bytes in one write.

        Separate writes would cost a round trip each with Nagle's algorithm: 43 ms a request when measured.
        """
        headers = protocol.streaming_headers(self._invocation.invocation_id)
        await self._begin(headers, chunk(prelude + body) + (last_chunk() if last else b""), last=last)

    async def write(self, data: bytes, *, last: bool) -> None:
        """More of the body; waits while the Runtime API takes no more. OSError when it never will."""
        self._expect(Stage.OPEN)
        if self.broken is not None:
            raise ReplyBrokenError("the Runtime API takes no more of this answer") from self.broken
        framed = chunk(data) if data else b""
        if last:
            self.stage = Stage.DONE
            framed += last_chunk()
        if framed:
            await self._connection.write(framed)

    def write_if_idle(self, data: bytes) -> None:
        """`data` as more of the body, unless the answer is not open or the Runtime API is behind. Never waits."""
        if self.stage is Stage.OPEN and self.broken is None:
            self._connection.write_if_idle(chunk(data))

    async def buffered(self, body: bytes) -> None:
        """The whole answer at once, as JSON. Where it is too large for the service, `finish` meets a 413."""
        headers = [("Content-Type", JSON), *self._whole(body)]
        await self._begin(headers, body, last=True)

    async def fail(self, report: ErrorReport) -> None:
        """End with `report`: a POST to the error path, or trailers when the answer has begun."""
        match self.stage:
            case Stage.NEW:
                body = report.encode()
                headers = [*report.headers(), *self._whole(body)]
                await self._begin(headers, body, last=True, path=protocol.error_path(self._invocation.request_id))
            case Stage.OPEN:
                self.stage = Stage.DONE
                if self.broken is None:
                    await self._connection.write(last_chunk(report.trailers()))
            case Stage.DONE:
                raise AssertionError("the answer is complete")

    async def finish(self) -> None:
        """Wait until the Runtime API has the whole answer. RuntimeApiError when it refused, OSError when it broke."""
        assert self._response is not None
        response = await self._response
        if response.status != 202:
            raise RuntimeApiError("the answer", response.status, response.body)

    def abandon(self) -> None:
        """Close the connection and send nothing more: the client sees a cut answer."""
        self.stage = Stage.DONE
        self._connection.close()

    async def _begin(self, headers: list[tuple[str, str]], body: bytes, *, last: bool, path: str | None = None) -> None:
        self._expect(Stage.NEW)
        start = f"POST {path or protocol.response_path(self._invocation.request_id)} HTTP/1.1"
        self.stage = Stage.DONE if last else Stage.OPEN
        self._response = self._connection.request(head(start, [("Host", self._host), *headers]) + body)
        self._response.add_done_callback(self._responded)
        await self._connection.drain()

    def _expect(self, stage: Stage) -> None:
        """No assertion: `python -O` must not let one client's bytes into another's answer."""
        if self.stage is not stage:
            raise ReplyBrokenError(f"this answer is {self.stage.name}, not {stage.name}: it takes no such part")

    def _whole(self, body: bytes) -> list[tuple[str, str]]:
        return [("Content-Length", str(len(body))), *protocol.echo_headers(self._invocation.invocation_id)]

    def _responded(self, response: asyncio.Future[ApiResponse]) -> None:
        if response.cancelled():  # `finish` timed out
            return
        error = response.exception()  # retrieved even if nobody awaits it, or asyncio would log a warning
        if self.stage is Stage.OPEN and self.broken is None:
            self.broken = error or RuntimeApiError("the answer", response.result().status, response.result().body)
            self.on_broken(self.broken)
