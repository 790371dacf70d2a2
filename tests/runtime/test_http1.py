"""HTTP/1.1 as bytes: what we write, and what we read however it is cut."""

import pytest

from lambda_src.runtime.http1 import End, Head, HttpError, Parser, chunk, head, last_chunk

NEXT = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nContent-Length: 2\r\n\r\n{}"
POST = (
    b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n"
    b"5\r\nhello\r\n1\r\n \r\n5;ext=1\r\nworld\r\n0\r\nA: 1\r\nB: 2\r\n\r\n"
)


def test_a_head_is_written_line_by_line() -> None:
    assert head("GET /next HTTP/1.1", [("Host", "h:1")]) == b"GET /next HTTP/1.1\r\nHost: h:1\r\n\r\n"


def test_a_line_break_cannot_be_smuggled_into_a_head() -> None:
    with pytest.raises(HttpError, match="line break"):
        head("GET / HTTP/1.1", [("X", "a\r\nY: b")])


def test_a_chunk_is_its_size_in_hex_and_its_bytes() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_the_last_chunk_carries_the_trailers() -> None:
    assert (last_chunk(), last_chunk([("A", "1")])) == (b"0\r\n\r\n", b"0\r\nA: 1\r\n\r\n")


def joined(parser: Parser, pieces: list[bytes]) -> list[Head | bytes | End]:
    """All parts, with neighbouring body bytes joined."""
    found: list[Head | bytes | End] = []
    for piece in pieces:
        for part in parser.feed(piece):
            if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += part
            else:
                found.append(part)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_is_read_the_same_however_it_is_cut(size: int) -> None:
    pieces = [NEXT[at : at + size] for at in range(0, len(NEXT), size)]
    expected = {"lambda-runtime-aws-request-id": "r", "content-length": "2"}
    assert joined(Parser(requests=False), pieces) == [Head(("HTTP/1.1", "200", "OK"), expected), b"{}", End({})]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_chunked_request_with_trailers_is_read_the_same_however_it_is_cut(size: int) -> None:
    pieces = [POST[at : at + size] for at in range(0, len(POST), size)]
    _, body, end = joined(Parser(requests=True), pieces)
    assert (body, end) == (b"hello world", End({"a": "1", "b": "2"}))


def test_two_answers_in_one_piece_are_two_answers() -> None:
    assert sum(isinstance(part, End) for part in Parser(requests=False).feed(NEXT + NEXT)) == 2


def test_an_answer_without_a_length_lasts_until_the_close() -> None:
    parser = Parser(requests=False)
    parts = [*parser.feed(b"HTTP/1.0 200 OK\r\n\r\nab"), *parser.feed(b"c"), *parser.close()]
    assert parts[1:] == [b"ab", b"c", End({})]


@pytest.mark.parametrize("status", ["100 Continue", "204 No Content", "304 Not Modified"])
def test_some_statuses_have_no_body(status: str) -> None:
    assert isinstance(list(Parser(requests=False).feed(f"HTTP/1.1 {status}\r\n\r\n".encode()))[-1], End)


def test_a_close_in_the_middle_of_a_message_is_an_error() -> None:
    parser = Parser(requests=True)
    list(parser.feed(POST[:-3]))
    with pytest.raises(HttpError, match="closed"):
        list(parser.close())


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspace : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"GET / HTTP/1.1\r\nX: " + b"x" * (1024 * 1024),
    ],
    ids=["line", "colon", "space", "length", "size", "longer", "endless"],
)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    with pytest.raises(HttpError):
        list(Parser(requests=True).feed(data))


@pytest.mark.parametrize("size", [b"-5", b"+5", b"0x5", b"1_0", b"", b" 5", b"5 5", b"\xb2", b"g", b"f" * 17])
def test_a_chunks_size_is_hexadecimal_digits_and_nothing_else(size: bytes) -> None:
    """What int() takes beside them, another reader of the same bytes may read otherwise."""
    start = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(HttpError, match="not a chunk size"):
        list(Parser(requests=True).feed(start + size + b"\r\nhello\r\n"))
