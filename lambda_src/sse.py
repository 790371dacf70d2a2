"""Server-sent events parser that follows the HTML standard: bytes in, messages out. Pure; knows no HTTP and no JSON.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. Lines end only in CR LF, LF
or CR: `str.splitlines` and httpx2's line reader also split at U+2028, U+2029 and U+0085, which an answer may contain.
httpx2's EventSource keeps a byte order mark, delays a line that ends in CR until more bytes arrive, and emits events
without data.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `id` is the last id in the stream, "" before the first."""

    data: str
    event: str = "message"
    id: str = ""


class Parser:
    """Incremental parser: `feed` takes chunks of any size. An event is complete only after its blank line."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # chunks of the current line
        self._after_cr = False
        self._is_first_line = True
        self._data: list[str] = []
        self._event = self._id = ""

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        *ended, rest = _LINE_END.split(chunk)
        messages: list[Message] = []
        for line in ended:
            message = self._interpret(b"".join([*self._line, line]))
            self._line.clear()
            if message is not None:
                messages.append(message)
        self._line.append(rest)
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        return messages

    def _interpret(self, line: bytes) -> Message | None:
        """Process one line; returns a message if the line is blank and there is data."""
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
            case _:  # a comment, or a field that is not used here
                pass
        return None


def read(body: bytes) -> list[Message]:
    """Every message of a complete stream."""
    return Parser().feed(body)


async def messages(chunks: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """Each message as soon as its last byte has arrived."""
    parser = Parser()
    async for chunk in chunks:
        for message in parser.feed(chunk):
            yield message
