"""`chat talk` in a pseudo-terminal against the emulator: Ctrl-C stops the answer but does not end the session."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lambda_src.dev.local_aws import local_aws
from tests.e2e.conftest import ROOT
from tests.e2e.one_user import emulated
from tests.fakes.model_api import model_api

PATIENCE_S = 60.0  # before the test fails and shows what was printed
RETRY_S = 5.0  # before a key is pressed again
CTRL_C, CTRL_D = b"\x03", b"\x04"


class Pty:
    """A program in a pseudo-terminal: `printed` is its output so far."""

    def __init__(self, fd: int) -> None:
        self.printed = ""
        self._fd = fd
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def press(self, keys: bytes) -> None:
        """Type `keys`."""
        os.write(self._fd, keys)

    async def until(self, pattern: str, *, after: int = 0) -> int:
        """Wait until `pattern` is printed after the first `after` characters; return where the match ends."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (match := re.compile(pattern).search(self.printed, after)) is None:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} was not printed; the output ends with {self.printed[-500:]!r}") from None
        return match.end()

    async def press_until(self, keys: bytes, pattern: str, *, after: int) -> int:
        """Type again until `pattern` is printed: readline loses a Ctrl-C that arrives while it handles another key."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.press(keys)
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        return await self.until(pattern, after=after)

    def close(self) -> None:
        """Close the terminal."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            self.printed += os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # on Linux, the program has ended
            asyncio.get_running_loop().remove_reader(self._fd)
        self._more.set()


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[tuple[Pty, asyncio.subprocess.Process]]:
    """Run `chat talk` as ann in its own pseudo-terminal."""
    fd, child_fd = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "talk", "--url", url, cwd=ROOT, stdin=child_fd, stdout=child_fd, stderr=child_fd,
        start_new_session=True, env={**os.environ, "CHATKIT_TOKEN": "ann", "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(child_fd)
    terminal = Pty(fd)
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        terminal.close()


RUN = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C in the terminal reaches this process
runpy.run_module("lambda_src.cli", run_name="__main__", alter_sys=True)
"""


async def test_ctrl_c_stops_the_answer_on_the_server_and_the_session_continues(tmp_path: Path) -> None:
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless") as function,
        talking(function.emulator.url) as (terminal, process),
    ):
        await terminal.until("/help lists the commands")
        await terminal.until("> ")
        terminal.press(b"go on forever\n")
        streaming = await terminal.until("one two")
        terminal.press(CTRL_C)
        stopped = await terminal.until("Stopped. The part written so far is kept.", after=streaming)
        await api.until_closed()

        await terminal.until("> ", after=stopped)
        terminal.press(b"/threads\n")
        listed = await terminal.until("1  .*go on forever", after=stopped)
        await terminal.until("> ", after=listed)
        terminal.press(b"half a line")
        await terminal.until("half a line", after=listed)  # echoed, so the line is being read
        hinted = await terminal.press_until(CTRL_C, "Ctrl-D ends.", after=listed)
        await terminal.until("> ", after=hinted)
        terminal.press(CTRL_D)
        assert await process.wait() == 0
        assert "Traceback" not in terminal.printed


async def test_a_second_ctrl_c_abandons_an_answer_that_cannot_be_stopped(tmp_path: Path) -> None:
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless", processes=1) as function,  # no process is free for Stop: 429
        talking(function.emulator.url) as (terminal, process),
    ):
        await terminal.until("> ")
        terminal.press(b"go on forever\n")
        streaming = await terminal.until("one two")
        terminal.press(CTRL_C)
        refused = await terminal.until("429: ", after=streaming)
        terminal.press(CTRL_C)
        left = await terminal.until("Left. What it still says is in the thread", after=refused)
        await terminal.until("> ", after=left)
        terminal.press(CTRL_D)
        assert await process.wait() == 0
