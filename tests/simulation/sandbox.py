"""One sandbox: a process with the real runtime and app. Starts cold, freezes between invocations, may be killed."""

import asyncio
from collections import deque
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
KILLED_AFTER_S = 0.15  # after SIGTERM


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
    deadline: asyncio.TimerHandle | None = None

    def end(self, how: Literal["whole", "error", "cut"]) -> None:
        """The response is over, once."""
        if not self.is_over:
            self.is_over = True
            self.caller.end(how=how)

    def end_early(self) -> None:
        """The process is gone, or takes the next invocation: the response ends where it is."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.end("cut" if self.has_begun else "error")


class Sandbox:
    """`state` is "starting", "idle" (in `next`), "busy" or "dead". `on_free` is called when it can take an invocation.

    An idle process is frozen, unless it takes several invocations `at_once` (Managed Instances). It has started
    `snapshot_age_s` ago (SnapStart).
    """

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
        at_once: int,
        snapshot_age_s: int,
        on_free: Callable[["Sandbox"], None],
    ) -> None:
        self.number, self.release, self.at_once = number, release, at_once
        self.machine = Machine(f"lambda{number}", skew_ns)
        self.state: Literal["starting", "idle", "busy", "dead"] = "starting"
        self.is_ending = False  # it got SIGTERM
        self._loop, self._trace, self._build_handler, self._on_free = loop, trace, build_handler, on_free
        self._cold_s, self._snapshot_age_ns = cold_s, snapshot_age_s * SECOND
        self._waiting: deque[Delivery] = deque()
        self._slots: list[Slot] = []
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
        self.machine.skew_ns -= self._snapshot_age_ns
        handler = self._build_handler()
        await handler.startup()
        self.machine.skew_ns += self._snapshot_age_ns
        environment = Environment(
            api=self.address,
            handler="simulated",
            function_name="chat",
            function_version=self.release,
            concurrency=self.at_once,
        )
        return await serve(Worker(handler, environment), RuntimeClient(self.address), environment)

    def connect(self, make_protocol: Callable[[], asyncio.Protocol]) -> ServerEnd:
        """A connection of the process to its Runtime API."""
        self._slots.append(slot := Slot(self))
        slot.connection = ServerEnd(self._loop, slot, make_protocol)
        return slot.connection

    def invoke(self, delivery: Delivery, timeout_s: float) -> None:
        """Hand it an invocation; it must have room."""
        assert self.has_room, self.state
        self._waiting.append(delivery)
        delivery.deadline = self._loop.call_later(timeout_s, self._time_out, delivery, context=self._loop.world)
        if self.state != "starting":
            self._loop.thaw(self.machine)
            self._deliver()

    @property
    def has_room(self) -> bool:
        """Whether it can take another invocation."""
        return self.state != "dead" and not self.is_ending and len(self._deliveries) < self.at_once

    @property
    def is_taken(self) -> bool:
        """Whether it has an invocation, or is about to."""
        return bool(self._deliveries)

    @property
    def _deliveries(self) -> list[Delivery]:
        return [*(slot.delivery for slot in self._slots if slot.delivery is not None), *self._waiting]

    def _time_out(self, delivery: Delivery) -> None:
        """Lambda's time-out: it kills the process, or ends only the response if others run beside it."""
        self._trace.add("sandbox", self.number, "times out")
        if self.at_once == 1:
            self.kill()
        else:
            delivery.end_early()

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL 150 ms later, as for a function with an extension."""
        if self.state == "dead" or self.is_ending or self.machine not in self._loop.signals:
            return
        self._trace.add("sandbox", self.number, "gets SIGTERM")
        self.is_ending = True
        self._loop.thaw(self.machine)
        callback, context = self._loop.signals[self.machine]
        self._loop.call_soon(callback, context=context)
        self._loop.call_later(KILLED_AFTER_S, self.kill, context=self._loop.world)

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
        for delivery in self._deliveries:
            delivery.end_early()
        self._slots.clear()
        self._waiting.clear()
        self._on_free(self)

    def _deliver(self) -> None:
        """Hand what waits to the connections that are in `next`."""
        for slot in self._slots:
            if slot.is_free and self._waiting:
                self.state = "busy"
                slot.take(self._waiting.popleft())

    def _exited(self, process: asyncio.Task[int]) -> None:
        if self.state != "dead":
            error = None if process.cancelled() else process.exception()
            self._trace.add("sandbox", self.number, "exits", type(error).__name__ if error else "")
            self._die()

    def freed(self) -> None:
        """One of its connections is in `next`."""
        if self.state == "dead":
            return
        if all(slot.delivery is None for slot in self._slots):
            self.state = "idle"
        if self._waiting:
            self._deliver()
            return
        if self.at_once == 1:
            self.machine.state = "frozen"
        self._on_free(self)

    def report(self, what: str, report: ErrorReport) -> None:
        """Record what the process tells its Runtime API about an error."""
        self._trace.add("sandbox", self.number, what, report.kind, report.name)


class Slot:
    """A connection of a process to its Runtime API: one invocation at a time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.connection: ServerEnd | None = None
        self.delivery: Delivery | None = None
        self.is_free = False  # in `next`

    def take(self, delivery: Delivery) -> None:
        """Answer `next`."""
        assert self.connection is not None
        self.delivery, self.is_free = delivery, False
        self.connection.send_invocation(delivery.invocation)

    # The process calls its Runtime API.

    def on_next(self) -> None:
        if self.delivery is not None:
            if self.delivery.deadline is not None:
                self.delivery.deadline.cancel()
            self.delivery.end("cut")
        self.delivery, self.is_free = None, True
        self._sandbox.freed()

    def on_begin(self, prelude: Prelude) -> None:
        if self.delivery is not None and not self.delivery.is_over:
            self.delivery.has_begun = True
            self.delivery.caller.begin(prelude)

    def on_data(self, data: bytes) -> None:
        if self.delivery is not None and not self.delivery.is_over:
            self.delivery.caller.data(data)

    def on_end(self, report: ErrorReport | None) -> None:
        if self.delivery is not None:
            if report is not None:
                self._sandbox.report("reports", report)
                self.delivery.caller.errors.append(report.name)
            self.delivery.end("whole")

    def on_failure(self, report: ErrorReport) -> None:
        self._sandbox.report("fails", report)
        if self.delivery is not None:
            self.delivery.end("error")

    def on_closed(self) -> None:
        if self.delivery is not None and self.delivery.has_begun:
            self.delivery.end("cut")
