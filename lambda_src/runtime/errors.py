"""The errors of the runtime, and the conversion of any exception to an ErrorReport. Knows no socket and no ASGI.

Each is a RuntimeFault, except ReplyBrokenError: that is an OSError, as ASGI 2.4 wants of `send`.
"""

import json
import os
import re
import traceback
from collections.abc import Iterator
from types import FrameType

from lambda_src.runtime.protocol import ErrorReport

STACK_MAX_FRAMES = 50  # CloudWatch allows 256 KB per line; a deeper stack is a recursion, and its end is enough
CALLER_LEFT = "TruncatedHTTPRequest"  # the Runtime API's errorType for an answer whose caller closed the connection


class RuntimeFault(Exception):  # noqa: N818 - the root of the tree; its leaves end in Error
    """The root. Its text is a sentence for the log and for Lambda's error report."""


class EventError(RuntimeFault):
    """The event cannot be handed to the app. The text quotes nothing of it."""


class UnknownEventError(RuntimeFault):
    """The event is not an HTTP request, and no `on_event` takes it."""


class UnexpectedMessageError(RuntimeFault):
    """The app sent a message that ASGI does not allow at this point."""


class PreludeTooLargeError(RuntimeFault):
    """Status, headers and cookies are over PRELUDE_MAX_BYTES. Nothing was sent: another start may follow."""


class IncompleteResponseError(RuntimeFault):
    """The app returned without an answer, or in the middle of one."""


class DeadlineError(RuntimeFault):
    """So little of the function's timeout is left that only clean-up fits."""


class ShutdownError(RuntimeFault):
    """SIGTERM arrived while the invocation ran."""


class LifespanError(RuntimeFault):
    """The app failed lifespan.startup, or did not respond to it."""


class HandlerError(RuntimeFault):
    """The Handler setting cannot be loaded. `kind` is the type that AWS's own runtime reports."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class RuntimeApiError(RuntimeFault):
    """The Runtime API answered with an error status."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        self.status = status
        self.kind = _error_type(body)  # the errorType in the body, "" if there is none
        super().__init__(f"{what} was answered {status}: {body[:500].decode(errors='replace')}")


class ReplyBrokenError(OSError):
    """The Runtime API takes no more of this answer."""


def log_fields(error: BaseException, *, with_text: bool) -> dict[str, object]:
    """The fields of a log line about `error`: its type, the types that caused it, and its stack as file:line.

    Exceptions of an app may quote what people wrote, so `traceback`, which has every text, is there only `with_text`.
    The text of a RuntimeFault is our own sentence, and always there as `reason`.
    """
    fields: dict[str, object] = {"error_type": type(error).__qualname__}
    if with_text or isinstance(error, RuntimeFault):
        fields["reason"] = _text(error)
    _, *causes = causes_of(error)
    if causes:
        fields["caused_by"] = [type(cause).__qualname__ for cause in causes]
    fields["stack"] = [place_of(frame, line) for frame, line in _frames(error)]
    if with_text:
        fields["traceback"] = "".join(traceback.format_exception(error))
    return fields


def place_of(frame: FrameType, line: int) -> str:
    """`/var/task/app.py:12 in handler`."""
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """`error`, then what it was raised from, back to the first; the members of a group come with it. Each once."""
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


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    return list(traceback.walk_tb(error.__traceback__))[-STACK_MAX_FRAMES:]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything, and the failure must be reported anyway
        return f"{type(error).__name__} (its text cannot be shown)"


def _error_type(body: bytes) -> str:
    try:
        fields = json.loads(body)
    except ValueError:
        return ""
    return str(fields.get("errorType", "")) if isinstance(fields, dict) else ""


def report_of(error: BaseException, kind: str | None = None, *, request_id: str = "") -> ErrorReport:
    """The report of `error`; its kind is Function.<class name>, letters only, unless `kind` says otherwise."""
    name = type(error).__name__
    letters = re.sub("[^a-zA-Z]", "", name)
    return ErrorReport(
        kind=kind or f"Function.{letters[:1].upper()}{letters[1:]}",
        name=name,
        message=_text(error),
        stack=[line for entry in traceback.format_tb(error.__traceback__) for line in entry.splitlines()],
        request_id=request_id,
        cause=_xray_cause(error, name),
    )


def _xray_cause(error: BaseException, name: str) -> str:
    """`error` for a trace: where it happened. Like the log, a trace has the text of our own exceptions only."""
    codes = [(frame.f_code, line) for frame, line in _frames(error)]
    stack = [{"path": code.co_filename, "line": line, "label": code.co_name} for code, line in codes]
    exception = {"type": name, "message": _text(error) if isinstance(error, RuntimeFault) else "", "stack": stack}
    paths = sorted({code.co_filename for code, _ in codes})
    return json.dumps({"working_directory": os.getcwd(), "exceptions": [exception], "paths": paths})  # noqa: PTH109 - no pathlib in a cold start
