"""The bytes of a request become a ChatKit request that was checked, or a RequestError. Knows no HTTP.

ChatKit checks some things only after it began to write and to answer; what can be checked first is checked here, so
that a refused request stores nothing.
"""

from typing import Any

from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    ChatKitReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
)
from pydantic import TypeAdapter, ValidationError

from lambda_src.context import RequestContext
from lambda_src.errors import RequestError

FAULTS_TOLD = 3  # of all that is wrong with a body: enough to mend it, short enough to show
FAULT_CHARS = 200  # of one fault's text

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

    NotFoundError: an attachment of the message is missing or someone else's. RequestError: files are not set up here.
    """
    match request:
        case ThreadsCreateReq() | ThreadsAddUserMessageReq():
            for attachment_id in request.params.input.attachments:
                await store.load_attachment(attachment_id, context=context)
        case AttachmentsCreateReq() | AttachmentsDeleteReq() if attachment_store is None:
            raise RequestError("This server takes no files: attachments are not set up.")
        case _:
            pass


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
