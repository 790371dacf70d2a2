"""As much HTTP/1.1 (RFC 9112) as the Runtime API speaks, as bytes, for both ends. Knows no socket and no Lambda.

Writing: `head`, `chunk`, `last_chunk`. Reading: `Parser`, fed with whatever arrived, yields Head, bytes, End.
"""

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HEAD_MAX_BYTES = 1024 * 1024  # Lambda puts ARN and trace into headers; more than this is no Runtime API
LAST_CHUNK = b"0\r\n\r\n"
CHUNK_SIZE = re.compile("[0-9a-fA-F]{1,16}")


class HttpError(Exception):
    """Bytes that are not the HTTP/1.1 we speak; the text says where."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request or status line, split at its first two spaces; headers by lower-case name, repeated ones joined."""

    start: tuple[str, str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class End:
    """The end of a message, with its trailers (names in lower case)."""

    trailers: dict[str, str]


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


class _Part(enum.Enum):
    """Where in a message the next byte belongs."""

    HEAD = enum.auto()
    BODY = enum.auto()  # `_left` bytes, then the end
    CHUNK_SIZE = enum.auto()
    CHUNK = enum.auto()  # `_left` bytes, then CRLF
    TRAILERS = enum.auto()
    UNTIL_CLOSE = enum.auto()


class Parser:
    """Messages out of bytes: Head, then bytes as they come, then End; one message after another.

    `requests` tells the two ends apart: a request without a length has no body, an answer's then lasts until the close.
    """

    def __init__(self, *, requests: bool) -> None:
        self._requests = requests
        self._buffer = bytearray()
        self._part = _Part.HEAD
        self._left = 0

    def feed(self, data: bytes) -> Iterator[Head | bytes | End]:
        """Everything that `data` completes. HttpError when it is no HTTP/1.1; the parser is of no use after that."""
        self._buffer += data
        while (event := self._step()) is not None:
            yield event

    def close(self) -> Iterator[End]:
        """The connection was closed by the other end. HttpError when that cuts a message."""
        if self._part is _Part.UNTIL_CLOSE:
            self._part = _Part.HEAD
            yield End({})
        elif self._part is not _Part.HEAD or self._buffer:
            raise HttpError("the connection was closed in the middle of a message")

    def _step(self) -> Head | bytes | End | None:
        match self._part:
            case _Part.HEAD:
                return self._head()
            case _Part.BODY | _Part.CHUNK if self._left:
                return self._take()
            case _Part.BODY:
                self._part = _Part.HEAD
                return End({})
            case _Part.CHUNK:
                return self._step() if self._after_chunk() else None
            case _Part.CHUNK_SIZE:
                return self._step() if self._size() else None
            case _Part.TRAILERS:
                return self._trailers()
            case _Part.UNTIL_CLOSE:
                self._left = len(self._buffer)
                return self._take()

    def _take(self) -> bytes | None:
        if not self._buffer:
            return None
        data = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(data)
        return data

    def _until(self, mark: bytes) -> str | None:
        """The text before `mark`, both taken out of the buffer; None while it has not arrived."""
        at = self._buffer.find(mark)
        if at < 0:
            if len(self._buffer) > HEAD_MAX_BYTES:
                raise HttpError(f"a head of more than {HEAD_MAX_BYTES} bytes")
            return None
        text = self._buffer[:at].decode("latin-1")
        del self._buffer[: at + len(mark)]
        return text

    def _head(self) -> Head | None:
        if (text := self._until(b"\r\n\r\n")) is None:
            return None
        line, _, rest = text.partition("\r\n")
        first, _, after = line.partition(" ")
        second, _, third = after.partition(" ")  # the reason of a status line may be missing
        if not first or not second:
            raise HttpError(f"not a start line: {line[:80]!r}")
        found = Head((first, second, third), _headers(rest))
        length = found.headers.get("content-length")
        if found.headers.get("transfer-encoding", "").lower() == "chunked":
            self._part = _Part.CHUNK_SIZE
        elif length is not None and not length.isdecimal():
            raise HttpError(f"content-length: {length!r}")
        elif length is not None or self._requests or second[:1] == "1" or second in ("204", "304"):
            self._part, self._left = _Part.BODY, int(length or 0)
        else:
            self._part = _Part.UNTIL_CLOSE
        return found

    def _size(self) -> bool:
        if (line := self._until(b"\r\n")) is None:
            return False
        size = line.partition(";")[0].rstrip(" \t")
        if not CHUNK_SIZE.fullmatch(size):  # int() would take -5, 0x5 and 1_0 too
            raise HttpError(f"not a chunk size: {line[:80]!r}")
        self._left = int(size, 16)
        self._part = _Part.CHUNK if self._left else _Part.TRAILERS
        return True

    def _after_chunk(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise HttpError("a chunk longer than its size")
        del self._buffer[:2]
        self._part = _Part.CHUNK_SIZE
        return True

    def _trailers(self) -> End | None:
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            text: str | None = ""
        elif (text := self._until(b"\r\n\r\n")) is None:
            return None
        self._part = _Part.HEAD
        return End(_headers(text or ""))


def _headers(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, text.split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(f"not a header line: {line[:80]!r}")
        key, value = name.lower(), value.strip()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
