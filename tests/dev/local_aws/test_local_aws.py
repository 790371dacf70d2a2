"""lambda_src/dev/local_aws: errors of the local AWS: a folder in use, a start that takes too long, a crash."""

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from lambda_src.dev.local_aws import _listening, _lock, local_aws


async def test_a_folder_in_use_is_refused_at_once_with_the_pid_that_uses_it(tmp_path: Path) -> None:
    async with local_aws(tmp_path):
        with pytest.raises(RuntimeError, match=rf"Another make dev \(process {os.getpid()}\) uses"):
            async with local_aws(tmp_path):
                pass


async def test_a_lock_left_by_a_killed_owner_is_waited_for(tmp_path: Path) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await killed.wait()
    (tmp_path / "make-dev.pid").write_text(str(killed.pid))
    with (tmp_path / "log").open("ab") as orphan, (tmp_path / "log").open("ab") as log_file:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        waiting = asyncio.create_task(_lock(log_file, tmp_path))
        await asyncio.sleep(0)
        assert not waiting.done()
        orphan.close()
        await waiting
    assert (tmp_path / "make-dev.pid").read_text() == str(os.getpid())


async def test_a_start_that_takes_too_long_is_reported_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("its last words")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    with pytest.raises(RuntimeError, match=r"did not answer within 0 s\.[^\n]*\nits last words"):
        await _listening(process, 1, log=tmp_path / "log", timeout_s=0)
    process.kill()
    await process.wait()


async def test_a_crash_is_reported_as_unsaved(tmp_path: Path) -> None:
    died = asyncio.Event()

    async def run() -> None:
        async with local_aws(tmp_path, on_death=died.set):
            await kill_ministack()
            await died.wait()

    with pytest.raises(RuntimeError, match=r"ended without saving \(signal 9\)"):
        await run()


async def kill_ministack() -> None:
    """Send SIGKILL to the MiniStack that this process started."""
    listing = await asyncio.create_subprocess_exec(
        "ps", "-A", "-ww", "-o", "pid=,ppid=,args=", stdout=asyncio.subprocess.PIPE
    )
    rows = (await listing.communicate())[0].decode().splitlines()
    (pid,) = [int(row.split()[0]) for row in rows if row.split()[1] == str(os.getpid()) and "leash.py" in row]
    os.kill(pid, 9)
