"""`chat talk` in a real terminal, against the emulator: deltas arrive, Ctrl-C stops the answer and no session."""

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

PATIENCE_S = 60.0  # of the test, before it says what it saw instead
NOTICED_S = 5.0  # before a key is pressed again
CTRL_C, CTRL_D = b"\x03", b"\x04"


class Pty:
    """A program in a terminal: what it printed so far, and keys to press."""

    def __init__(self, fd: int) -> None:
        self.printed = ""
        self._fd = fd
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._fd, keys)

    async def until(self, pattern: str, *, after: int = 0) -> int:
        """Wait until `pattern` is printed behind the first `after` characters; where it ends."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := re.compile(pattern).search(self.printed, after)) is None:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} did not come; printed was ... {self.printed[-500:]!r}") from None
        return found.end()

    async def press_until(self, keys: bytes, pattern: str, *, after: int) -> int:
        """Type until it is noticed: Python's readline loses a Ctrl-C that comes while it handles another key."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.press(keys)
                with suppress(TimeoutError):
                    async with asyncio.timeout(NOTICED_S):
                        return await self.until(pattern, after=after)

    def close(self) -> None:
        """Give the terminal back."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            self.printed += os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # Linux's way to say that the program has ended
            asyncio.get_running_loop().remove_reader(self._fd)
        self._more.set()


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[tuple[Pty, asyncio.subprocess.Process]]:
    """`chat talk` as ann, in a terminal of its own."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "talk", "--url", url, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, env={**os.environ, "CHATKIT_TOKEN": "ann", "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    terminal = Pty(ours)
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        terminal.close()


RUN = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal's Ctrl-C is meant for us
runpy.run_module("lambda_src.cli", run_name="__main__", alter_sys=True)
"""


async def test_ctrl_c_stops_the_answer_on_the_server_and_the_session_goes_on(tmp_path: Path) -> None:
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless") as function,
        talking(function.emulator.url) as (terminal, process),
    ):
        await terminal.until("/help tells the commands")
        await terminal.until("> ")
        terminal.press(b"go on for ever\n")
        streaming = await terminal.until("one two")
        terminal.press(CTRL_C)
        stopped = await terminal.until("Stopped. What it said until then is kept.", after=streaming)
        await api.until_closed()

        await terminal.until("> ", after=stopped)
        terminal.press(b"/threads\n")
        listed = await terminal.until("1  .*go on for ever", after=stopped)
        await terminal.until("> ", after=listed)
        terminal.press(b"half a line")
        await terminal.until("half a line", after=listed)  # echoed: the line is being read
        hinted = await terminal.press_until(CTRL_C, "Ctrl-D ends.", after=listed)
        await terminal.until("> ", after=hinted)
        terminal.press(CTRL_D)
        assert await process.wait() == 0
        assert "Traceback" not in terminal.printed


async def test_a_second_ctrl_c_leaves_an_answer_that_does_not_stop(tmp_path: Path) -> None:
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless", processes=1) as function,  # Stop finds no process: 429
        talking(function.emulator.url) as (terminal, process),
    ):
        await terminal.until("> ")
        terminal.press(b"go on for ever\n")
        streaming = await terminal.until("one two")
        terminal.press(CTRL_C)
        refused = await terminal.until("429: ", after=streaming)
        terminal.press(CTRL_C)
        left = await terminal.until("Left. What it still says is in the thread", after=refused)
        await terminal.until("> ", after=left)
        terminal.press(CTRL_D)
        assert await process.wait() == 0
