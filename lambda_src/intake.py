"""The bytes of a request become a ChatKit request that was checked, or a RequestError. Knows no HTTP.

ChatKit checks some things only after it began to write and to answer; what can be checked first is checked here, so
that a refused request stores nothing.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    ChatKitReq,
    ClientToolCallItem,
    ItemsListReq,
    StreamingReq,
    StructuredInputItem,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsCustomActionReq,
    ThreadsGetByIdReq,
    ThreadsRetryAfterItemReq,
    UserMessageInput,
    UserMessageItem,
)
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError, RequestError

FAULTS_TOLD = 3  # of all that is wrong with a body: enough to mend it, short enough to show
FAULT_CHARS = 200  # of one fault's text

TURN_ID = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
EVENT_ID = re.compile(r"[0-9]{1,9}", re.ASCII)


class Carrier(Protocol):
    """What carries headers, under lower-case names."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...


_requests: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


def parse(body: bytes) -> ChatKitReq:
    """The request in `body`; RequestError says what is wrong with it and where."""
    try:
        request: ChatKitReq = _requests.validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None
    return request


async def check(
    request: ChatKitReq,
    context: RequestContext,
    *,
    store: Store[RequestContext],
    attachment_store: AttachmentStore[RequestContext] | None,
) -> None:
    """Look at what the request names before anything is written.

    NotFoundError: what it names is missing or someone else's. ConflictError: the thread is not in the state it takes
    (checked here because a request that is refused must not end the turn that runs). RequestError: no files here.
    """
    match request:
        case ThreadsCreateReq(params=params):
            await _attachments_exist(params.input, store, context)
        case ThreadsAddUserMessageReq(params=params):
            await store.load_thread(params.thread_id, context=context)
            await _attachments_exist(params.input, store, context)
        case ThreadsCustomActionReq(params=params):
            await store.load_thread(params.thread_id, context=context)
        case ThreadsAddClientToolOutputReq(params=params):
            await store.load_thread(params.thread_id, context=context)
            newest = await store.load_thread_items(params.thread_id, None, 1, "desc", context)
            if not any(isinstance(item, ClientToolCallItem) and item.status == "pending" for item in newest.data):
                raise ConflictError("This thread does not wait for a tool's output any more. Reload it.")
        case ThreadsAddStructuredInputReq(params=params):
            form = await store.load_item(params.thread_id, params.item_id, context=context)
            if not isinstance(form, StructuredInputItem) or form.status != "pending":
                raise ConflictError("This form is not open any more. Reload the thread.")
        case ThreadsRetryAfterItemReq(params=params):
            message = await store.load_item(params.thread_id, params.item_id, context=context)
            if not isinstance(message, UserMessageItem):
                raise ConflictError("Only a message of yours can be answered again.")
        case AttachmentsCreateReq() | AttachmentsDeleteReq() if attachment_store is None:
            raise RequestError("This server takes no files: attachments are not set up.")
        case _:
            pass


async def _attachments_exist(input: UserMessageInput, store: Store[RequestContext], context: RequestContext) -> None:
    for attachment_id in input.attachments:
        await store.load_attachment(attachment_id, context=context)


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return f"The body is not JSON. {faults[0]['msg'][:FAULT_CHARS]}."
    told = "; ".join(f"{_place(fault['loc'])}: {fault['msg'][:FAULT_CHARS]}" for fault in faults[:FAULTS_TOLD])
    more = len(faults) - FAULTS_TOLD
    return f"The request is not one that ChatKit knows. {told}{f'; and {more} more' if more > 0 else ''}."


def _place(loc: tuple[int | str, ...]) -> str:
    inner = loc[1:] if loc and "." in str(loc[0]) else loc  # the first step is the operation's own name
    return ".".join(str(step) for step in inner) or "type"


def turn_id_of(header: str | None) -> str | None:
    """The client's own turn id, from x-chat-turn; None without one. RequestError when it is malformed."""
    if header is not None and not TURN_ID.fullmatch(header):
        raise RequestError("x-chat-turn must be 16 to 64 of the characters A-Z, a-z, 0-9, _ and -.")
    return header


def events_seen(request: Carrier) -> int:
    """How many events the client has seen, from Last-Event-ID (our ids count from 1); 0 when it is none of ours."""
    header = request.headers.get("last-event-id")
    return int(header) if header is not None and EVENT_ID.fullmatch(header) else 0


def thread_of(request: StreamingReq) -> str | None:
    """The thread whose turn a streaming request begins; None for a new one."""
    return None if isinstance(request, ThreadsCreateReq) else request.params.thread_id


def thread_shown(request: ChatKitReq) -> str | None:
    """The thread whose newest state a request is about to show; None for every other request."""
    match request:
        case ThreadsGetByIdReq(params=params):
            return params.thread_id
        case ItemsListReq(params=params) if params.after is None:
            return params.thread_id
        case _:
            return None


class Stop(BaseModel):
    """The body of POST /chatkit/stop: the turn, or the thread whose turn it is."""

    model_config = ConfigDict(extra="forbid")
    turn_id: str | None = None
    thread_id: str | None = None


def parse_stop(body: bytes) -> Stop:
    """What is to be stopped. RequestError unless exactly one of the two is named."""
    try:
        stop = Stop.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None
    if (stop.turn_id is None) == (stop.thread_id is None):
        raise RequestError("Name what to stop: either turn_id or thread_id.")
    return stop
