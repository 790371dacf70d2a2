"""How much one request may bring, before anybody looks at what it says. Knows headers and JSON; no ChatKit, no user.

What a field may hold stands in lambda_src/chat/validation.py; how many bytes a body has is a setting
(CHAT_MAX_BODY_BYTES). Ids need no
rule here: a store finds nothing under one that cannot be kept (store/bounds.py).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from math import isinf
from typing import Any, Protocol

from pydantic_core import from_json

from lambda_src.errors import RequestError, TooLargeError

MAX_HEADER_BYTES = 16_384  # names and values; tokens take 8 KB at most (auth/tokens.py), API Gateway 10 KB of it all
MAX_URL_CHARS = 2_048  # two ids of the longest kind, encoded; our own URLs have a tenth of that
MAX_GUEST_BYTES = 16_384  # of POST /auth/guest: a CAPTCHA's token has 2 to 8 KB
MAX_DEPTH = 32  # levels of JSON; ChatKit's own go to 8, a widget's state or a tool's output rarely to 16
MAX_VALUES = 10_000  # entries of all lists and objects: 1 MB of `[[],[],...` would be 300,000 objects in memory


class Received(Protocol):
    """What is needed of a request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, under lower-case names."""
        ...

    @property
    def url(self) -> object:
        """Its URL; str() of it is the whole."""
        ...


class Streamed(Received, Protocol):
    """The same with its body."""

    def stream(self) -> AsyncIterator[bytes]:
        """The body, in pieces."""
        ...


def check_head(request: Received) -> None:
    """TooLargeError or RequestError for a head that no request of ours has."""
    if sum(len(name) + len(value) for name, value in request.headers.items()) > MAX_HEADER_BYTES:
        raise TooLargeError(f"The headers of this request are larger than {MAX_HEADER_BYTES:,} bytes.")
    if len(str(request.url)) > MAX_URL_CHARS:
        raise TooLargeError(f"The URL of this request is longer than {MAX_URL_CHARS:,} characters.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("Send the body as it is: compressed ones are not taken.")  # 1 MB can unpack to 1 GB


async def limited(request: Streamed, *, max_bytes: int) -> AsyncGenerator[bytes]:
    """The body as it comes. TooLargeError: before any of it is read, where its length says so, else once it is over."""
    too_large = TooLargeError(f"This request is larger than {max_bytes:,} bytes. Send less in one message.")
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
    """RequestError for what is no JSON (NaN and 1e999 included), is nested too deep or has too many values."""
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
