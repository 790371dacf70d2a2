"""Classifies model vendors' errors, and answers that a vendor cut: a kind, an HTTP status, an error code.

Vendors agree on little: the same condition arrives as 400, 404 or 500, as a code, as a type or only in prose. The prose
is matched here and passed no further, because it may quote what a user wrote. docs/reference/events.md lists what users
read.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import openai

Kind = Literal[
    "model_gone", "no_credit", "wrong_key", "busy", "timeout", "unreachable", "failed", "too_long", "blocked", "file",
    "settings", "rejected",
]  # fmt: skip
CutReason = Literal["length", "filter", "other"]
FileKind = Literal["image", "pdf"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)

PASSING: tuple[Kind, ...] = ("busy", "timeout", "unreachable", "failed")  # a retry may succeed
TEXT_READ_CHARS = 2_000  # of an error's prose: its beginning names the cause
CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,63}", re.ASCII)  # an error code that may be logged: never a sentence

CUTS: dict[str, CutReason] = {"max_output_tokens": "length", "length": "length", "content_filter": "filter"}
FILE_CODES = (
    "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large",
    "image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large",
    "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
)  # fmt: skip
CODES: dict[str, Kind] = {
    **dict.fromkeys(("model_not_found", "model_decommissioned", "model_not_available", "deploymentnotfound"),
                    "model_gone"),
    **dict.fromkeys(("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits",
                     "budget_exceeded"), "no_credit"),
    **dict.fromkeys(("invalid_api_key", "no_db_connection", "account_deactivated", "invalid_organization"),
                    "wrong_key"),
    **dict.fromkeys(("rate_limit_exceeded", "slow_down", "server_overloaded", "overloaded_error"), "busy"),
    **dict.fromkeys(("context_length_exceeded", "string_above_max_length", "request_too_large",
                     "exceed_context_size_error"), "too_long"),
    **dict.fromkeys(("content_policy_violation", "content_filter", "invalid_prompt", "bio_policy",
                     "misalignment_policy_violation", "image_content_policy_violation", "moderation_blocked"),
                    "blocked"),
    **dict.fromkeys(("unsupported_parameter", "unsupported_value", "unknown_parameter", "data_residency_mismatch",
                     "unsupported_country_region_territory"), "settings"),
    **dict.fromkeys(("server_error", "vector_store_timeout"), "failed"),
    **dict.fromkeys(FILE_CODES, "file"),
}  # fmt: skip
PROSE: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("wrong_key", re.compile(r"no connected db|(invalid|incorrect) api key")),
    ("no_credit", re.compile(r"insufficient (credit|balance|funds|quota)|exceeded your current quota")),
    (
        "file",
        re.compile(
            r"(image|vision|multimodal|pdf|input_file|file content)\S* .{0,60}(not support|unsupported|only supported)"
            r"|(not support|unsupported|no endpoints|invalid|unknown).{0,60}"
            r"(image|vision|multimodal|\bpdf|input_file|content\[\]\.type|content type|content part)"
            r"|at most 0 image|not a multimodal"
        ),
    ),
    (
        "model_gone",
        re.compile(
            r"invalid model name|not a valid model|model\b.{0,120}"
            r"(does not exist|not found|decommissioned|deprecated|no longer (available|supported)|not available)"
        ),
    ),
    ("too_long", re.compile(r"context (length|window|size)|maximum context|prompt is too long|too many tokens")),
    ("blocked", re.compile(r"content (management )?(policy|filter)|flagged|moderation")),
    ("settings", re.compile(r"(unsupported|unknown|unrecognized|unexpected) (request )?(parameter|argument|field)")),
)
STATUSES: dict[int, Kind] = {
    400: "rejected",
    401: "wrong_key",
    402: "no_credit",
    403: "wrong_key",
    404: "settings",
    405: "settings",
    408: "timeout",
    409: "failed",
    413: "too_long",
    422: "settings",
    429: "busy",
}
SERVER_ERRORS = 500
FILE_STATUSES = (413, 422)  # too large, or not understood: a file may be the cause
ABOUT: dict[FileKind, re.Pattern[str]] = {
    "image": re.compile("image|vision|multimodal"),
    "pdf": re.compile(r"pdf|input_file|\bfile"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A vendor's error, classified. `code` may be logged; `text` is its prose, for matching only."""

    kind: Kind
    status: int | None = None
    code: str | None = None
    model: str | None = None
    text: str = ""

    def log_fields(self) -> dict[str, object]:
        """The log fields: kind, status, code and model, without those that the vendor did not send."""
        fields = {"kind": self.kind, "status": self.status, "code": self.code, "model": self.model}
        return {name: value for name, value in fields.items() if value is not None}


