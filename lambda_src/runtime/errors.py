"""What can go wrong in the runtime, and any exception as an ErrorReport. Knows no socket and no ASGI.

RuntimeFault
├── EventError                what came from `next` cannot be handed to the app; says why
├── UnknownEventError         an event that is not HTTP, and nobody asked for it
├── UnexpectedMessageError    the app broke the ASGI protocol
├── PreludeTooLargeError      status, headers and cookies over the limit; nothing was sent
├── ResponseTooLargeError     the answer is over the limit; the client has what fitted
├── IncompleteResponseError   the app returned before its answer was complete
├── DeadlineError             the invocation's time is up
├── ShutdownError             the process is told to end
├── LifespanError             the app refused to start
├── HandlerError              the Handler setting names nothing that can be run
└── RuntimeApiError           the Runtime API refused; carries its status

ReplyBrokenError(OSError)     nobody takes the answer any more: what ASGI 2.4 wants `send` to raise
"""

import re
import traceback

from lambda_src.runtime.protocol import ErrorReport


class RuntimeFault(Exception):  # noqa: N818 - the root of the tree; its leaves end in Error
    """The root: its text is a sentence for the log and the caller of the Runtime API."""


class EventError(RuntimeFault):
    """The event cannot be handed to the app."""


class UnknownEventError(RuntimeFault):
    """The event is not an HTTP request, and no `on_event` takes it."""


class UnexpectedMessageError(RuntimeFault):
    """The app sent a message that ASGI does not allow at this point."""


class PreludeTooLargeError(RuntimeFault):
    """Status, headers and cookies are over PRELUDE_MAX_BYTES. Nothing was sent: another start may follow."""


class ResponseTooLargeError(RuntimeFault):
    """The answer is over STREAM_MAX_BYTES; what fitted was sent."""


class IncompleteResponseError(RuntimeFault):
    """The app returned without an answer, or in the middle of one."""


class DeadlineError(RuntimeFault):
    """The time-out of the function is so near that only its clean-up fits."""


class ShutdownError(RuntimeFault):
    """SIGTERM arrived while the invocation ran."""


class LifespanError(RuntimeFault):
    """The app answered lifespan.startup with a failure, or not at all."""


class HandlerError(RuntimeFault):
    """The Handler setting cannot be loaded. `kind` is the type that AWS's own runtime reports."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class RuntimeApiError(RuntimeFault):
    """The Runtime API answered with another status than the one that means success."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(f"{what} was answered {status}: {body[:500].decode(errors='replace')}")


class ReplyBrokenError(OSError):
    """The Runtime API takes no more of this answer. An OSError, as ASGI 2.4 asks of `send`."""


def report_of(error: BaseException, kind: str | None = None) -> ErrorReport:
    """The report of `error`; its kind is Function.<class name>, letters only, unless `kind` says otherwise."""
    name = type(error).__name__
    letters = re.sub("[^a-zA-Z]", "", name)
    stack = [line for entry in traceback.format_tb(error.__traceback__) for line in entry.splitlines()]
    return ErrorReport(kind or f"Function.{letters[:1].upper()}{letters[1:]}", name, str(error), stack)
