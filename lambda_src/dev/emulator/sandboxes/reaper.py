"""Kills the runtime processes when the emulator itself is killed. Needs /bin/sh and no cooperation of the processes.

A process that is frozen between invocations cannot notice that the emulator is gone, so it would stay forever.
"""

import asyncio

# Each line is the full list of process groups; the last one counts when the pipe closes, however that happens.
SCRIPT = 'while read -r line; do groups=$line; done; [ -z "$groups" ] || kill -s KILL -- $groups'


class Reaper:
    """`add` a process group when it starts, `discard` it when it ends."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._shell: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the shell, in a session of its own: Ctrl-C must not reach it."""
        self._shell = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            SCRIPT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._groups.add(group)
        self._write()

    def discard(self, group: int) -> None:
        self._groups.discard(group)
        self._write()

    async def stop(self) -> None:
        """End the shell; what is left is killed."""
        if self._shell is not None and self._shell.stdin is not None:
            self._shell.stdin.close()
            await self._shell.wait()

    def _write(self) -> None:
        if self._shell is not None and self._shell.stdin is not None and not self._shell.stdin.is_closing():
            self._shell.stdin.write(" ".join(f"-{group}" for group in sorted(self._groups)).encode() + b"\n")
