"""Starts and stops `make dev` as a process, for tests that use it as a developer does."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.conftest import ROOT

PATIENCE_S = 60.0  # before the test fails
READY = "Ctrl-C stops everything"


async def start_dev(data: Path, *flags: str, root: Path = ROOT, **env: str) -> asyncio.subprocess.Process:
    """Start `python -m lambda_src.dev` on a free port for the project in `root`."""
    command = (sys.executable, "-m", "lambda_src.dev", "--port", "0", "--data", str(data), *flags)
    return await start_process(command, root=root, env=env)


async def start_make_dev(data: Path) -> asyncio.subprocess.Process:
    """Start `make dev` itself on a free port, without installing or building anything."""
    built = ("-o", ".venv/installed", "-o", "lambda_src/web/index.html")
    return await start_process(("make", *built, "dev", "PORT=0", f"FLAGS=--data {data}"), root=ROOT, env={})


async def start_process(command: Sequence[str], *, root: Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a process in its own session and without a model key."""
    plain = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return await asyncio.create_subprocess_exec(
        *command, cwd=root, env={**plain, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


async def ready(process: asyncio.subprocess.Process) -> tuple[str, list[str]]:
    """Wait until `make dev` is ready; return its URL and the lines that it printed."""
    assert process.stdout is not None
    printed: list[str] = []
    async for line in process.stdout:
        printed.append(line.decode())
        if READY in printed[-1]:
            break
    url = re.search(r"http://127\.0\.0\.1:\d+", "".join(printed))
    assert url is not None, printed
    return url[0], printed


async def until_gone(pids: set[int]) -> None:
    """Wait until none of these processes exists."""
    async with asyncio.timeout(PATIENCE_S):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - they are not our children, so there is no event
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(
    data: Path, *flags: str, root: Path = ROOT, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    """Run `python -m lambda_src.dev` on a free port, yield its URL and what it has printed, and end it with Ctrl-C."""
    process = await start_dev(data, *flags, root=root, **(env or {}))
    url, printed = await ready(process)
    try:
        yield url, printed
    finally:
        children = await descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        printed.append((await process.stdout.read()).decode())
        assert await process.wait() == 0
        assert children, "the function and the local AWS must be separate processes"
        assert not [pid for pid in children if is_alive(pid)], "Ctrl-C must end every process"


async def descendants(pid: int) -> set[int]:
    """The current child processes of `pid`, and all their descendants."""
    listing = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,ppid=", stdout=asyncio.subprocess.PIPE)
    lines = (await listing.communicate())[0].decode().splitlines()
    parents = {int(child): int(parent) for child, parent in (line.split() for line in lines)}
    family = {pid}
    while children := {child for child, parent in parents.items() if parent in family} - family:
        family |= children
    return family - {pid, listing.pid}


def is_alive(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
