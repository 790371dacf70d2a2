"""Log lines for exceptions, the user's own code first: error type and the innermost line in lambda_src/agent/.

The text of an exception is never logged: it may quote a person. `make dev` adds the traceback (`show_tracebacks`),
because there the operator is the only person.
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
    found = source_of(error)
    told: dict[str, object] = {"error_type": type(found or error).__qualname__, "place": place_of(error), **fields}
    if log.isEnabledFor(logging.DEBUG):
        told["traceback"] = "".join(traceback.format_exception(error))
    log.warning(event, extra=told)


def show_tracebacks() -> None:
    """Add the traceback to each line. For a laptop only: it contains what people wrote."""
    log.setLevel(logging.DEBUG)


def source_of(error: BaseException) -> BaseException | None:
    """The exception among `error` and its causes that passed through the user's folder; None if none did."""
    return next((one for one in _causes(error) if _line_in_agent(one) is not None), None)


def place_of(error: BaseException) -> str:
    """`lambda_src/agent/tools.py:12`, the innermost line in the user's folder; else the innermost line in any file.

    A file that Python cannot parse is named with the line of the syntax error.
    """
    for one in _causes(error):
        if (line := _line_in_agent(one)) is not None:
            return line
    lines = list(_lines(error))
    return "{}:{}".format(*lines[-1]) if lines else "unknown"


def defined_at(function: Callable[..., object]) -> str:
    """`lambda_src/agent/hooks.py:12`, where a function is defined: for faults that leave no line in it."""
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
    """File and line of each frame, outermost first; for a syntax error, the unreadable line comes last."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if not (file := trace.tb_frame.f_code.co_filename).startswith("<frozen "):  # importlib's own
            yield file, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename is not None:
        yield error.filename, error.lineno


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, the members of a group, and what each was raised from, once each."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if (cause := one.__cause__ or (None if one.__suppress_context__ else one.__context__)) is not None:
            waiting.append(cause)
