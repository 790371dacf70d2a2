"""`make dev` as a process, and its end: for every test that uses it as a person does."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.conftest import ROOT

PATIENCE_S = 60.0  # of the test, before it fails
READY = "Ctrl-C stops everything"


async def started(data: Path, *flags: str, root: Path = ROOT, **env: str) -> asyncio.subprocess.Process:
    """`python -m lambda_src.dev` on a free port, of the project in `root`."""
    command = (sys.executable, "-m", "lambda_src.dev", "--port", "0", "--data", str(data), *flags)
    return await begun(command, root=root, env=env)


async def make_started(data: Path) -> asyncio.subprocess.Process:
    """`make dev` itself, on a free port; what it would install or build is taken as it is."""
    built = ("-o", ".venv/installed", "-o", "lambda_src/web/index.html")
    return await begun(("make", *built, "dev", "PORT=0", f"FLAGS=--data {data}"), root=ROOT, env={})


async def begun(command: Sequence[str], *, root: Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """The process, in a session of its own and without a model's key."""
    plain = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return await asyncio.create_subprocess_exec(
        *command, cwd=root, env={**plain, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


async def ready(process: asyncio.subprocess.Process) -> tuple[str, list[str]]:
    """Its URL, and what it printed until it was ready."""
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
    """Return when none of these processes is there any more."""
    async with asyncio.timeout(PATIENCE_S):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - they are no children of ours: nothing tells
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(
    data: Path, *flags: str, root: Path = ROOT, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    """`python -m lambda_src.dev` on a free port: its URL, and what it printed so far; ended by Ctrl-C."""
    process = await started(data, *flags, root=root, **(env or {}))
    url, printed = await ready(process)
    try:
        yield url, printed
    finally:
        children = await descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        printed.append((await process.stdout.read()).decode())
        assert await process.wait() == 0
        assert children, "the function and the local AWS are processes of their own"
        assert not [pid for pid in children if is_alive(pid)], "Ctrl-C ends every process"


async def descendants(pid: int) -> set[int]:
    """Every process that `pid` started, and those that they started, now."""
    listing = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,ppid=", stdout=asyncio.subprocess.PIPE)
    lines = (await listing.communicate())[0].decode().splitlines()
    parents = {int(child): int(parent) for child, parent in (line.split() for line in lines)}
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid, listing.pid}


def is_alive(pid: int) -> bool:
    """Whether the process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
