"""The emulated Lambda: a function URL in front of as many sandboxes as its requests need. Composition and pool.

Scales as Lambda does: another process when all are busy, a 429 beyond `processes`, a new process after a crash.
"""

import asyncio
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from lambda_src.dev.emulator.delivery import Collected, Delivery, Sink
from lambda_src.dev.emulator.exchange import unless
from lambda_src.dev.emulator.protocol import EVENT_MAX_BYTES, Invocation
from lambda_src.dev.emulator.sandboxes.reaper import Reaper
from lambda_src.dev.emulator.sandboxes.sandbox import Output, Sandbox
from lambda_src.dev.emulator.switches import Switches
from lambda_src.dev.emulator.url.events import Request, event_1_0, event_2_0
from lambda_src.dev.emulator.url.front import Admit, Front, HttpSink

BOOTSTRAP = Path(__file__).parents[2] / "bootstrap"
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # nothing else of the shell reaches the function
RELEASE_S = 0.05  # how long a request waits for a process that has answered but not called `next` yet, before a new one
LAST_RELEASE_S = 5.0  # ... when no new one may be started: longer than any `next` takes, even on a busy laptop


class Emulator:
    """`async with Emulator("package.module.handler") as emulator:` serves it at `emulator.url`.

    `handler` is the Handler setting, `env` the function's own environment variables. `command` starts
    a runtime, with AWS_LAMBDA_RUNTIME_API in its environment; the default is lambda_src/bootstrap with this
    interpreter. Everything the processes print goes to `output`. A `listener` is a socket, instead of host and port.
    `admit` returns the reason to refuse a request (403), or None to accept it.
    """

    def __init__(
        self,
        handler: str,
        *,
        env: Mapping[str, str] | None = None,
        switches: Switches | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        listener: socket.socket | None = None,
        task_root: Path | None = None,
        command: Sequence[str] = (),
        output: Output | None = None,
        inherit: Mapping[str, str] = os.environ,
        admit: Admit | None = None,
    ) -> None:
        self.url = ""
        self._switches = switches or Switches()
        self._root = (task_root or Path.cwd()).resolve()
        self._env = {
            **{name: inherit[name] for name in INHERITED if name in inherit},
            **function_environment(handler, self._root, self._switches),
            **(env or {}),
        }
        self._command = command or (str(BOOTSTRAP), sys.executable, "bootstrap.py")
        self._output = output or sys.stdout
        self._host, self._port, self._listener = host, port, listener
        self._front = Front(self.serve, cors=self._switches.cors, admit=admit)
        self._sandboxes: list[Sandbox] = []
        self._reaper = Reaper()
        self._freed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._reaper.start()
        self.url = await self._front.start(self._host, self._port, listener=self._listener)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._front.stop()
        await asyncio.gather(*(sandbox.shut_down() for sandbox in self._sandboxes))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reaper.stop()

    @property
    def pids(self) -> list[int]:
        """The runtime processes that are alive."""
        return [sandbox.pid for sandbox in self._sandboxes if sandbox.alive and sandbox.pid is not None]

    async def reload(self) -> None:
        """Make the next invocation load the code again: idle processes end now, busy ones after their invocation."""
        await asyncio.gather(*(sandbox.retire() for sandbox in self._sandboxes))

    async def invoke(self, event: object, collected: Collected | None = None) -> Collected:
        """Invoke with any JSON value, as the Invoke API does, and return the response. Waits instead of a 429.

        `collected` may be an instance of a subclass that also processes the chunks as they arrive.
        """
        collected = collected or Collected()
        while not await self._run(json.dumps(event).encode(), str(uuid.uuid4()), collected):
            async with self._freed:
                await self._freed.wait()
        return collected

    async def serve(self, request: Request, sink: HttpSink) -> None:
        """Handle one HTTP request, to the end of its response."""
        request_id = str(uuid.uuid4())
        make = event_1_0 if self._switches.payload == "1.0" else event_2_0
        event = json.dumps(make(request, request_id=request_id, now=datetime.now(UTC))).encode()
        if len(event) > EVENT_MAX_BYTES:
            await sink.refuse(413, {"Message": "Request Entity Too Large"})
        elif not await self._run(event, request_id, sink):
            await sink.refuse(429, {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User"})

    async def _run(self, event: bytes, request_id: str, sink: Sink) -> bool:
        """Run an invocation to the end of its response; False if there is no process for it."""
        if (sandbox := await self._acquire()) is None:
            return False
        invocation = Invocation(
            request_id=request_id,
            deadline_ms=0,  # set when the process takes it, because loading does not count
            event=event,
            function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{self._env['AWS_LAMBDA_FUNCTION_NAME']}",
            trace_id=f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            invocation_id=str(uuid.uuid4()) if self._switches.echo_invocation_id else "",
        )
        delivery = Delivery(invocation, sink, self._switches)
        if self._switches.managed and self._switches.cancel_when_caller_leaves:
            try:
                await unless(sink.left(), sandbox.run(delivery), ConnectionAbortedError("the caller left"))
            except ConnectionAbortedError:
                await sandbox.abandon(delivery)
        else:
            await sandbox.run(delivery)
        return True

    async def _acquire(self) -> Sandbox | None:
        """Reserve a slot in a process that is free, about to be free, or new; None if all are busy."""
        for patience_s in (RELEASE_S, LAST_RELEASE_S):
            self._sandboxes = [sandbox for sandbox in self._sandboxes if sandbox.alive]
            if (free := self._reserve()) is not None:
                return free
            if any(sandbox.about_to_be_free for sandbox in self._sandboxes):
                try:
                    async with asyncio.timeout(patience_s), self._freed:
                        return await self._freed.wait_for(self._reserve)
                except TimeoutError:
                    pass
            if len(self._sandboxes) < (1 if self._switches.managed else self._switches.processes):
                return await self._start()
        return None

    def _reserve(self) -> Sandbox | None:
        for sandbox in self._sandboxes:
            if sandbox.free:
                sandbox.reserve()
                return sandbox
        return None

    async def _start(self) -> Sandbox:
        sandbox = Sandbox(
            self._command,
            env=self._env,
            cwd=self._root,
            switches=self._switches,
            output=self._output,
            reaper=self._reaper,
            on_free=self._free,
        )
        sandbox.reserve()
        self._sandboxes.append(sandbox)
        await sandbox.start()
        return sandbox

    def _free(self) -> None:
        async def notify() -> None:
            async with self._freed:
                self._freed.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def function_environment(handler: str, root: Path, switches: Switches) -> dict[str, str]:
    """The variables that Lambda sets for every function (configuration-envvars.html), except the Runtime API's."""
    kind = "snap-start" if switches.snapstart else "lambda-managed-instances" if switches.managed else "on-demand"
    env = {
        "_HANDLER": handler,
        "AWS_LAMBDA_FUNCTION_NAME": "emulated",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(switches.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        "AWS_LAMBDA_LOG_FORMAT": "JSON" if switches.managed else switches.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/emulated",
        "AWS_LAMBDA_LOG_STREAM_NAME": "emulated",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "LAMBDA_TASK_ROOT": str(root),
        "CHAT_RUNTIME_SHOW_ERRORS": "1",  # safe on a laptop, where only the developer reads the log
        "TZ": ":UTC",
    }
    if switches.managed:
        env["AWS_LAMBDA_MAX_CONCURRENCY"] = str(switches.managed)
    return env
