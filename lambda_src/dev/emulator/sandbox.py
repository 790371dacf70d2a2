"""One sandbox: a runtime process in a process group of its own, and the Runtime API server it talks to.

Knows when the process is free, when it must die, and what its death means for who waits. Knows no HTTP client.
"""

import asyncio
import codecs
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lambda_src.dev.emulator.delivery import Delivery
from lambda_src.dev.emulator.runtime_api import RuntimeApi
from lambda_src.dev.emulator.states import ClassicStates, ManagedStates
from lambda_src.dev.emulator.switches import Switches
from lambda_src.runtime.protocol import ErrorReport

READ_BYTES = 64 * 1024


class Output(Protocol):
    """Takes what the processes print: any text stream, or less."""

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
        on_free: Callable[[], None],
    ) -> None:
        self._command, self._env, self._cwd = command, env, cwd
        self._switches = switches
        self._output = output
        self._on_free = on_free
        states = (
            ManagedStates() if switches.managed else ClassicStates(refuse_after_break=switches.next_403_after_break)
        )
        self._api = RuntimeApi(states, on_next=self._next, on_taken=self._took, on_fault=self._faulted)
        self._running: dict[str, Delivery] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._slots = switches.managed or 1
        self._taken = 0
        self._retired = False
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
        """Whether one more invocation may be run here now."""
        return self.alive and not self._retired and self._taken < self._slots

    @property
    def about_to_be_free(self) -> bool:
        """Whether an answer is complete and only the following `next` is missing."""
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
        address = await self._api.start()
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**self._env, "AWS_LAMBDA_RUNTIME_API": address},
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that its children die with it
        )
        self._spawn(self._watch(self._process))
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

    async def retire(self) -> None:
        """End at once when idle, after the running invocations otherwise."""
        self._retired = True
        if not self._taken:
            await self.shut_down()

    async def shut_down(self) -> None:
        """End as Lambda does: SIGTERM and a moment for who registered an extension, then SIGKILL to the group."""
        if self._process is None:
            return
        self._thaw()
        if self.alive and self._api.extensions:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._switches.shutdown_s):
                    await self._dead.wait()
        self._signal(signal.SIGKILL)
        await self._dead.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _next(self, released: str | None) -> None:
        """The process asks for work; `released` is the invocation it thereby has done with (classic)."""
        if released is not None and not self._switches.managed:
            self._release(released)
        if self._switches.freeze and not self._taken:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    def _took(self, delivery: Delivery) -> None:
        """The process takes an invocation: its time runs from here."""
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
        self._api.forget(delivery.invocation.request_id)
        await delivery.fail(ErrorReport("Sandbox.Timedout", "Sandbox.Timedout", text))
        if not self._switches.managed:  # there the process lives on, and learns it from a 410
            self._signal(signal.SIGKILL)

    def _faulted(self, report: ErrorReport) -> None:
        """The function cannot start: it has said so in its log, and exits by itself."""
        self._fault = report

    def _end_report(self, text: str) -> ErrorReport:
        return self._fault or ErrorReport("Runtime.ExitError", "Runtime.ExitError", text)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """To the whole process group."""
        if self._process is not None and self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                os.killpg(self._process.pid, number)

    async def _restore(self) -> None:
        await self._api.snapshot.wait()
        self._signal(signal.SIGSTOP)  # the snapshot: nothing of the process runs between these two
        self._signal(signal.SIGCONT)
        self._api.restore.set()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what the process prints; when it ends, end its group, and tell who waits for it."""
        assert process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await process.stdout.read(READ_BYTES):
            self._output.write(decoder.decode(data))
            self._output.flush()
        code = await process.wait()
        self._signal(signal.SIGKILL)
        self._dead.set()
        for deadline in self._deadlines.values():
            deadline.cancel()
        text = f"Runtime exited with {f'signal {-code}' if code < 0 else f'exit status {code}'}"
        for delivery in list(self._running.values()):
            await delivery.fail(self._end_report(text))
        await self._api.stop()
        self._on_free()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
