"""The subset of HTTP/1.1 (RFC 9112) that a client of the Runtime API needs, as bytes. Knows no socket and no Lambda.

Writing requests: `head`, `chunk`, `last_chunk`. Reading responses: `ResponseParser`, fed with whatever arrived.
"""

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass

HEAD_MAX_BYTES = 1024 * 1024  # Lambda puts ARN and trace into headers; more than this is no Runtime API
CHUNK_SIZE = re.compile("[0-9a-fA-F]{1,16}")


class HttpError(Exception):
    """Bytes that are not the HTTP/1.1 we speak; the text says where."""


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the Runtime API: status, headers (names in lower case), the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_last: bool  # the connection carries no other one


def head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A start line and headers, up to and with the empty line. HttpError when a value would break the line."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise HttpError(f"a line break inside the head of {start!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data`, never empty (that would be the last chunk), framed for Transfer-Encoding: chunked."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    return head("0", trailers)


class ResponseParser:
    """Parses bytes into one response after another. Skips 1xx responses, which precede the final one."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._closed = False
        self._found: list[ApiResponse] = []
        self._steps = self._read()
        next(self._steps)

    def feed(self, data: bytes) -> list[ApiResponse]:
        """The responses that `data` completes. HttpError when it is no HTTP; the parser is of no use after that."""
        self._buffer += data
        next(self._steps)
        responses, self._found = self._found, []
        return responses

    def close(self) -> list[ApiResponse]:
        """The connection was closed: that completes a response without a length."""
        self._closed = True
        return self.feed(b"")

    # Each of these yields when it needs more bytes.

    def _read(self) -> Generator[None, None, None]:
        while True:
            line, _, rest = (yield from self._until(b"\r\n\r\n")).partition("\r\n")
            version, _, after = line.partition(" ")
            code = after.partition(" ")[0]  # the reason may be missing
            if not version.startswith("HTTP/") or not code.isdecimal():
                raise HttpError(f"not a status line: {line[:80]!r}")
            status, headers = int(code), _headers(rest)
            length = headers.get("content-length")
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body = yield from self._chunks()
            elif length is not None and not length.isdecimal():
                raise HttpError(f"content-length: {length!r}")
            elif length is not None or status < 200 or status in (204, 304):
                body = yield from self._take(int(length or 0))
            else:
                while not self._closed:
                    yield
                body = yield from self._take(len(self._buffer))
            if status >= 200:
                kept = headers.get("connection", "close" if version == "HTTP/1.0" else "keep-alive")
                self._found.append(ApiResponse(status, headers, body, is_last=kept.lower() == "close"))

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while True:
            line = yield from self._until(b"\r\n")
            size = line.partition(";")[0].rstrip(" \t")
            if not CHUNK_SIZE.fullmatch(size):  # int() would take -5, 0x5 and 1_0 too
                raise HttpError(f"not a chunk size: {line[:80]!r}")
            if not (length := int(size, 16)):
                while (yield from self._until(b"\r\n")):
                    pass  # trailers, which nothing here reads
                return bytes(body)
            body += yield from self._take(length)
            if (yield from self._take(2)) != b"\r\n":
                raise HttpError("a chunk longer than its size")

    def _take(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _until(self, mark: bytes) -> Generator[None, None, str]:
        """The text before `mark`; both are taken out of the buffer."""
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > HEAD_MAX_BYTES:
                raise HttpError(f"a head of more than {HEAD_MAX_BYTES} bytes")
            yield
        text = self._buffer[:at].decode("latin-1")
        del self._buffer[: at + len(mark)]
        return text


def _headers(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, text.split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(f"not a header line: {line[:80]!r}")
        key, value = name.lower(), value.strip()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
