"""lambda_src/dev/emulator/flags.py: command-line flags of the emulator and `make dev`, and their documentation."""

import argparse
import asyncio
import signal
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from lambda_src.dev.emulator import Cors, Switches
from lambda_src.dev.emulator.flags import add_flags, switches_from
from tests.dev.emulator.client import get


def parsed(arguments: list[str]) -> Switches:
    """The switches of a command line that has only the emulator's flags."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return switches_from(parser.parse_args(arguments))


def test_without_flags_the_switches_are_the_defaults() -> None:
    assert parsed([]) == Switches()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--processes 2", Switches(processes=2)),
        ("--managed 16", Switches(managed=16)),
        ("--snapstart", Switches(snapstart=True)),
        ("--deadline 20", Switches(timeout_s=20.0)),
        ("--hold-small-chunks", Switches(hold_small_chunks=1024)),
        ("--hold-small-chunks 8", Switches(hold_small_chunks=8)),
        ("--payload 1.0", Switches(payload="1.0")),
        ("--no-freeze", Switches(freeze=False)),
        ("--no-cancel", Switches(cancel_when_caller_leaves=False)),
        ("--init-timeout 20", Switches(init_timeout_s=20.0)),
        ("--no-hang-on-empty-body", Switches(hang_on_empty_body=False)),
        ("--end-plainly-on-error", Switches(cut_on_error_trailers=False)),
        ("--no-403-after-break", Switches(next_403_after_break=False)),
        ("--no-invocation-id", Switches(echo_invocation_id=False)),
        ("--cors https://a.example", Switches(cors=Cors(allow_origins=("https://a.example",), allow_headers=("*",)))),
        ("--burst 10 --rate 5", Switches(burst_bytes=10, rate_bytes_per_s=5)),
        ("--log-format JSON --memory 1024", Switches(log_format="JSON", memory_mb=1024)),
    ],
)
def test_each_flag_sets_a_switch(line: str, expected: Switches) -> None:
    assert parsed(line.split()) == expected


async def test_the_command_prints_its_url_serves_requests_and_exits_on_sigint() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lambda_src.dev.emulator", "tests.dev.emulator.apps.handler", "--port", "0",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    assert (await get(url)).body == b"hello"
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0


def test_the_docs_page_lists_every_switch_and_flag() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = [action.option_strings[0] for action in parser._actions if action.dest != "help"]
    names = [f.name for f in fields(Switches) if f.name != "shutdown_s"]
    assert [name for name in names if f"`{name}`" not in page] == []
    assert [flag for flag in flags if f"`{flag}" not in page] == []
