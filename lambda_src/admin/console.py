"""How the commands speak: what goes well and wrong on standard error, data on standard output, a count meanwhile."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lambda_src.errors import ChatError

err = Console(stderr=True)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Counts steps on standard error while a person looks on."""
    columns = (SpinnerColumn(), TextColumn("{task.completed} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.advance(task)


@contextmanager
def writing(output: Path | None) -> Iterator[Any]:
    """The file, or standard output where none is named."""
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8") as file:
        yield file


def run_it(command: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what the command returns
    """Run it; a ChatError is said in red, and ends the process with 1."""
    try:
        return asyncio.run(command)
    except ChatError as fault:
        err.print(str(fault), style="red", markup=False)
        raise typer.Exit(1) from None
