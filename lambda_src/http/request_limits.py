"""Size limits on requests, checked before they are parsed: headers, URL, body, JSON depth. Knows no ChatKit, no user.

lambda_src/chat/validation.py limits single fields, and CHAT_MAX_BODY_BYTES the body. Ids need no limit here: a store
finds nothing under an id that it could not store (store/bounds.py).
"""

from collections.abc import AsyncGenerator
from math import isinf
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from lambda_src.errors import RequestError, TooLargeError
from lambda_src.languages import Sentence

MAX_HEADER_BYTES = 16_384  # names and values; a token has 8 KB at most (auth/jwt_claims.py), API Gateway allows 10 KB
MAX_URL_CHARS = 2_048  # two of the longest ids, encoded; our own URLs have a tenth of that
MAX_GUEST_BYTES = 16_384  # of POST /auth/guest: a CAPTCHA's token has 2 to 8 KB
MAX_DEPTH = 32  # levels of JSON; ChatKit's own go to 8, a widget's state or a tool's output rarely to 16
MAX_VALUES = 10_000  # entries of all lists and objects: 1 MB of `[[],[],...` would be 300,000 objects in memory


def check_head(request: Request) -> None:
    """TooLargeError or RequestError if the headers or the URL exceed the limits."""
    if sum(len(name) + len(value) for name, value in request.headers.items()) > MAX_HEADER_BYTES:
        raise TooLargeError(f"The headers of this request are larger than {MAX_HEADER_BYTES:,} bytes.")
    if len(str(request.url)) > MAX_URL_CHARS:
        raise TooLargeError(f"The URL of this request is longer than {MAX_URL_CHARS:,} characters.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("Send the body uncompressed: compressed bodies are not accepted.")  # 1 MB can unpack to 1 GB


async def limited(request: Request, *, max_bytes: int) -> AsyncGenerator[bytes]:
    """The body in chunks. TooLargeError if it is larger, before reading if Content-Length says so."""
    too_large = TooLargeError(
        Sentence("This request is larger than {most} bytes. Send less in one message.", most=max_bytes)
    )
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > max_bytes:
            raise too_large
        yield chunk


def check_json(body: bytes) -> None:
    """RequestError if the body is not JSON (NaN and 1e999 are not), is nested too deep or has too many values."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as fault:
        raise RequestError(f"The body is not JSON: {fault}.") from None
    waiting: list[tuple[Any, int]] = [([value], 0)]
    values = 0
    while waiting:
        inner, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise RequestError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        entries = inner.values() if isinstance(inner, dict) else inner
        values += len(entries)
        if values > MAX_VALUES:
            raise RequestError(f"The body has more than {MAX_VALUES:,} values.")
        for entry in entries:
            if isinstance(entry, dict | list):
                waiting.append((entry, depth + 1))
            elif isinstance(entry, float) and isinf(entry):
                raise RequestError("The body is not JSON that others can read: a number is too large.")
