"""lambda_src/runtime/protocol.py: the Runtime API's headers, preludes and error reports as exact bytes and values."""

from base64 import b64decode

import pytest

from lambda_src.runtime import protocol
from lambda_src.runtime.protocol import ErrorReport, Invocation, Prelude

REPORT = ErrorReport(
    kind="Function.ValueError", name="ValueError", message="no", stack=["line"], request_id="r-1", cause='{"paths": []}'
)
REPORT_JSON = b'{"errorMessage": "no", "errorType": "ValueError", "requestId": "r-1", "stackTrace": ["line"]}'


def test_a_prelude_is_compact_json_with_all_three_keys_followed_by_eight_nul_bytes() -> None:
    encoded = Prelude.from_asgi(200, [(b"Content-Type", b"text/plain")]).encode()
    assert encoded == b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}' + b"\0" * 8


def test_repeated_headers_are_joined_with_a_comma_and_a_space() -> None:
    assert Prelude.from_asgi(200, [(b"x-a", b"1"), (b"X-A", b"2")]).headers == {"x-a": "1, 2"}


def test_cookies_are_not_joined() -> None:
    cookies = [(b"set-cookie", b"a=1; Path=/, x"), (b"Set-Cookie", b"b=2")]
    assert Prelude.from_asgi(200, cookies).cookies == ["a=1; Path=/, x", "b=2"]


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Content-Length",
        "Proxy-Authenticate", "Proxy-Anything",
    ],
)  # fmt: skip
def test_hop_by_hop_headers_are_dropped(name: str) -> None:
    assert Prelude.from_asgi(200, [(name.encode(), b"x"), (b"x-kept", b"1")]).headers == {"x-kept": "1"}


def test_content_encoding_is_kept() -> None:
    assert Prelude.from_asgi(200, [(b"content-encoding", b"gzip")]).headers == {"content-encoding": "gzip"}


def test_non_ascii_header_bytes_are_kept() -> None:
    encoded = Prelude.from_asgi(200, [(b"x-name", "é".encode("latin-1"))]).encode()
    assert encoded.startswith(b'{"statusCode":200,"headers":{"x-name":"\\u00e9"}')


def test_an_invocation_consists_of_the_body_and_headers_of_the_response_to_next() -> None:
    headers = {
        "lambda-runtime-aws-request-id": "r-1",
        "lambda-runtime-deadline-ms": "17",
        "lambda-runtime-invoked-function-arn": "arn",
        "lambda-runtime-trace-id": "t",
        "lambda-runtime-invocation-id": "i-1",
    }
    assert Invocation.from_response(headers, b"{}") == Invocation(
        request_id="r-1", deadline_ms=17, event=b"{}", function_arn="arn", trace_id="t",
        invocation_id="i-1",
    )  # fmt: skip


def test_an_empty_header_of_next_counts_as_absent() -> None:
    headers = {
        "lambda-runtime-aws-request-id": "r-1",
        "lambda-runtime-deadline-ms": "17",
        "lambda-runtime-trace-id": "",
    }
    assert Invocation.from_response(headers, b"{}") == Invocation(request_id="r-1", deadline_ms=17, event=b"{}")


def test_a_response_to_next_without_a_request_id_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="Lambda-Runtime-Aws-Request-Id"):
        Invocation.from_response({"lambda-runtime-deadline-ms": "17"}, b"{}")


@pytest.mark.parametrize("headers", [{}, {"lambda-runtime-deadline-ms": "soon"}])
def test_an_invocation_without_a_deadline_never_times_out(headers: dict[str, str]) -> None:
    invocation = Invocation.from_response({"lambda-runtime-aws-request-id": "r"} | headers, b"{}")
    assert invocation.deadline_ms == protocol.NO_DEADLINE_MS


def test_the_headers_of_a_streamed_response_declare_its_trailers() -> None:
    assert protocol.streaming_headers("i-1") == [
        ("Lambda-Runtime-Function-Response-Mode", "streaming"),
        ("Content-Type", "application/vnd.awslambda.http-integration-response"),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
        ("Lambda-Runtime-Invocation-Id", "i-1"),
    ]


def test_the_invocation_id_is_echoed_only_if_next_had_one() -> None:
    assert protocol.echo_headers(None) == []


def test_an_error_before_the_first_byte_has_its_type_and_cause_in_headers() -> None:
    assert REPORT.encode() == REPORT_JSON
    assert REPORT.headers() == [
        ("Lambda-Runtime-Function-Error-Type", "Function.ValueError"),
        ("Lambda-Runtime-Function-XRay-Error-Cause", '{"paths": []}'),
        ("Content-Type", "application/vnd.aws.lambda.error+json"),
    ]


def test_a_midstream_error_is_two_trailers_of_which_the_second_is_base64() -> None:
    kind, text = REPORT.trailers()
    assert kind == ("Lambda-Runtime-Function-Error-Type", "Function.ValueError")
    assert (text[0], b64decode(text[1])) == ("Lambda-Runtime-Function-Error-Body", REPORT_JSON)
