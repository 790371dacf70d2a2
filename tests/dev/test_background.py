"""What goes on beside `make dev`: broken files are told, deletes are finished on a timer."""

import asyncio
import json
import traceback
from pathlib import Path
from typing import Any, cast

import pytest

from lambda_src.dev.background import SWEEP_EVERY_S, going_on, say_what_is_broken, sweep
from lambda_src.dev.broken import ROOT, BrokenAgentError, told, told_if_broken
from lambda_src.dev.emulator import Emulator
from lambda_src.dev.emulator.delivery import Collected
from lambda_src.dev.emulator.protocol import ErrorReport
from lambda_src.dev.log_lines import readable


def test_a_file_that_python_cannot_read_is_told_with_line_and_reason(tmp_path: Path) -> None:
    good, bad, gone = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "gone.py"
    good.write_text("x = 1\n")
    bad.write_text("x = 1\ndef broken(:\n")
    said: list[str] = []
    say_what_is_broken([good, bad, gone], said.append)
    assert said == [f"Broken: {bad}, line 2: SyntaxError: invalid syntax"]


def test_what_an_agent_raises_is_told_by_the_line_of_ours_that_is_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenAgentError) as raised, told_if_broken():
        int("x" * 3)
    assert str(raised.value).startswith("Your agent cannot be built. tests/dev/test_background.py, line ")
    assert "ValueError: invalid literal" in capsys.readouterr().out


def test_an_error_of_the_agent_is_printed_once_and_its_traceback_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(3):
        with pytest.raises(BrokenAgentError) as raised, told_if_broken():
            raise LookupError("no prompt, and printed once")
    assert capsys.readouterr().out.count("printed once") == 1
    traceback_ = "".join(traceback.format_exception(raised.value))
    line = {"timestamp": "2026-11-22 12:00:00,000", "level": "WARNING", "message": "run_failed"}
    assert readable(json.dumps(line)) is not None
    assert readable(json.dumps(line | {"traceback": traceback_})) is None


def test_a_missing_package_is_told_with_how_to_add_it() -> None:
    with (
        pytest.raises(
            BrokenAgentError, match=r"No module named 'socks'\. If it is a package, add it: make add NAME=socks "
        ),
        told_if_broken(),
    ):
        raise ModuleNotFoundError("No module named 'socks'", name="socks.wool")


def test_a_fault_in_a_library_is_told_by_the_line_that_called_it() -> None:
    with pytest.raises(ValueError, match="property name") as raised:
        json.loads("{")
    assert told(raised.value).startswith(f"{Path(__file__).relative_to(ROOT)}, line ")


class Swept:
    """An emulator that takes events."""

    def __init__(self, *reports: ErrorReport | None) -> None:
        self.events: list[object] = []
        self._reports = list(reports)

    async def invoke(self, event: object) -> Collected:
        self.events.append(event)
        collected = Collected()
        collected.report = self._reports.pop(0)
        return collected


async def test_deletes_are_finished_every_few_minutes_and_a_failure_is_told() -> None:
    emulator = Swept(None, ErrorReport("x", "x", "no table"), None)
    slept: list[float] = []

    thrice = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if len(slept) == 3:
            thrice.set()
            await asyncio.Event().wait()
        slept.append(seconds)

    said: list[str] = []
    task = asyncio.create_task(sweep(cast(Emulator, emulator), said.append, sleep=sleep))
    await thrice.wait()
    task.cancel()
    assert slept == [SWEEP_EVERY_S] * 3
    assert emulator.events == [{"chat": "sweep"}] * 3
    assert said == ["The sweep failed: no table"]


async def test_what_fails_beside_the_chat_is_told_and_ends_alone() -> None:
    said: list[Any] = []
    told_so = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        told_so.set()

    async def fails() -> None:
        raise OSError("no watcher")

    async with going_on(fails(), asyncio.Event().wait(), say=say):  # type: ignore[arg-type] # it waits for ever
        await told_so.wait()
    assert "OSError: no watcher" in said[0]
