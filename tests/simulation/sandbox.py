"""One sandbox: a process with the real runtime and app. Starts cold, freezes between invocations, may be killed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from lambda_src.dev.emulator.protocol import ErrorReport, Invocation, Prelude
from lambda_src.runtime.__main__ import serve
from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.environment import Environment
from lambda_src.runtime.worker import Worker
from tests.simulation.loop import SimulatedLoop
from tests.simulation.runtime_api import ServerEnd
from tests.simulation.sources import MACHINE, SECOND, Machine
from tests.simulation.trace import Trace

BuildHandler = Callable[[], StreamingMangum]


class Caller(Protocol):
    """Who gets the response to an invocation. `errors` are those that the runtime reports after the response began."""

    errors: list[str]

    def begin(self, prelude: Prelude) -> None: ...

    def data(self, data: bytes) -> None: ...

    def end(self, *, how: Literal["whole", "error", "cut"]) -> None: ...


@dataclass(eq=False)
class Delivery:
    """One invocation. `has_begun`: the prelude was sent."""

    invocation: Invocation
    caller: Caller
    has_begun: bool = False
    is_over: bool = False

    def end(self, how: Literal["whole", "error", "cut"]) -> None:
        """The response is over, once."""
        if not self.is_over:
            self.is_over = True
            self.caller.end(how=how)


class Sandbox:
    """`state` is "starting", "idle" (frozen in `next`), "busy" or "dead". `on_free` is called when it becomes idle."""

    def __init__(
        self,
        number: int,
        loop: SimulatedLoop,
        trace: Trace,
        build_handler: BuildHandler,
        *,
        skew_ns: int,
        cold_s: float,
        release: str,
        on_free: Callable[["Sandbox"], None],
    ) -> None:
        self.number, self.release = number, release
        self.machine = Machine(f"lambda{number}", skew_ns)
        self.state: Literal["starting", "idle", "busy", "dead"] = "starting"
        self.delivery: Delivery | None = None
        self._loop, self._trace, self._build_handler, self._on_free = loop, trace, build_handler, on_free
        self._cold_s = cold_s
        self._waiting: Delivery | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._connection: ServerEnd | None = None
        context = loop.world.copy()
        context.run(MACHINE.set, self.machine)
        trace.add("sandbox", number, "starts", f"skew={skew_ns / SECOND:.3f}", f"release={release}")
        self._process = loop.create_task(self._live(), context=context, name=f"sandbox {number}")
        self._process.add_done_callback(self._exited, context=loop.world)

    @property
    def address(self) -> str:
        """AWS_LAMBDA_RUNTIME_API."""
        return f"runtime-api:{self.number}"

    async def _live(self) -> int:
        """The process: what runtime/__main__.py does, with the handler of this simulation."""
        await asyncio.sleep(self._cold_s)
        handler = self._build_handler()
        await handler.startup()
        environment = Environment(
            api=self.address, handler="simulated", function_name="chat", function_version=self.release
        )
        return await serve(Worker(handler, environment), RuntimeClient(self.address), environment)

    def connect(self, make_protocol: Callable[[], asyncio.Protocol]) -> ServerEnd:
        """A connection of the process to its Runtime API."""
        self._connection = ServerEnd(self._loop, self, make_protocol)
        return self._connection

    def invoke(self, delivery: Delivery, timeout_s: float) -> None:
        """Hand it an invocation; it must be idle or starting."""
        assert self.state in ("starting", "idle"), self.state
        assert self._waiting is None
        was_idle, self._waiting = self.state == "idle", delivery
        self._deadline = self._loop.call_later(timeout_s, self.time_out, context=self._loop.world)
        if was_idle:
            self._loop.thaw(self.machine)
            self._deliver()
        else:
            self.state = "starting"

    @property
    def is_taken(self) -> bool:
        """Whether it has an invocation, or is about to."""
        return self._waiting is not None or self.delivery is not None

    def time_out(self) -> None:
        """Lambda's time-out."""
        self._trace.add("sandbox", self.number, "times out")
        self.kill()

    def kill(self) -> None:
        """End the process without warning."""
        if self.state == "dead":
            return
        self._trace.add("sandbox", self.number, "is killed")
        self._die()

    def _die(self) -> None:
        self.state, self.machine.state = "dead", "dead"
        self.machine.died_ns = self._trace.now_ns
        self.machine.wake_up()
        if self._deadline is not None:
            self._deadline.cancel()
        for delivery in (self.delivery, self._waiting):
            if delivery is not None:
                delivery.end("cut" if delivery.has_begun else "error")
        self.delivery = self._waiting = None
        self._on_free(self)

    def _deliver(self) -> None:
        assert self._waiting is not None
        assert self._connection is not None
        self.state, self.delivery, self._waiting = "busy", self._waiting, None
        self._connection.send_invocation(self.delivery.invocation)

    def _exited(self, process: asyncio.Task[int]) -> None:
        if self.state != "dead":
            error = None if process.cancelled() else process.exception()
            self._trace.add("sandbox", self.number, "exits", type(error).__name__ if error else "")
            self._die()

    # The process calls its Runtime API.

    def on_next(self) -> None:
        if self.state == "dead":
            return
        if self.delivery is not None:
            self.delivery.end("cut")
            self.delivery = None
            if self._deadline is not None:
                self._deadline.cancel()
        self.state = "idle"
        if self._waiting is not None:
            self._deliver()
            return
        self.machine.state = "frozen"
        self._on_free(self)

    def on_begin(self, prelude: Prelude) -> None:
        if self.delivery is not None:
            self.delivery.has_begun = True
            self.delivery.caller.begin(prelude)

    def on_data(self, data: bytes) -> None:
        if self.delivery is not None:
            self.delivery.caller.data(data)

    def on_end(self, report: ErrorReport | None) -> None:
        if self.delivery is not None:
            if report is not None:
                self._trace.add("sandbox", self.number, "reports", report.kind, report.name)
                self.delivery.caller.errors.append(report.name)
            self.delivery.end("whole")

    def on_failure(self, report: ErrorReport) -> None:
        self._trace.add("sandbox", self.number, "fails", report.kind, report.name)
        if self.delivery is not None:
            self.delivery.end("error")

    def on_closed(self) -> None:
        if self.delivery is not None and self.delivery.has_begun:
            self.delivery.end("cut")
