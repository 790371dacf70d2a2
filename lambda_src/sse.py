"""Server-sent events, parsed as the HTML standard says: bytes in, messages out. Pure; knows no HTTP and no JSON.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Lines end in CR LF, LF or CR
and in nothing else: `str.splitlines` and httpx2's reader of lines also split at U+2028, U+2029 and U+0085, which an
answer may contain. httpx2's own EventSource keeps a byte order mark, holds a line that ends in CR back until more
bytes arrive, and emits events without data.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `id` is the last one that the stream has sent, "" before the first."""

    data: str
    event: str = "message"
    id: str = ""


class Parser:
    """`feed` takes a stream in pieces of any size. What follows the last blank line is never dispatched."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of the line that has not ended yet
        self._after_cr = False
        self._is_first_line = True
        self._data: list[str] = []
        self._event = self._id = ""

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        *ended, rest = _LINE_END.split(piece)
        messages: list[Message] = []
        for line in ended:
            message = self._interpret(b"".join([*self._line, line]))
            self._line.clear()
            if message is not None:
                messages.append(message)
        self._line.append(rest)
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        return messages

    def _interpret(self, line: bytes) -> Message | None:
        """The message that a whole line dispatches, if it is blank and there is data."""
        if self._is_first_line:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._is_first_line = False
        if not line:
            message = Message("\n".join(self._data), self._event or "message", self._id) if self._data else None
            self._data, self._event = [], ""
            return message
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case _:  # a comment, or a field that no reader here needs
                pass
        return None


def read(body: bytes) -> list[Message]:
    """Every message of a whole stream."""
    return Parser().feed(body)


async def messages(pieces: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """Each message as soon as its last byte has arrived."""
    parser = Parser()
    async for piece in pieces:
        for message in parser.feed(piece):
            yield message
