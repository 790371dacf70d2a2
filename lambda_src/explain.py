"""What a failed run tells the user: one sentence, whether a retry helps. Knows no thread; never quotes an exception.

ChatKit shows CustomStreamError's text as it is; what no sentence fits becomes StreamError, which it translates itself.
"""

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
from lambda_src.faults import log_fault


def stream_error(error: Exception, event: str = "run_failed", **fields: str) -> BaseStreamError:
    """The ChatKit error for `error`, which is logged as `event` with `fields`, its type and its place.

    Never by its text: that may quote a user.
    """
    if isinstance(error, BaseStreamError):
        return error
    log_fault(event, error, **fields)
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
