"""The server-sent events parser, on the cases of the HTML standard and web-platform-tests, split at any byte."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src import sse
from lambda_src.sse import Message

ROOT = Path(__file__).resolve().parents[1]
# https://html.spec.whatwg.org/multipage/server-sent-events.html and
# https://github.com/web-platform-tests/wpt/tree/master/eventsource (format-*): bytes sent, messages received.
CASES: dict[str, tuple[bytes, list[Message]]] = {
    "the standard's stock ticker": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Message("YHOO\n+2\n10")]),
    "the standard's four blocks": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [Message("first event", id="1"), Message("second event"), Message(" third event")],
    ),
    "the standard's empty data": (b"data\n\ndata\ndata\n\ndata:\n", [Message(""), Message("\n")]),
    "the standard's two equal events": (b"data:test\n\ndata: test\n\n", [Message("test"), Message("test")]),
    "a byte order mark": (b"\xef\xbb\xbfdata:1\n\ndata:2\n\n", [Message("1"), Message("2")]),
    "a byte order mark later on": (b"data:1\n\n\xef\xbb\xbfdata:2\n\ndata:3\n\n", [Message("1"), Message("3")]),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfdata:1\n\ndata:2\n\n", [Message("2")]),
    "comments": (b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 3000 + b"\rdata:3\n:data:fail\r\n\n", [Message("1\n2\n3")]),
    "the end before a blank line": (b"data:test\r\n\r\ndata:lost", [Message("test")]),
    "the end after one line end": (b"data:test\n\ndata:lost\n", [Message("test")]),
    "fields of other names": (b"data:test\n data\ndata\nfoobar:xxx\njusttext\n:a comment\n\n", [Message("test\n")]),
    "a space before the name": (b" data:x\ndata\n\n", [Message("")]),
    "only one leading space goes": (b"data:\ttest\rdata: \ndata:test\n\n", [Message("\ttest\n\ntest")]),
    "every line end": (b"data:1\rdata:2\r\ndata:3\ndata\n\r\ndata:4\r\r", [Message("1\n2\n3\n"), Message("4")]),
    "names in capitals": (b"DATA:x\nData:y\n\n", []),
    "NUL in data": (b"data:\0\n\n", [Message("\0")]),
    "NUL in an id": (b"id: 1\0\ndata: x\n\n", [Message("x")]),
    "an id stays": (
        b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [Message("a", id="7"), Message("b", id="7"), Message("c")],
    ),
    "an id without data": (b"id: 7\n\ndata: b\n\n", [Message("b", id="7")]),
    "event types": (
        b"event: add\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\n",
        [Message("1", "add"), Message("2"), Message("3")],
    ),
    "a type without data": (b"event: add\n\ndata: x\n\n", [Message("x")]),
    "retry": (b"retry: 1000\nretry: soon\ndata: x\n\n", [Message("x")]),
    "colons in data": (b"data: a: b\ndata::c\n\n", [Message("a: b\n:c")]),
    "what is not UTF-8": (b"data: \xff\xe2\x80x\n\n", [Message("��x")]),
    "other separators of Unicode": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        [Message("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg")],
    ),
    "emoji": ("data: 👩🏽‍🚀\n\n".encode(), [Message("👩🏽‍🚀")]),
    "nothing": (b"", []),
    "blank lines": (b"\n\r\n\r\r\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "seen"), CASES.values(), ids=CASES)
def test_a_stream_is_parsed_as_the_standard_requires(stream: bytes, seen: list[Message]) -> None:
    assert sse.read(stream) == seen


@pytest.mark.parametrize(("stream", "seen"), CASES.values(), ids=CASES)
def test_the_result_does_not_depend_on_where_the_stream_is_split(stream: bytes, seen: list[Message]) -> None:
    for at in range(len(stream) + 1):
        parser = sse.Parser()
        assert [*parser.feed(stream[:at]), *parser.feed(b""), *parser.feed(stream[at:])] == seen
    parser = sse.Parser()
    assert [message for byte in stream for message in parser.feed(bytes([byte]))] == seen


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_a_message_is_complete_with_its_last_byte(end: bytes) -> None:
    """A carriage return ends a line at once, whether or not a line feed follows."""
    parser = sse.Parser()
    assert parser.feed(b"data: x" + end.removesuffix(b"\n")) == ([Message("x")] if end != b"\n\n" else [])
    assert parser.feed(end[-1:] if end.endswith(b"\n") else b"") == ([] if end != b"\n\n" else [Message("x")])
    assert parser.feed(b"data: y\n\n") == [Message("y")]


@given(st.lists(st.text()), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_json_survives_the_round_trip(texts: list[str], end: str, data: st.DataObject) -> None:
    body = "".join(f"data: {json.dumps(text, ensure_ascii=False)}{end}{end}" for text in texts).encode(errors="replace")
    parser, seen, rest = sse.Parser(), list[str](), body
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        seen += [json.loads(message.data) for message in parser.feed(rest[:size])]
        rest = rest[size:]
    assert seen == [text.encode(errors="replace").decode() for text in texts]


async def test_messages_are_yielded_as_they_arrive() -> None:
    fed: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"data: 1\n", b"\ndata: 2", b"\n\n"):
            fed.append(piece)
            yield piece

    seen = [(message.data, len(fed)) async for message in sse.messages(pieces())]
    assert seen == [("1", 2), ("2", 3)]


def test_no_other_module_parses_event_streams_by_hand() -> None:
    by_hand = re.compile(r"aiter_lines|iter_lines|startswith\(b?\"(?:data|id): \"\)")
    offenders = {
        str(path.relative_to(ROOT))
        for folder in ("lambda_src", "infra", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__) and "agent" not in path.relative_to(ROOT).parts[:2]
        and by_hand.search(path.read_text(encoding="utf-8"))
    }  # fmt: skip
    assert offenders == set()
