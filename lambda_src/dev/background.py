"""Background tasks of `make dev`: reload saved code, and send the events of the stage's schedules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from watchfiles import PythonFilter, awatch

from lambda_src.dev.broken import ROOT, one_line
from lambda_src.dev.emulator import Emulator

SWEEP_EVERY_S = 600.0  # a stage sweeps every hour, but a session on a laptop is often shorter
CLOCK_EVERY_S = 60.0  # as in a stage with operators
AGENT = ROOT / "lambda_src" / "agent"

Say = Callable[[str], None]
Sleep = Callable[[float], Awaitable[object]]


@asynccontextmanager
async def going_on(*work: Coroutine[Any, Any, None], say: Say) -> AsyncIterator[None]:
    """Run the coroutines `work` in the background. One that fails is reported and does not affect the others."""

    async def one(part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except Exception as fault:  # noqa: BLE001 - the boundary: the chat continues without it
            say(f"Reloading or sweeping failed and has stopped: {one_line(fault)}")

    tasks = {asyncio.create_task(one(part)) for part in work}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def reload_on_save(emulator: Emulator, say: Say) -> None:
    """When code or texts in lambda_src/ are saved, restart the function's processes and report syntax errors."""
    async for changes in awatch(ROOT / "lambda_src", watch_filter=PythonFilter(extra_extensions=[".json"])):
        files = sorted({Path(path) for _, path in changes})
        say(f"Reloading: {', '.join(str(file.relative_to(ROOT)) for file in files)}")
        say_what_is_broken([file for file in files if file.suffix == ".py"], say)
        await emulator.reload()


def say_what_is_broken(files: Iterable[Path], say: Say) -> None:
    """Print one line for each file that Python cannot compile."""
    for file in files:
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except FileNotFoundError:
            continue  # it was deleted
        except (SyntaxError, ValueError) as fault:
            say(f"Broken: {one_line(fault)}")


async def sweep(emulator: Emulator, say: Say, *, sleep: Sleep = asyncio.sleep) -> None:
    """Send the event of the hourly schedule every SWEEP_EVERY_S seconds."""
    while True:
        await sleep(SWEEP_EVERY_S)
        if (report := (await emulator.invoke({"chat": "sweep"})).report) is not None:
            say(f"The sweep failed: {report.message}")


async def tick(emulator: Emulator, say: Say, *, sleep: Sleep = asyncio.sleep) -> None:
    """Send the event of the operators' clock every CLOCK_EVERY_S seconds."""
    while True:
        await sleep(CLOCK_EVERY_S)
        if (report := (await emulator.invoke({"chat": "clock"})).report) is not None:
            say(f"The operators' clock failed: {report.message}")
