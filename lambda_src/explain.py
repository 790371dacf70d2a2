"""What a failed run tells the user: one sentence, whether a retry helps. Knows no thread; never quotes an exception.

ChatKit shows CustomStreamError's text as it is; what no sentence fits becomes StreamError, which it translates itself.
"""

import logging

import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelRefusalError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
)
from chatkit.errors import BaseStreamError, CustomStreamError, ErrorCode, StreamError

from lambda_src.errors import ChatError

log = logging.getLogger(__name__)


def stream_error(error: Exception) -> BaseStreamError:
    """The ChatKit error for `error`, which is logged by type and place, never by its text: that may quote a user."""
    if isinstance(error, BaseStreamError):
        return error
    log.warning("run_failed", extra={"error_type": type(error).__qualname__, "place": _place(error)})
    match error:
        case ChatError():
            return CustomStreamError(str(error), allow_retry=True)
        case InputGuardrailTripwireTriggered() | OutputGuardrailTripwireTriggered() | ModelRefusalError():
            return CustomStreamError("I cannot help with that.")
        case MaxTurnsExceeded():
            return CustomStreamError("This took more steps than I may take. Ask for a smaller part of it.")
        case openai.RateLimitError():
            return CustomStreamError("The model is busy at the moment. Wait a little and try again.", allow_retry=True)
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return CustomStreamError("The model refused this server's key. Whoever runs it must set a valid one.")
        case openai.APITimeoutError() | ModelTimeoutError():
            return CustomStreamError("The model did not answer in time. Try again.", allow_retry=True)
        case openai.APIConnectionError() | openai.InternalServerError():
            return CustomStreamError("The model cannot be reached at the moment. Try again.", allow_retry=True)
        case openai.BadRequestError():
            return CustomStreamError("The model did not accept this conversation. Start a new thread.")
        case AgentsException():
            return CustomStreamError("The assistant lost its way. Try again.", allow_retry=True)
        case _:
            return StreamError(ErrorCode.STREAM_ERROR, allow_retry=True)


def _place(error: Exception) -> str:
    """The innermost line that is in a file; of a file that cannot be read, the line in it."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    place = "unknown"
    trace = error.__traceback__
    while trace is not None:
        if not (file := trace.tb_frame.f_code.co_filename).startswith("<frozen "):  # importlib's own
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
