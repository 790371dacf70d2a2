"""Background tasks of `make dev`: reporting broken files and agents, and the periodic sweep that finishes deletes."""

import asyncio
import json
import traceback
from pathlib import Path
from typing import Any, cast

import pytest

from lambda_src.dev.background import CLOCK_EVERY_S, SWEEP_EVERY_S, going_on, say_what_is_broken, sweep, tick
from lambda_src.dev.broken import ROOT, BrokenAgentError, one_line, reports_broken_agent
from lambda_src.dev.emulator import Emulator
from lambda_src.dev.emulator.delivery import Collected
from lambda_src.dev.emulator.protocol import ErrorReport
from lambda_src.dev.log_lines import readable


def test_a_file_with_a_syntax_error_is_reported_with_line_and_reason(tmp_path: Path) -> None:
    valid, broken, missing = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "gone.py"
    valid.write_text("x = 1\n")
    broken.write_text("x = 1\ndef broken(:\n")
    printed: list[str] = []
    say_what_is_broken([valid, broken, missing], printed.append)
    assert printed == [f"Broken: {broken}, line 2: SyntaxError: invalid syntax"]


def test_an_error_in_building_the_agent_names_the_innermost_line_of_the_project(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(BrokenAgentError) as raised, reports_broken_agent():
        int("x" * 3)
    assert str(raised.value).startswith("Your agent cannot be built. tests/dev/test_background.py, line ")
    assert "ValueError: invalid literal" in capsys.readouterr().out


def test_an_error_in_building_the_agent_is_printed_once_and_not_repeated_as_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(3):
        with pytest.raises(BrokenAgentError) as raised, reports_broken_agent():
            raise LookupError("no prompt, and printed once")
    assert capsys.readouterr().out.count("printed once") == 1
    traceback_ = "".join(traceback.format_exception(raised.value))
    line = {"timestamp": "2026-11-22 12:00:00,000", "level": "WARNING", "message": "run_failed"}
    assert readable(json.dumps(line)) is not None
    assert readable(json.dumps(line | {"traceback": traceback_})) is None


def test_a_missing_package_is_reported_with_how_to_add_it() -> None:
    with (
        pytest.raises(
            BrokenAgentError, match=r"No module named 'socks'\. If it is a package, add it: make add NAME=socks "
        ),
        reports_broken_agent(),
    ):
        raise ModuleNotFoundError("No module named 'socks'", name="socks.wool")


def test_an_error_in_a_library_names_the_line_that_called_it() -> None:
    with pytest.raises(ValueError, match="property name") as raised:
        json.loads("{")
    assert one_line(raised.value).startswith(f"{Path(__file__).relative_to(ROOT)}, line ")


class FakeEmulator:
    """An emulator that records events and returns the given reports."""

    def __init__(self, *reports: ErrorReport | None) -> None:
        self.events: list[object] = []
        self._reports = list(reports)

    async def invoke(self, event: object) -> Collected:
        self.events.append(event)
        collected = Collected()
        collected.report = self._reports.pop(0)
        return collected


@pytest.mark.parametrize(
    ("send", "every_s", "event", "failure"),
    [
        (sweep, SWEEP_EVERY_S, "sweep", "The sweep failed: no table"),
        (tick, CLOCK_EVERY_S, "clock", "The operators' clock failed: no table"),
    ],
)
async def test_a_schedule_sends_its_event_and_a_failure_is_printed(
    send: Any, every_s: float, event: str, failure: str
) -> None:
    emulator = FakeEmulator(None, ErrorReport("x", "x", "no table"), None)
    sleeps: list[float] = []

    third_sleep_over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if len(sleeps) == 3:
            third_sleep_over.set()
            await asyncio.Event().wait()
        sleeps.append(seconds)

    printed: list[str] = []
    task = asyncio.create_task(send(cast(Emulator, emulator), printed.append, sleep=sleep))
    await third_sleep_over.wait()
    task.cancel()
    assert sleeps == [every_s] * 3
    assert emulator.events == [{"chat": event}] * 3
    assert printed == [failure]


async def test_a_failing_background_task_is_reported_and_ends_without_stopping_the_rest() -> None:
    printed: list[Any] = []
    reported = asyncio.Event()

    def say(text: str) -> None:
        printed.append(text)
        reported.set()

    async def fails() -> None:
        raise OSError("no watcher")

    async with going_on(fails(), asyncio.Event().wait(), say=say):  # type: ignore[arg-type] # it waits forever
        await reported.wait()
    assert "OSError: no watcher" in printed[0]
