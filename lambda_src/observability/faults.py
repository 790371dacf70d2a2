"""Log lines for exceptions: the error type and the innermost line of the user's own code, lambda_src/agent/.

The text of an exception is never logged, because it may quote a person. `make dev` adds the traceback
(`show_tracebacks`), because the developer is its only user.
"""

import inspect
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

AGENT = Path(__file__).resolve().parents[1] / "agent"

log = logging.getLogger(__name__)


def log_fault(event: str, error: BaseException, **fields: object) -> None:
    """One WARNING line about `error`; `fields` name what failed, for example the tool."""
    source = source_of(error) or error
    extra: dict[str, object] = {"error_type": type(source).__qualname__, "place": place_of(error), **fields}
    if log.isEnabledFor(logging.DEBUG):
        extra["traceback"] = "".join(traceback.format_exception(error))
    log.warning(event, extra=extra)


def show_tracebacks() -> None:
    """Add the traceback to each line. For a laptop only, because a traceback contains what people wrote."""
    log.setLevel(logging.DEBUG)


def source_of(error: BaseException) -> BaseException | None:
    """The exception among `error` and its causes that passed through the user's folder; None if none did."""
    return next((cause for cause in _causes(error) if _line_in_agent(cause) is not None), None)


def place_of(error: BaseException) -> str:
    """The innermost line in the user's folder, such as `lambda_src/agent/tools.py:12`; else the innermost in any file.

    For a file that Python cannot parse, this is the line of the syntax error.
    """
    for cause in _causes(error):
        if (line := _line_in_agent(cause)) is not None:
            return line
    lines = list(_lines(error))
    return "{}:{}".format(*lines[-1]) if lines else "unknown"


def defined_at(function: Callable[..., object]) -> str:
    """Where a function is defined, such as `lambda_src/agent/hooks.py:12`: for errors without a frame in it."""
    code = inspect.unwrap(function).__code__
    return _short(code.co_filename, code.co_firstlineno)


def _short(file: str, line: int | None) -> str:
    path = Path(file)
    return f"{path.relative_to(AGENT.parents[1]) if path.is_relative_to(AGENT) else path}:{line}"


def _line_in_agent(error: BaseException) -> str | None:
    inside = [(file, line) for file, line in _lines(error) if Path(file).is_relative_to(AGENT)]
    if not inside:
        return None
    return _short(*inside[-1])


def _lines(error: BaseException) -> Iterator[tuple[str, int | None]]:
    """File and line of each frame, outermost first; a syntax error's own line comes last."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if not (file := trace.tb_frame.f_code.co_filename).startswith("<frozen "):  # importlib's own
            yield file, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename is not None:
        yield error.filename, error.lineno


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, the members of exception groups, and the cause or context of each; every exception once."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        if (cause := current.__cause__ or (None if current.__suppress_context__ else current.__context__)) is not None:
            waiting.append(cause)
