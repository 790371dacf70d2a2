"""`make eval`: runs a file of cases and prints pass rate, tokens and p50.

Exit code 0: enough cases passed; 1: too few passed; 2: it could not start (a bad line, no such file, no model).
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents import RunConfig
from rich.console import Console

from lambda_src.dev.broken import one_line
from lambda_src.dev.evals.cases import read_cases
from lambda_src.dev.evals.running import Outcome, run_all, summary
from lambda_src.dev.testing import AgentChat, real_model, says
from lambda_src.errors import ChatError, SettingsError
from lambda_src.runs.hooks import no_hooks

CASES = Path("tests/agent/cases.jsonl")


NewChat = Callable[[RunConfig | None, str], AgentChat]


def shipped_chat(model: RunConfig | None, assistant: str) -> AgentChat:
    """A chat with an assistant of lambda_src/agent/. SettingsError if no assistant has this name."""
    return AgentChat.at(assistant, real_model=model, load_hooks=no_hooks)


def main(arguments: Sequence[str] | None = None, *, new_chat: NewChat = shipped_chat) -> int:
    """Run a file of cases on your agent. docs/reference/testing.md lists what a case can expect."""
    parser = argparse.ArgumentParser(prog="make eval", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("cases", type=Path, nargs="?", default=CASES, help=f"a file of JSON lines (default: {CASES})")
    parser.add_argument("--real", action="store_true", help="use the real model instead of the cases' scripts")
    parser.add_argument(
        "--at-least",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="the share that must pass, such as 90%% (default: all)",
    )
    parser.add_argument(
        "--at-once", type=_count, default=4, metavar="N", help="how many cases run at a time (default: 4)"
    )
    options = parser.parse_args(arguments)
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with options.cases.open(encoding="utf-8") as lines:
            cases = read_cases(lines, file=str(options.cases))
        model = real_model({**os.environ, "REAL_MODEL": "1"}) if options.real else None
        for assistant in dict.fromkeys(case.assistant for case in cases):
            chat = new_chat(None, assistant)
            asyncio.run(chat.say("warm up", script=[says("ready")]))  # lazy imports must not count as the agent's time
    except (OSError, UnicodeDecodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it is not UTF-8"
        err.print(
            f"{options.cases} cannot be read: {why}. Its format: docs/how-to/evaluate.md", style="red", markup=False
        )
        return 2
    except ChatError as fault:
        err.print(
            "\n".join(fault.faults) if isinstance(fault, SettingsError) else str(fault), style="red", markup=False
        )
        return 2
    except Exception as fault:  # noqa: BLE001 - the boundary to the user's code
        err.print(f"Your agent cannot be built. {one_line(fault)}", style="red", markup=False)
        return 2

    def report(outcome: Outcome) -> None:
        mark = "[red]FAIL[/]" if outcome.faults else "[green]ok[/]  "
        out.print(mark, end=" ")
        out.print(outcome.case.name, markup=False)
        for fault in outcome.faults:
            out.print(f"       {fault}", markup=False)

    outcomes = asyncio.run(
        run_all(
            cases,
            lambda assistant: new_chat(model, assistant),
            at_once=options.at_once,
            report=report,
            now=time.perf_counter,
        )
    )
    out.print(f"\n{summary(outcomes)}", markup=False)
    passed = sum(not outcome.faults for outcome in outcomes)
    return 0 if passed >= options.at_least * len(outcomes) else 1


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, or a percentage, not {text!r}")
    return share


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    logging.disable()  # the output of each case says what went wrong
    sys.exit(main())
