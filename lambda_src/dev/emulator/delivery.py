"""One invocation on its way through the emulator, and its response on the way back. Knows no HTTP on either side.

The Runtime API server calls `begin`, `stream`, `end`, `fail` or `cut`; the result goes to a Sink: the function URL's
HTTP response, or a list in memory.
"""

import asyncio
from typing import Protocol

from lambda_src.dev.emulator.protocol import ErrorReport, Invocation, Prelude, split_prelude
from lambda_src.dev.emulator.sandboxes.states import RefusedError
from lambda_src.dev.emulator.switches import Switches
from lambda_src.dev.emulator.url.bandwidth import Bandwidth


class Sink(Protocol):
    """Where a response goes. `start` once, `write` with each chunk as it comes, then `end` or `cut`; or only `fail`.

    `left` returns when the caller has gone.
    """

    async def start(self, prelude: Prelude) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self) -> None: ...
    async def cut(self) -> None: ...
    async def hang(self) -> None: ...
    async def fail(self, report: ErrorReport) -> None: ...
    async def left(self) -> None: ...


class Delivery:
    """`finished` is set when the caller's response is over, well or not; `error` says what went wrong.

    `interrupted` is set when the Runtime API refuses the rest of the function's response, with the `refusal` to send.
    """

    def __init__(self, invocation: Invocation, sink: Sink, switches: Switches) -> None:
        self.invocation = invocation
        self.finished = asyncio.Event()
        self.error: ErrorReport | None = None
        self.interrupted = asyncio.Event()
        self.refusal: RefusedError | None = None
        self._sink = sink
        self._switches = switches
        self._bandwidth = Bandwidth(switches.burst_bytes, switches.rate_bytes_per_s)
        self._prelude = b""  # as far as it has arrived
        self._started = False
        self._held = b""  # small chunks that wait for more
        self._empty = True

    async def begin(self, content_type: str | None) -> None:
        """Begin a response without a prelude: every byte is body."""
        if self.finished.is_set():
            return
        self._started = True
        await self._sink.start(Prelude(200, {"content-type": content_type or "application/octet-stream"}))

    async def stream(self, data: bytes) -> None:
        """Pass on more of the response: prelude, then body. ProtocolError if the prelude is invalid."""
        if self.finished.is_set():
            return
        if not self._started:
            self._prelude += data
            if (parts := split_prelude(self._prelude)) is None:
                return
            prelude, data = parts
            self._started = True
            await self._sink.start(prelude)
        if data:
            await self._pass_on(data)

    async def end(self, report: ErrorReport | None) -> None:
        """End a complete response; `report` is the error in its trailers, if any."""
        if not self._started:
            await self.fail(
                report or ErrorReport("Function.Unknown", "Unknown", "the response ended within its prelude")
            )
        elif report is not None and self._switches.cut_on_error_trailers:
            await self.cut(report)
        elif not self.finished.is_set():
            self.error = report
            await self._flush()
            if self._empty and self._switches.hang_on_empty_body:
                await self._sink.hang()
            else:
                await self._sink.end()
            self.finished.set()

    async def fail(self, report: ErrorReport) -> None:
        """Fail: there is no response, or its rest is missing."""
        if self._started:
            await self.cut(report)
        elif not self.finished.is_set():
            self.error = report
            await self._sink.fail(report)
            self.finished.set()

    async def cut(self, report: ErrorReport) -> None:
        """Cut the response in the middle."""
        if not self.finished.is_set():
            self.error = report
            await self._flush()
            await self._sink.cut()
            self.finished.set()

    async def _pass_on(self, data: bytes) -> None:
        self._empty = False
        self._held += data
        if len(data) >= self._switches.hold_small_chunks or len(self._held) > len(data):
            await self._flush()

    async def _flush(self) -> None:
        if data := self._held:
            self._held = b""
            wait_s = self._bandwidth.take(len(data), asyncio.get_running_loop().time())
            if wait_s:
                await asyncio.sleep(wait_s)
            await self._sink.write(data)


class Collected:
    """A Sink in memory, for `Emulator.invoke`."""

    def __init__(self) -> None:
        self.prelude: Prelude | None = None
        self.chunks: list[bytes] = []
        self.report: ErrorReport | None = None
        self.complete = False

    async def start(self, prelude: Prelude) -> None:
        self.prelude = prelude

    async def write(self, data: bytes) -> None:
        self.chunks.append(data)

    async def end(self) -> None:
        self.complete = True

    async def cut(self) -> None: ...

    async def hang(self) -> None: ...

    async def fail(self, report: ErrorReport) -> None:
        self.report = report

    async def left(self) -> None:
        await asyncio.Event().wait()  # a caller in this process never leaves
