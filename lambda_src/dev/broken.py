"""Reports an exception in the user's agent as one line: file, line, exception with its text. Never deployed."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lambda_src.errors import UnavailableError

ROOT = Path(__file__).resolve().parents[2]


class BrokenAgentError(UnavailableError):
    """The user's agent cannot be built. The chat shows the text, because here the user is the developer."""


_printed: set[str] = set()  # per process; make dev restarts it when a file is saved


@contextmanager
def reports_broken_agent() -> Iterator[None]:
    """Raise an exception of the user's code as BrokenAgentError, which the chat shows, and print it once per process.

    log_lines.py omits the log line with its traceback.
    """
    try:
        yield
    except Exception as fault:
        text = f"Your agent cannot be built. {one_line(fault)}"
        if text not in _printed:
            _printed.add(text)
            print(text, flush=True)
        raise BrokenAgentError(text) from fault


def one_line(fault: BaseException) -> str:
    """`lambda_src/agent/tools.py, line 3: SyntaxError: '(' was never closed`.

    The place is the innermost frame in the project; for a syntax error, the file that has it.
    """
    what = f"{type(fault).__name__}: {fault.msg if isinstance(fault, SyntaxError) else fault}"
    if isinstance(fault, ModuleNotFoundError) and fault.name and not fault.name.startswith("lambda_src"):
        package = fault.name.partition(".")[0]
        what += f". If it is a package, add it: make add NAME={package} (its name on PyPI may differ)"
    place = _place(fault)
    return what if place is None else f"{place[0]}, line {place[1]}: {what}"


def _place(fault: BaseException) -> tuple[str, int] | None:
    if isinstance(fault, SyntaxError) and fault.filename is not None:
        return _shown(fault.filename), fault.lineno or 1
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if _is_ours(frame.filename)] or list(frames)
    return (_shown(ours[-1].filename), ours[-1].lineno or 1) if ours else None


def _is_ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(ROOT) and "site-packages" not in path.parts


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else file
