"""Multipart parsing of ChatKit's direct uploads: reads a form's one file within limits. Knows no bucket, no thread."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from chatkit.types import AttachmentCreateParams
from starlette.requests import Request

from lambda_src.attachments.files import Upload
from lambda_src.errors import RequestError, TooLargeError
from lambda_src.http import request_limits

FIELD = "file"  # the name that ChatKit's client uses
MAX_BYTES = 4_500_000  # of the whole request: Lambda takes 6 MB of JSON, in which a form is base64 (4/3), and headers
TAIL = 8  # of a body: "--" at least, and the line's end that some send after it


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[Upload]:
    """Context manager: the form's file. RequestError: not such a form; TooLargeError: larger than MAX_BYTES."""
    from starlette.datastructures import UploadFile  # noqa: PLC0415 - off the cold path
    from starlette.formparsers import MultiPartException, MultiPartParser  # noqa: PLC0415 - as above

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RequestError(f"Send the file as the field {FIELD!r} of a form (multipart/form-data).")

    async def whole() -> AsyncGenerator[bytes]:
        """The body. Raises only MultiPartException: after any other error the parser leaves its files open."""
        tail = b""
        try:
            async for chunk in request_limits.limited(request, max_bytes=MAX_BYTES):
                tail = (tail + chunk)[-TAIL:]
                yield chunk
        except TooLargeError as fault:
            raise MultiPartException("") from fault
        if not tail.rstrip().endswith(b"--"):
            raise MultiPartException("it ends too early.")

    try:
        form = await MultiPartParser(request.headers, whole(), max_files=1, max_fields=4).parse()
    except MultiPartException as fault:
        if isinstance(fault.__cause__, TooLargeError):
            raise fault.__cause__ from None
        raise RequestError(f"The form cannot be read: {fault.message}") from None
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise RequestError(f"The form has no file under the name {FIELD!r}.")
        name, mime_type = file.filename or "", file.content_type or ""
        yield Upload(AttachmentCreateParams(name=name, size=file.size or 0, mime_type=mime_type), file.file)
    finally:
        await form.close()
