"""The function URL: HTTP requests become invocations, within the function's concurrency. Clients are a network away."""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from lambda_src.dev.emulator.protocol import Invocation, Prelude
from lambda_src.dev.emulator.url.events import Request, event_2_0
from tests.simulation.loop import SimulatedLoop
from tests.simulation.sandbox import Delivery, Sandbox
from tests.simulation.sources import SECOND
from tests.simulation.trace import Trace

NewSandbox = Callable[[Callable[[Sandbox], None]], Sandbox]
LONG_S = 3600.0


class Response:
    """A response as its client sees it: `head`, then `read` until None. ConnectionResetError if it breaks."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, latency_s: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.errors: list[str] = []
        self.machine = ""  # that answers
        self._loop, self._rng, self._latency_s = loop, rng, latency_s
        self._arrived: deque[bytes | Literal["end", "reset"]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last_s = 0.0
        self._has_head = False
        self.is_left = False

    # Called by Lambda's side

    def begin(self, prelude: Prelude) -> None:
        self._later(self._begin, prelude)

    def data(self, data: bytes) -> None:
        self._later(self._put, data)

    def end(self, *, how: Literal["whole", "error", "cut"]) -> None:
        if how == "error":
            self._later(self._begin, Prelude(502, {"content-type": "application/json"}))
            self._later(self._put, b'{"Message":"Internal Server Error"}')
        self._later(self._put, "reset" if how == "cut" else "end")

    def break_off(self) -> None:
        """The network drops the connection."""
        self._put("reset")

    # Called by the client

    async def head(self) -> None:
        """Wait for status and headers."""
        while not self._has_head:
            await self._more()

    async def read(self) -> bytes | None:
        """More of the body."""
        while not self._arrived:
            await self._more()
        match self._arrived[0]:
            case "end":
                return None
            case "reset":
                raise ConnectionResetError("the connection broke off")
            case data:
                self._arrived.popleft()
                return data

    async def body(self) -> bytes:
        """The whole body."""
        parts: list[bytes] = []
        while (part := await self.read()) is not None:
            parts.append(part)
        return b"".join(parts)

    def leave(self) -> None:
        """The client closes the connection. Lambda never learns it."""
        self.is_left = True
        self._put("reset")

    async def _more(self) -> None:
        if self._arrived and self._arrived[0] == "reset":
            raise ConnectionResetError("the connection broke off")
        self._waiter = self._loop.create_future()
        await self._waiter

    def _later(self, call: Callable[..., None], *args: object) -> None:
        """What is sent arrives in order, a latency later."""
        arrives_s = max(self._last_s, self._loop.time() + self._latency_s * self._rng.uniform(0.5, 1.5))
        self._last_s = arrives_s
        self._loop.call_at(arrives_s, call, *args, context=self._loop.world)

    def _begin(self, prelude: Prelude) -> None:
        if not self._has_head:
            self.status, self.headers, self._has_head = prelude.status, prelude.headers, True
            self._wake()

    def _put(self, part: bytes | Literal["end", "reset"]) -> None:
        if self._arrived and self._arrived[-1] in ("end", "reset"):
            return
        if part == "reset":
            self._arrived.clear() if self.is_left else None
        self._arrived.append(part)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Function:
    """The function: its sandboxes, at most `concurrency` at a time, and its URL."""

    def __init__(
        self,
        loop: SimulatedLoop,
        trace: Trace,
        new_sandbox: NewSandbox,
        rng: random.Random,
        *,
        concurrency: int,
        timeout_s: float,
    ) -> None:
        self.sandboxes: list[Sandbox] = []
        self.timeout_s = timeout_s
        self._loop, self._trace, self._new_sandbox, self._rng = loop, trace, new_sandbox, rng
        self._concurrency = concurrency
        self._idle: list[Sandbox] = []
        self._number = 0
        self.generation = 0

    @property
    def living(self) -> list[Sandbox]:
        """The sandboxes that exist."""
        return [sandbox for sandbox in self.sandboxes if sandbox.state != "dead"]

    async def request(self, request: Request, latency_s: float) -> Response:
        """Send an HTTP request; the response arrives later."""
        response = Response(self._loop, self._rng, latency_s)
        self._loop.call_later(
            latency_s * self._rng.uniform(0.5, 1.5), self._arrive, request, response, context=self._loop.world
        )
        return response

    async def event(self, event: dict[str, object]) -> bytes:
        """Invoke the function with an event that is no request, as EventBridge does; its result."""
        response = Response(self._loop, self._rng, 0.001)
        self._invoke(lambda request_id: json.dumps(event).encode(), response)
        await response.head()
        return await response.body()

    def deploy(self) -> None:
        """A new release: idle sandboxes go, busy ones finish their invocation."""
        self.generation += 1
        for sandbox in list(self._idle):
            sandbox.kill()
        self._trace.add("deploys", self.generation)

    def _arrive(self, request: Request, response: Response) -> None:
        def event(request_id: str) -> bytes:
            now = datetime.now(UTC)
            return json.dumps(event_2_0(request, request_id=request_id, now=now)).encode()

        self._invoke(event, response)

    def _invoke(self, event: Callable[[str], bytes], response: Response) -> None:
        if (sandbox := self._free_sandbox()) is None:
            self._trace.add("throttled")
            response.begin(Prelude(429, {"content-type": "application/json"}))
            response.data(b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}')
            response.end(how="whole")
            return
        self._number += 1
        request_id = f"request-{self._number:06d}"
        deadline_ms = (self._trace.now_ns + round(self.timeout_s * SECOND)) // 1_000_000
        invocation = Invocation(request_id=request_id, deadline_ms=deadline_ms, event=event(request_id))
        self._trace.add("invokes", request_id, "on", sandbox.number)
        response.machine = sandbox.machine.name
        sandbox.invoke(Delivery(invocation, response), self.timeout_s)

    def _free_sandbox(self) -> Sandbox | None:
        if self._idle:
            return self._idle.pop()
        for sandbox in self.living:
            if sandbox.at_once > 1 and sandbox.has_room and self._is_current(sandbox):
                return sandbox
        if len(self.living) >= self._concurrency:
            return None
        self.sandboxes.append(sandbox := self._new_sandbox(self._freed))
        return sandbox

    def _freed(self, sandbox: Sandbox) -> None:
        if sandbox in self._idle:
            self._idle.remove(sandbox)
        if sandbox.state == "idle" and not sandbox.is_ending:
            if self._is_current(sandbox):
                self._idle.append(sandbox)
            else:
                sandbox.kill()

    def _is_current(self, sandbox: Sandbox) -> bool:
        """Whether it runs the newest release."""
        return sandbox.release == f"r{self.generation}"
