"""The local AWS when something is wrong: a folder in use, a start that takes too long, a death."""

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from lambda_src.dev.local_aws import _listening, _lock, local_aws


async def test_a_folder_in_use_is_told_at_once_with_whose_it_is(tmp_path: Path) -> None:
    async with local_aws(tmp_path):
        with pytest.raises(RuntimeError, match=rf"Another make dev \(process {os.getpid()}\) uses"):
            async with local_aws(tmp_path):
                pass


async def test_a_folder_whose_owner_was_killed_is_waited_for(tmp_path: Path) -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    (tmp_path / "make-dev.pid").write_text(str(gone.pid))
    with (tmp_path / "log").open("ab") as orphan, (tmp_path / "log").open("ab") as ours:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        waiting = asyncio.create_task(_lock(ours, tmp_path))
        await asyncio.sleep(0)
        assert not waiting.done()
        orphan.close()
        await waiting
    assert (tmp_path / "make-dev.pid").read_text() == str(os.getpid())


async def test_a_start_that_takes_too_long_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("its last words")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    with pytest.raises(RuntimeError, match=r"did not answer within 0 s\.[^\n]*\nits last words"):
        await _listening(process, 1, log=tmp_path / "log", timeout_s=0)
    process.kill()
    await process.wait()


async def test_one_that_ends_by_itself_is_told_and_never_taken_for_saved(tmp_path: Path) -> None:
    died = asyncio.Event()

    async def run() -> None:
        async with local_aws(tmp_path, on_death=died.set):
            await kill_ministack()
            await died.wait()

    with pytest.raises(RuntimeError, match=r"ended without saving \(signal 9\)"):
        await run()


async def kill_ministack() -> None:
    """SIGKILL to the one that this process started."""
    listing = await asyncio.create_subprocess_exec(
        "ps", "-A", "-ww", "-o", "pid=,ppid=,args=", stdout=asyncio.subprocess.PIPE
    )
    rows = (await listing.communicate())[0].decode().splitlines()
    (pid,) = [int(row.split()[0]) for row in rows if row.split()[1] == str(os.getpid()) and "leash.py" in row]
    os.kill(pid, 9)
