"""Parses request bodies and headers into ChatKit requests. Knows no route and no user.

lambda_src/chat/validation.py checks a parsed request against the thread that it names.
"""

import json
import re
from typing import Any, get_args

from chatkit.types import (
    ChatKitReq,
    ItemsListReq,
    StreamingReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsGetByIdReq,
)
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import Request

from lambda_src.errors import RequestError
from lambda_src.http import request_limits

MAX_FAULTS = 3  # in one message: enough to fix a body, short enough to display
FAULT_CHARS = 200  # of the text of each fault

TURN_HEADER = "x-chat-turn"
TURN_ID = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
TAG_DATA = ("input_tag", "data")  # how the location of a fault ends if a tag has no data
EVENT_ID = re.compile(r"[0-9]{1,9}", re.ASCII)
AUTHOR = re.compile(r"(?!\s)(?:[^\W_]|[ .'\u2019-]|[\u0300-\u036f]){1,40}(?<!\s)")


_requests: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


def parse(body: bytes) -> ChatKitReq:
    """The request in `body`; RequestError names what is wrong and where."""
    request_limits.check_json(body)
    try:
        request: ChatKitReq = _requests.validate_json(body)
    except ValidationError as error:
        if not any(fault["loc"][-2:] == TAG_DATA for fault in error.errors(include_input=False)):
            raise RequestError(_sentence(error)) from None
    else:
        return request
    try:
        request = _requests.validate_json(to_json(_with_tag_data(from_json(body))))
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None
    return request


def _with_tag_data(body: Any) -> Any:  # noqa: ANN401 - JSON
    """`body` with an empty `data` in each tag without one: ChatKit's page may omit it, its Python types require it."""
    match body:
        case {"params": {"input": {"content": [*parts]}}}:
            for part in parts:
                if isinstance(part, dict) and part.get("type") == "input_tag" and part.get("data") is None:
                    part["data"] = {}
    return body


def operation_in(body: bytes) -> str | None:
    """The operation that a malformed request names, for the log; None unless it is one of ChatKit's."""
    try:
        operation = json.loads(body)["type"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    requests = get_args(get_args(ChatKitReq)[0])
    operations = {name for request in requests for name in get_args(request.model_fields["type"].annotation)}
    return next((name for name in operations if name == operation), None)


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return f"The body is not JSON. {faults[0]['msg'][:FAULT_CHARS]}."
    listed = "; ".join(f"{_place(fault['loc'])}: {fault['msg'][:FAULT_CHARS]}" for fault in faults[:MAX_FAULTS])
    more = len(faults) - MAX_FAULTS
    return f"The request is not one that ChatKit knows. {listed}{f'; and {more} more' if more > 0 else ''}."


def _place(loc: tuple[int | str, ...]) -> str:
    inner = loc[1:] if loc and "." in str(loc[0]) else loc  # the first step is the operation's own name
    return ".".join(str(step) for step in inner) or "type"


def turn_id_of(header: str | None) -> str | None:
    """The turn id that the client chose (x-chat-turn), if any. RequestError if it is malformed."""
    if header is not None and not TURN_ID.fullmatch(header):
        raise RequestError("x-chat-turn must be 16 to 64 of the characters A-Z, a-z, 0-9, _ and -.")
    return header


def events_seen(request: Request) -> int:
    """How many events the client has seen, from Last-Event-ID (our ids count from 1); 0 if it is not one of our ids.

    Some EventSource polyfills send the id as a query parameter, since a header needs a CORS preflight.
    """
    sent = request.headers.get("last-event-id", request.query_params.get("lastEventId", ""))
    return int(sent) if EVENT_ID.fullmatch(sent) else 0


def thread_of(request: StreamingReq) -> str | None:
    """The thread in which a streaming request starts a turn; None for a new thread."""
    return None if isinstance(request, ThreadsCreateReq) else request.params.thread_id


def brings_files(request: StreamingReq) -> bool:
    """Whether a request is a message with attachments."""
    match request:
        case ThreadsCreateReq() | ThreadsAddUserMessageReq():
            return bool(request.params.input.attachments)
        case _:
            return False


def thread_shown(request: ChatKitReq) -> str | None:
    """The thread if a request reads its newest state; None for every other request."""
    match request:
        case ThreadsGetByIdReq(params=params):
            return params.thread_id
        case ItemsListReq(params=params) if params.after is None:
            return params.thread_id
        case _:
            return None


class Stop(BaseModel):
    """The body of POST /chatkit/stop: a turn, or the thread that it runs in."""

    model_config = ConfigDict(extra="forbid")
    turn_id: str | None = None
    thread_id: str | None = None


class LinkRequest(BaseModel):
    """The body of POST /chatkit/link: a token from POST /auth/guest."""

    model_config = ConfigDict(extra="forbid")
    guest_token: str


class Guest(BaseModel):
    """The body of POST /auth/guest, which may be empty: the CAPTCHA's token."""

    captcha: str = ""


class HandoffRequest(BaseModel):
    """The body of POST /chatkit/handoff: the thread in which the user wants a person."""

    model_config = ConfigDict(extra="forbid")
    thread_id: str


class Take(BaseModel):
    """The body of POST /operator/threads/{user}/{thread}/take, which may be empty: the matter that is the reason."""

    model_config = ConfigDict(extra="forbid")
    matter: str | None = None


class OperatorMessage(BaseModel):
    """The body of POST /operator/threads/{user}/{thread}/messages: Markdown, and the name that the user is shown."""

    model_config = ConfigDict(extra="forbid")
    text: str
    author: str = "Support"


def parse_handoff(body: bytes) -> HandoffRequest:
    """The body of POST /chatkit/handoff; RequestError if it is malformed."""
    try:
        return HandoffRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None


def parse_take(body: bytes) -> Take:
    """The body of a take; RequestError if it is malformed."""
    try:
        return Take.model_validate_json(body) if body else Take()
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None


def parse_operator_message(body: bytes) -> OperatorMessage:
    """The body of an operator's message; RequestError if it is malformed, or if its author is no plain name."""
    try:
        message = OperatorMessage.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None
    if not message.text.strip():
        raise RequestError("text is empty.")
    from lambda_src.runs import approvals  # noqa: PLC0415 - off the cold path: the Agents SDK

    author = message.author
    if not AUTHOR.fullmatch(author) or approvals.visible(author) != author:
        raise RequestError("author must be a name of at most 40 letters, digits, spaces, periods, apostrophes and -.")
    return message


def parse_guest(body: bytes) -> Guest:
    """The body of POST /auth/guest; RequestError if it is malformed."""
    try:
        return Guest.model_validate_json(body) if body else Guest()
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None


def parse_link(body: bytes) -> LinkRequest:
    """The body of POST /chatkit/link; RequestError if it is malformed."""
    try:
        return LinkRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None


def parse_stop(body: bytes) -> Stop:
    """The body of POST /chatkit/stop; RequestError unless it names exactly one of the two."""
    try:
        stop = Stop.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None
    if (stop.turn_id is None) == (stop.thread_id is None):
        raise RequestError("Name what to stop: either turn_id or thread_id.")
    return stop
