"""One sandbox: a runtime process in a process group of its own, and the Runtime API server it talks to.

Decides when the process is free and when it must end, and fails its invocations when it ends. Knows no HTTP client.
"""

import asyncio
import codecs
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lambda_src.dev.emulator.delivery import Delivery
from lambda_src.dev.emulator.protocol import LONG_INIT_S, ErrorReport
from lambda_src.dev.emulator.sandboxes.reaper import Reaper
from lambda_src.dev.emulator.sandboxes.runtime_api import RuntimeApi
from lambda_src.dev.emulator.sandboxes.snapshot import break_connections
from lambda_src.dev.emulator.sandboxes.states import ClassicStates, ManagedStates
from lambda_src.dev.emulator.switches import Switches

READ_BYTES = 64 * 1024


class Output(Protocol):
    """Receives what the processes print: any text stream will do."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class Sandbox:
    """`start` once; `reserve` a slot while `free`, and `run` an invocation in it; `retire` or `shut_down` ends it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        switches: Switches,
        output: Output,
        reaper: Reaper,
        on_free: Callable[[], None],
    ) -> None:
        self._command, self._env, self._cwd = command, dict(env), cwd
        self._switches = switches
        self._output = output
        self._reaper = reaper
        self._on_free = on_free
        states = (
            ManagedStates() if switches.managed else ClassicStates(refuse_after_break=switches.next_403_after_break)
        )
        self._api = RuntimeApi(states, on_next=self._next, on_taken=self._took, on_fault=self._faulted)
        self._running: dict[str, Delivery] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._init: asyncio.TimerHandle | None = None  # present until the process has called `next`
        self._starts_again = False  # the first init took too long
        self._slots = switches.managed or 1
        self._taken = 0
        self._retired = False
        self._ending = False
        self._frozen = False
        self._fault: ErrorReport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._dead = asyncio.Event()

    @property
    def alive(self) -> bool:
        return not self._dead.is_set()

    @property
    def free(self) -> bool:
        """Whether one more invocation may run here now."""
        return self.alive and not self._retired and self._taken < self._slots

    @property
    def about_to_be_free(self) -> bool:
        """Whether a response is complete and only the following `next` is missing."""
        return self.alive and not self._retired and self._taken > len(self._running)

    @property
    def pid(self) -> int | None:
        """The runtime process; None before it has started."""
        return None if self._process is None else self._process.pid

    def reserve(self) -> None:
        """Take a slot for the `run` that follows."""
        self._taken += 1

    async def start(self) -> None:
        """Start the process; it loads the function while the first invocation already waits for it."""
        self._env["AWS_LAMBDA_RUNTIME_API"] = await self._api.start()
        limit_s = self._switches.init_timeout_s
        if self._on_demand:
            self._limit_init(limit_s, self._init_again)
        else:
            self._limit_init(max(limit_s, LONG_INIT_S, self._switches.timeout_s), self._init_failed)
        await self._launch()
        if self._switches.snapstart:
            self._spawn(self._restore())

    async def run(self, delivery: Delivery) -> None:
        """Deliver, and wait until the caller's answer is complete; the process may stay busy after that."""
        request_id = delivery.invocation.request_id
        self._running[request_id] = delivery
        try:
            if self.alive:
                self._thaw()
                self._api.deliver(delivery)
                await delivery.finished.wait()
            else:
                await delivery.fail(self._end_report("The process ended before it took the invocation."))
        finally:
            del self._running[request_id]
            if self._switches.managed:
                self._release(request_id)

    async def abandon(self, delivery: Delivery) -> None:
        """The caller has left, and the invocation is canceled (Managed Instances)."""
        self._api.abandon(delivery)
        await delivery.cut(ErrorReport("Sandbox.Failure", "Sandbox.Failure", "the caller left"))

    async def retire(self) -> None:
        """End at once when idle, after the running invocations otherwise."""
        self._retired = True
        if not self._taken:
            await self.shut_down()

    async def shut_down(self) -> None:
        """End as Lambda does: SIGTERM and some time if an extension is registered, then SIGKILL to the group."""
        if self._process is None:
            return
        self._ending = True
        self._thaw()
        if self.alive and self._api.extensions:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._switches.shutdown_s):
                    await self._dead.wait()
        self._signal(signal.SIGKILL)
        await self._dead.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _on_demand(self) -> bool:
        return not (self._switches.managed or self._switches.snapstart)

    async def _launch(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that its children die with it
        )
        self._reaper.add(self._process.pid)
        self._spawn(self._watch(self._process))

    def _limit_init(self, limit_s: float, on_timeout: Callable[[float], None]) -> None:
        self._init = asyncio.get_running_loop().call_later(limit_s, on_timeout, limit_s)

    def _init_again(self, after_s: float) -> None:
        """On-demand: the init starts again, within the invocation's time."""
        self._print_init_timeout(after_s)
        self._starts_again = True
        self._signal(signal.SIGKILL)

    def _init_failed(self, after_s: float) -> None:
        self._print_init_timeout(after_s)
        self._fault = ErrorReport("Sandbox.Timedout", "Sandbox.Timedout", f"Init timed out after {after_s:.2f} seconds")
        self._signal(signal.SIGKILL)

    def _print_init_timeout(self, after_s: float) -> None:
        """The line that Lambda itself writes to the function's log."""
        if self._env.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
            record = {
                "initializationType": self._env.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
                "phase": "init",
                "status": "timeout",
                "metrics": {"durationMs": after_s * 1000},
            }
            time_ = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = json.dumps({"time": time_, "type": "platform.initReport", "record": record})
        else:
            line = f"INIT_REPORT Init Duration: {after_s * 1000:.2f} ms\tPhase: init\tStatus: timeout"
        self._output.write(line + "\n")
        self._output.flush()

    def _next(self, released: str | None) -> None:
        """The process calls `next`; `released` is the invocation that this ends (classic)."""
        self._end_init()
        if released is not None and not self._switches.managed:
            self._release(released)
        if self._switches.freeze and not self._switches.managed and not self._taken:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    def _end_init(self) -> None:
        if self._init is not None:
            self._init.cancel()
            self._init = None

    def _took(self, delivery: Delivery) -> None:
        """The process takes an invocation."""
        if delivery.invocation.request_id not in self._deadlines:
            self._start_clock(delivery)

    def _start_clock(self, delivery: Delivery) -> None:
        """Start the invocation's time."""
        timeout_s = self._switches.timeout_s
        invocation = replace(delivery.invocation, deadline_ms=int((time.time() + timeout_s) * 1000))
        delivery.invocation = invocation
        self._deadlines[invocation.request_id] = asyncio.get_running_loop().call_later(
            timeout_s, lambda: self._spawn(self._time_out(delivery))
        )

    def _release(self, request_id: str) -> None:
        self._taken -= 1
        if (deadline := self._deadlines.pop(request_id, None)) is not None:
            deadline.cancel()
        if self._retired and not self._taken:
            self._signal(signal.SIGKILL)
        self._on_free()

    async def _time_out(self, delivery: Delivery) -> None:
        text = f"Task timed out after {self._switches.timeout_s:.2f} seconds"
        self._api.time_out(delivery)
        await delivery.fail(ErrorReport("Sandbox.Timedout", "Sandbox.Timedout", text))
        if not self._switches.managed:  # there the process lives on, and its response is a 410
            self._signal(signal.SIGKILL)

    def _faulted(self, report: ErrorReport) -> None:
        """The function cannot start: it has logged the reason, and exits by itself."""
        self._fault = report

    def _end_report(self, text: str) -> ErrorReport:
        return self._fault or ErrorReport("Runtime.ExitError", "Runtime.ExitError", text)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Send a signal to the whole process group."""
        if self._process is not None and self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                os.killpg(self._process.pid, number)

    async def _restore(self) -> None:
        """The snapshot: nothing of the process runs, and no connection of it survives."""
        await self._api.snapshot.wait()
        self._end_init()
        self._signal(signal.SIGSTOP)
        if self.alive and self.pid is not None:
            break_connections(self.pid, but=self._env["AWS_LAMBDA_RUNTIME_API"])
        self._signal(signal.SIGCONT)
        self._api.restore.set()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what the process prints; when it ends, end its group and fail the invocations that wait for it."""
        try:
            code = await self._pass_output(process)
        except asyncio.CancelledError:
            self._dead.set()  # the event loop ends: shut_down() must not wait for a process that nobody watches
            raise
        self._signal(signal.SIGKILL)
        self._reaper.discard(process.pid)
        if self._starts_again and not self._ending:
            self._starts_again = False
            for delivery in self._running.values():
                self._start_clock(delivery)
            await self._launch()
            return
        self._dead.set()
        self._end_init()
        for deadline in self._deadlines.values():
            deadline.cancel()
        text = f"Runtime exited with {f'signal {-code}' if code < 0 else f'exit status {code}'}"
        for delivery in list(self._running.values()):
            await delivery.fail(self._end_report(text))
        await self._api.stop()
        self._on_free()

    async def _pass_output(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await process.stdout.read(READ_BYTES):
            self._output.write(decoder.decode(data))
            self._output.flush()
        return await process.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
