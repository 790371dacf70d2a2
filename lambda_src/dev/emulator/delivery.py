"""One invocation on its way through the emulator, and its answer on the way back. Knows no HTTP on either side.

The Runtime API server calls `stream`, `end`, `buffered`, `fail` or `cut`; what comes of it goes to a Sink: the function
URL's HTTP answer, or a list in memory.
"""

import asyncio
import json
from base64 import b64decode
from typing import Protocol

from lambda_src.dev.emulator.bandwidth import Bandwidth
from lambda_src.dev.emulator.switches import Switches
from lambda_src.runtime.protocol import ErrorReport, Invocation, Prelude, ProtocolError, split_prelude


class Sink(Protocol):
    """Where an answer goes. `start` once, `write` with each chunk as it comes, then `end` or `cut`; or only `fail`."""

    async def start(self, prelude: Prelude) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self) -> None: ...
    async def cut(self) -> None: ...
    async def hang(self) -> None: ...
    async def fail(self, report: ErrorReport) -> None: ...


class Delivery:
    """`finished` is set when the caller's answer is complete, whatever became of it; `error` says what went wrong."""

    def __init__(self, invocation: Invocation, sink: Sink, switches: Switches) -> None:
        self.invocation = invocation
        self.finished = asyncio.Event()
        self.error: ErrorReport | None = None
        self._sink = sink
        self._switches = switches
        self._bandwidth = Bandwidth(switches.burst_bytes, switches.rate_bytes_per_s)
        self._prelude = b""  # what has arrived of it
        self._started = False
        self._held = b""  # small chunks that wait for more
        self._empty = True

    async def begin(self, content_type: str | None) -> None:
        """A streamed answer begins that has no prelude: every byte of it is body."""
        if self.finished.is_set():
            return
        self._started = True
        await self._sink.start(Prelude(200, {"content-type": content_type or "application/octet-stream"}))

    async def stream(self, data: bytes) -> None:
        """More of a streamed answer: the rest of the prelude, then the body. ProtocolError when it is none."""
        if self.finished.is_set():
            return
        if not self._started:
            self._prelude += data
            if (found := split_prelude(self._prelude)) is None:
                return
            prelude, data = found
            self._started = True
            await self._sink.start(prelude)
        if data:
            await self._pass_on(data)

    async def end(self, report: ErrorReport | None) -> None:
        """The streamed answer is complete; `report` when its trailers tell of an error."""
        if not self._started:
            await self.fail(report or ErrorReport("Function.Unknown", "Unknown", "the answer ended in its prelude"))
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

    async def buffered(self, body: bytes) -> None:
        """The whole answer at once, as payload 2.0 has it: an object with statusCode, or any JSON as a 200."""
        if self.finished.is_set():
            return
        self._started, self._empty = True, False
        prelude, content = unpack(body)
        await self._sink.start(prelude)
        await self._sink.write(content)
        await self._sink.end()
        self.finished.set()

    async def fail(self, report: ErrorReport) -> None:
        """There is no answer, or no more of it."""
        if self._started:
            await self.cut(report)
        elif not self.finished.is_set():
            self.error = report
            await self._sink.fail(report)
            self.finished.set()

    async def cut(self, report: ErrorReport) -> None:
        """The answer ends in the middle."""
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


def unpack(body: bytes) -> tuple[Prelude, bytes]:
    """A buffered answer as payload 2.0 reads it: with statusCode it is a response, without one its JSON is the body."""
    try:
        fields = json.loads(body)
    except ValueError as fault:
        raise ProtocolError(f"a buffered answer that is not JSON: {fault}") from fault
    if not isinstance(fields, dict) or "statusCode" not in fields:
        return Prelude(200, {"content-type": "application/json"}), body
    headers = {"content-type": "application/json"} | {
        k.lower(): str(v) for k, v in (fields.get("headers") or {}).items()
    }
    headers |= {k.lower(): ", ".join(v) for k, v in (fields.get("multiValueHeaders") or {}).items()}
    text = fields.get("body") or ""
    content = b64decode(text) if fields.get("isBase64Encoded") else text.encode()
    return Prelude(int(fields["statusCode"]), headers, list(fields.get("cookies") or [])), content