def refused_files(error: Exception, kinds: Collection[FileKind]) -> set[FileKind]:
    """The kinds of file among `kinds` (those in the request) that the vendor probably refused.

    All of them if the error names none. If the files were not the cause, the request without them fails again.
    """
    fault = fault_of(error)
    if fault is None or not (fault.kind in ("file", "rejected") or fault.status in FILE_STATUSES):
        return set()
    about = f"{fault.code} {fault.text}".lower()
    return {kind for kind in kinds if ABOUT[kind].search(about)} or set(kinds)


class CutError(Exception):
    """The vendor ended an answer early: at the length limit, by the content filter, or for another reason.

    `usage` has the vendor's token counts, in the fields of either API.
    """

    def __init__(self, reason: CutReason, usage: object) -> None:
        self.reason: CutReason = reason
        self.tokens_in = _count(usage, "input_tokens", "prompt_tokens")
        self.tokens_out = _count(usage, "output_tokens", "completion_tokens")
        super().__init__(reason)


class FailedError(Exception):
    """The vendor reported a failure inside a stream."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.kind)


class WebPageError(Exception):
    """The model's address answered 200 with a web page: a proxy, a maintenance page or a wrong address."""


def fault_of(error: Exception) -> Fault | None:
    """The vendor's error in `error`, classified; None for all other exceptions."""
    match error:
        case FailedError():
            return error.fault
        case WebPageError():
            return Fault("unreachable", 200, "html")
        case openai.OAuthError():
            return Fault("wrong_key", error.status_code)
        case openai.APITimeoutError():
            return Fault("timeout")
        case openai.APIConnectionError():
            return Fault("unreachable")
        case openai.APIStatusError():
            body = error_in(error.body)
            return classified(body, status=error.status_code, model=_requested_model(error))
        case openai.APIResponseValidationError():
            return Fault("failed", error.status_code)
        case openai.APIError():
            return classified(error_in(error.body))
        case _:
            return None


def classified(body: Any, *, status: int | None = None, model: str | None = None) -> Fault:  # noqa: ANN401 - any JSON
    """Classify the body of an error: by its code or type, or else its prose, or else the HTTP status."""
    named = [str(_field(body, name)) for name in ("code", "type") if _field(body, name)]
    text = str(_field(body, "message") or body or "")[:TEXT_READ_CHARS].lower()
    by_code = next((kind for name in named if (kind := CODES.get(name.lower())) is not None), None)
    by_prose = next((kind for kind, words in PROSE if words.search(text)), None)
    by_status = "unreachable" if (status or 0) >= SERVER_ERRORS else STATUSES.get(status or 0, "failed")
    code = next((name for name in named if CODE.fullmatch(name)), None)
    return Fault(by_code or by_prose or by_status, status, code, model, text)


def failure_in(event: Any) -> CutError | FailedError | None:  # noqa: ANN401 - any vendor's event, validated or not
    """The error of an event that ends a response before it is complete; None for other events."""
    response = getattr(event, "response", None)
    match getattr(event, "type", None):
        case "response.incomplete":
            reason = _field(_field(response, "incomplete_details"), "reason")
            return CutError(CUTS.get(str(reason), "other"), _field(response, "usage"))
        case "response.failed":
            model = _field(response, "model")
            return FailedError(classified(_field(response, "error"), model=model if isinstance(model, str) else None))
        case "error" | "response.error":
            return FailedError(classified(event))
        case _:
            return None


def error_in(body: object) -> object:
    """The error in a response body, with or without an `error` envelope."""
    inner = body.get("error") if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else body


def _field(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping):
        return value.get(name)
    return None if isinstance(value, str) else getattr(value, name, None)


def _count(usage: object, *names: str) -> int:
    return next((count for name in names if isinstance(count := _field(usage, name), int) and count), 0)


def _requested_model(error: openai.APIStatusError) -> str | None:
    """The model name in the failed request."""
    try:
        model = json.loads(error.request.content)["model"]
    except (ValueError, KeyError, TypeError, RuntimeError):  # not JSON, or the body is no longer available
        return None
    return model if isinstance(model, str) else None
