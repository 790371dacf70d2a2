"""lambda_src/runtime/http1.py: writes HTTP/1.1 heads and chunks, and parses responses that arrive in any pieces."""

import pytest

from lambda_src.runtime.http1 import ApiResponse, HttpError, ResponseParser, chunk, head, last_chunk

NEXT = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n1\r\n \r\n5;ext=1\r\nworld\r\n0\r\nA: 1\r\nB: 2\r\n\r\n"
)


def test_a_head_is_written_line_by_line() -> None:
    assert head("GET /next HTTP/1.1", [("Host", "h:1")]) == b"GET /next HTTP/1.1\r\nHost: h:1\r\n\r\n"


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(HttpError, match="line break"):
        head("GET / HTTP/1.1", [("X", "a\r\nY: b")])


def test_a_chunk_is_its_size_in_hex_and_its_bytes() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_the_last_chunk_carries_the_trailers() -> None:
    assert (last_chunk(), last_chunk([("A", "1")])) == (b"0\r\n\r\n", b"0\r\nA: 1\r\n\r\n")


def read(data: bytes, size: int = 1000) -> list[ApiResponse]:
    """The responses in `data`, which arrives `size` bytes at a time."""
    parser = ResponseParser()
    return [response for at in range(0, len(data), size) for response in parser.feed(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_response_is_parsed_the_same_however_it_is_split(size: int) -> None:
    headers = {"lambda-runtime-aws-request-id": "r", "content-length": "2"}
    assert read(NEXT, size) == [ApiResponse(200, headers, b"{}", is_last=False)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_chunked_response_is_parsed_the_same_however_it_is_split_and_without_its_trailers(size: int) -> None:
    assert [response.body for response in read(CHUNKED + NEXT, size)] == [b"hello world", b"{}"]


def test_two_responses_in_one_piece_are_two_responses() -> None:
    assert len(read(NEXT + NEXT)) == 2


def test_a_response_without_a_length_ends_when_the_connection_closes() -> None:
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.0 200 OK\r\n\r\nab") + parser.feed(b"c") == []
    assert [response.body for response in parser.close()] == [b"abc"]


@pytest.mark.parametrize("status", ["204 No Content", "304"])
def test_some_statuses_have_no_body(status: str) -> None:
    assert [response.body for response in read(f"HTTP/1.1 {status}\r\n\r\n".encode())] == [b""]


def test_an_informational_response_is_skipped() -> None:
    assert [response.status for response in read(b"HTTP/1.1 100 Continue\r\n\r\n" + NEXT)] == [200]


def test_a_truncated_response_is_dropped() -> None:
    parser = ResponseParser()
    assert parser.feed(CHUNKED[:-3]) + parser.close() == []


@pytest.mark.parametrize(
    ("first_lines", "is_last"),
    [
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", True),
        (b"HTTP/1.0 200 OK", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", False),
    ],
)
def test_a_response_tells_whether_the_connection_stays_open(first_lines: bytes, is_last: bool) -> None:
    assert [response.is_last for response in read(first_lines + b"\r\nContent-Length: 0\r\n\r\n")] == [is_last]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1024 * 1024),
    ],
    ids=["line", "request", "colon", "space", "length", "size", "longer", "endless"],
)
def test_malformed_http_is_an_error(data: bytes) -> None:
    with pytest.raises(HttpError):
        read(data, len(data))


@pytest.mark.parametrize("size", [b"-5", b"+5", b"0x5", b"1_0", b"", b" 5", b"5 5", b"\xb2", b"g", b"f" * 17])
def test_a_chunk_size_may_have_only_hexadecimal_digits(size: bytes) -> None:
    """int() accepts more than that, and another parser of the same bytes might read it differently."""
    with pytest.raises(HttpError, match="not a chunk size"):
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n")
