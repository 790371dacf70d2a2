"""Terminal output of the commands: reports and progress on standard error, data on standard output."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lambda_src.cli.mistakes import sentence_of
from lambda_src.cli.options import Place

err = Console(stderr=True)


def report(text: str, *, style: str | None = None) -> None:
    """Print a sentence on standard error as it is: no markup, no line breaks."""
    err.print(text, style=style, markup=False, soft_wrap=True, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Count steps on standard error, if that is a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.completed} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.advance(task)


@contextmanager
def writing(output: Path | None) -> Iterator[Any]:
    """The file, or standard output if there is none."""
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8") as file:
        yield file


def run_it(command: Coroutine[Any, Any, Any], place: Place | None = None) -> Any:  # noqa: ANN401 - what it returns
    """Run a command. An error that the operator can fix is printed as one sentence and exits with 1."""
    with one_sentence(place):
        return asyncio.run(command)


@contextmanager
def one_sentence(place: Place | None = None) -> Iterator[None]:
    """Print an error that the operator can fix as one sentence, and exit with 1."""
    try:
        yield
    except Exception as fault:
        if (sentence := sentence_of(fault, place)) is None:
            raise  # a bug
        report(sentence, style="red")
        raise typer.Exit(1) from None
