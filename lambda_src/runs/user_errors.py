"""User-facing error messages of failed runs: one sentence, and whether a retry helps. Never quotes an exception.

ChatKit displays the text of a CustomStreamError unchanged, and its own text for a StreamError. docs/reference/events.md
lists all messages, and tests/runs/test_failed_runs.py checks that list.
"""

import logging

import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MCPToolCancellationError,
    ModelRefusalError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    ToolTimeoutError,
    UserError,
)
from chatkit.errors import BaseStreamError, CustomStreamError, ErrorCode, StreamError
from chatkit.types import NoticeEvent

from lambda_src.errors import BROKEN_OFF, ChatError
from lambda_src.languages import Language
from lambda_src.models.errors import CutError, CutReason, Kind, fault_of
from lambda_src.observability.faults import log_fault
from lambda_src.turns.closing import translated

FAULTS: dict[Kind, tuple[str, bool]] = {
    "model_gone": ("This assistant's model is no longer available. Ask the operator to choose another.", False),
    "no_credit": ("This assistant's account with its model vendor has no credit left. Tell the operator.", False),
    "wrong_key": ("The model refused this server's key. Ask the operator to set a valid one.", False),
    "busy": ("The model is busy at the moment. Wait a little and try again.", True),
    "timeout": ("The model did not answer in time. Try again.", True),
    "unreachable": ("The model cannot be reached at the moment. Try again.", True),
    "failed": ("The model failed while it was answering. Try again.", True),
    "too_long": ("This conversation is too long for the model. Start a new thread.", False),
    "blocked": ("The model's vendor does not allow this request. Rephrase it.", False),
    "file": ("The model cannot read a file in this conversation. Start a new thread without it.", False),
    "settings": ("This assistant is not set up correctly. Ask the operator to check the log.", False),
    "rejected": ("The model did not accept this conversation. Start a new thread; if it fails too, tell the operator.",
                 False),
}  # fmt: skip
# The first that fits an error counts: subclasses come before their bases.
EXCEPTIONS: tuple[tuple[tuple[type[Exception], ...], str, bool], ...] = (
    (
        (
            InputGuardrailTripwireTriggered,
            OutputGuardrailTripwireTriggered,
            ToolInputGuardrailTripwireTriggered,
            ToolOutputGuardrailTripwireTriggered,
            ModelRefusalError,
        ),
        "I cannot help with that.",
        False,
    ),
    ((MaxTurnsExceeded,), "This took more steps than I may take. Ask for a smaller part of it.", False),
    ((ModelTimeoutError,), *FAULTS["timeout"]),
    (
        (ToolTimeoutError, MCPToolCancellationError),
        "A tool of this assistant did not answer in time. Try again.",
        True,
    ),
    ((openai.WebSocketConnectionClosedError, openai.WebSocketQueueFullError), BROKEN_OFF, True),
    (
        (openai.LengthFinishReasonError,),
        "The answer reached its length limit. Ask for a smaller part of it.",
        False,
    ),
    ((openai.ContentFilterFinishReasonError,), *FAULTS["blocked"]),
    ((UserError, openai.OpenAIError), *FAULTS["settings"]),
    ((AgentsException,), "The assistant lost its way. Try again.", True),
)
NOTICES: dict[CutReason, NoticeEvent] = {
    "length": NoticeEvent(
        level="warning",
        title="The answer reached its length limit",
        message="Write “continue” and I will go on from there.",
    ),
    "other": NoticeEvent(
        level="warning",
        title="The answer was cut off",
        message="The model stopped before the end. Write “continue” and I will go on from there.",
    ),
    "filter": NoticeEvent(
        level="warning",
        title="The answer was stopped",
        message="The content filter of the model's vendor stopped it. Rephrase your message.",
    ),
}
LENGTH_WITHOUT_WORDS = NoticeEvent(
    level="warning",
    title="The answer reached its length limit",
    message="The model used all of it for thinking and wrote nothing. Ask for less at once.",
)

log = logging.getLogger(__name__)


def stream_error(error: Exception, event: str = "run_failed", *, language: Language, **fields: str) -> BaseStreamError:
    """The ChatKit error for `error`, in `language`.

    Logs `event` with `fields`, the error's type and place, and the vendor's code. The exception's text is never logged,
    because it may quote a user.
    """
    if isinstance(error, CustomStreamError) and (message := language.text(error.message)) != error.message:
        return CustomStreamError(message, allow_retry=error.allow_retry)
    if isinstance(error, BaseStreamError):
        return error
    log_fault(event, error, **fields, **logged_of(error))
    if (fault := fault_of(error)) is not None:
        sentence, allow_retry = FAULTS[fault.kind]
        return CustomStreamError(language.text(sentence), allow_retry=allow_retry)
    if isinstance(error, ChatError):
        return CustomStreamError(language.text_of(error), allow_retry=True)
    for kinds, sentence, allow_retry in EXCEPTIONS:
        if isinstance(error, kinds):
            return CustomStreamError(language.text(sentence), allow_retry=allow_retry)
    return StreamError(ErrorCode.STREAM_ERROR, allow_retry=True)


def logged_of(error: Exception) -> dict[str, object]:
    """The log fields of a vendor's error; none for other errors."""
    return {} if (fault := fault_of(error)) is None else fault.log_fields()


def notice_of(cut: CutError, *, has_words: bool, language: Language) -> NoticeEvent:
    """The notice for an answer that the vendor cut. `has_words`: whether the model wrote any text."""
    log.warning("answer_cut", extra={"kind": cut.reason, "tokens_out": cut.tokens_out})
    notice = LENGTH_WITHOUT_WORDS if cut.reason == "length" and not has_words else NOTICES[cut.reason]
    return translated(notice, language)
