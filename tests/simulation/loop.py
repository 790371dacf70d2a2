"""A deterministic asyncio event loop: virtual time, no selector, no sockets, no threads.

Callbacks run in the order in which they were scheduled. Each belongs to the machine in whose context it was scheduled:
those of a frozen machine wait until it thaws, those of a dead one never run. So a process can be frozen or killed at
any await.
"""

import asyncio
import heapq
import math
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from typing import Any, Protocol

from tests.simulation.sources import MACHINE, SECOND, Machine, Sources


class Remote(Protocol):
    """A method of a client whose service is simulated: it takes virtual time instead of a thread's."""

    def begin(self, machine: Machine | None, params: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """The request."""
        ...


class Connections(Protocol):
    """The other end of every connection that is opened."""

    def connect(self, address: str, make_protocol: Callable[[], asyncio.BaseProtocol]) -> Any:
        """A transport and its protocol. OSError if nobody listens."""
        ...


class SimulatedTask(asyncio.Task[Any]):
    """A task with a hash that does not depend on its address, so that sets of tasks have one order."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **more: Any) -> None:
        self._number = number
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Run it with `run_until`. `connections` serves create_connection. `problems` are errors that nobody handled."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._kept: list[object] = []  # tasks and callbacks: destroying one would run a dead process's clean-up
        self.world = Context()  # belongs to no machine
        self.connections: Connections | None = None
        self.on_kill: Callable[[Machine], None] = lambda machine: None
        self.problems: list[str] = []
        self.signals: dict[Machine, tuple[Callable[[], object], Context]] = {}
        self.callbacks = 0
        self._is_stopped = False

    # Running

    def run_until(self, is_done: Callable[[], bool], *, until_ns: int) -> bool:
        """Run callbacks until `is_done`, or until nothing is left to do before `until_ns`; whether it is done.

        `is_done` is asked whenever nothing is left to do at a moment.
        """
        asyncio._set_running_loop(self)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._close_generator)
        try:
            while not self._is_stopped:
                if self._ready:
                    self._run(self._ready.popleft())
                elif is_done():
                    break
                elif self._timers and self._timers[0][0] <= until_ns:
                    due_ns, _, timer = heapq.heappop(self._timers)
                    self._sources.now_ns = max(self._sources.now_ns, due_ns)
                    self._run(timer)
                else:
                    self._sources.now_ns = max(self._sources.now_ns, until_ns)
                    break
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(None)
        return is_done()

    def _close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """As asyncio does for a generator that nobody holds any more."""
        self.call_soon(self.create_task, generator.aclose())

    def stop(self) -> None:
        """Stop before the next callback."""
        self._is_stopped = True

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        machine: Machine | None = handle._context.get(MACHINE)  # type: ignore[attr-defined]  # 3.11 has no get_context
        if machine is not None:
            if machine.state == "running" and machine.steps_left is not None:
                machine.steps_left -= 1
                if machine.steps_left < 0:
                    self.on_kill(machine)
            if machine.state == "frozen":
                machine.held.append(handle)
                return
            if machine.state == "dead":
                self._kept.append(handle)
                return
        self.callbacks += 1
        handle._run()  # private, but every event loop calls it

    def thaw(self, machine: Machine) -> None:
        """Let a frozen machine continue with what was due meanwhile."""
        if machine.state == "frozen":
            machine.state = "running"
            self._ready.extend(machine.held)
            machine.held.clear()
            machine.wake_up()

    def keep(self, thing: object) -> None:
        """Keep an object until the end of the process."""
        self._kept.append(thing)

    # What asyncio calls

    def time(self) -> float:
        return self._sources.monotonic_ns() / SECOND

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # plainer
        handle = asyncio.Handle(callback, args, self, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # plainer
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # plainer
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]  # plainer
        timer = asyncio.TimerHandle(when, callback, args, self, copy_context() if context is None else context)
        due_ns = self._sources.now_ns - self._sources.monotonic_ns() + math.ceil(when * SECOND)
        heapq.heappush(self._timers, (due_ns, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio's hook. A cancelled timer is skipped when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **more: Any
    ) -> asyncio.Task[Any]:
        number = next(self._numbers)
        task = SimulatedTask(coro, number=number, loop=self, name=name or f"task {number}", context=context, **more)
        self._kept.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # plainer
        """Run a blocking function without a thread: a request to a simulated service as a task of its own, which goes
        on when its caller is cancelled, as a thread would; anything else at once.
        """
        future = self.create_future()
        machine = MACHINE.get()
        remote = getattr(func.func, "remote", None) if isinstance(func, partial) else None
        if remote is not None:
            request = remote.begin(machine, dict(func.keywords))
            task = self.create_task(request, context=self.world.copy(), name="request")
            task.add_done_callback(partial(_pass_on, future), context=copy_context())
        else:
            self.call_soon(_call, future, partial(func, *args))
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        assert self.connections is not None
        return self.connections.connect(f"{host}:{port}", protocol_factory)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]  # plainer
        """What SIGTERM will call, of the machine that runs."""
        if (machine := MACHINE.get()) is not None:
            self.signals[machine] = partial(callback, *args), copy_context()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.problems.append(f"{context.get('message')}: {type(error).__name__}: {error}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


def new_loop(sources: Sources) -> SimulatedLoop:
    """A loop. asyncio's base class has many methods that nothing calls here."""
    return SimulatedLoop(sources)  # type: ignore[abstract]  # as it says


def _pass_on(future: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
    if future.done() or task.cancelled():
        return
    if (error := task.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _call(future: asyncio.Future[Any], call: Callable[[], object]) -> None:
    if future.done():
        return
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - an executor passes every exception to the caller
        future.set_exception(error)
