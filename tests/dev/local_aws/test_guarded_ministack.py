"""lambda_src/dev/local_aws/guarded_ministack.py: refuses web pages, serves SDKs and presigned URLs."""

from typing import Any

import pytest

from lambda_src.dev.local_aws.guarded_ministack import Message, guarded, refuses


def refused(path: str = "/", query: str = "", **headers: str) -> bool:
    """Whether the guard refuses such a request."""
    all_headers = {"host": "127.0.0.1:4566", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in all_headers.items()]
    return refuses({"type": "http", "path": path, "query_string": query.encode(), "headers": pairs})


KEY = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://127.0.0.1:8000"}, {"origin": "null"}, {"origin": "http://evil.test", "authorization": KEY},
     {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"host": "evil.test:4566"}, {"host": ""},
     {"host": "127.0.0.1.evil.test:4566"}],
)  # fmt: skip
def test_a_web_page_is_refused_even_with_credentials(headers: dict[str, str]) -> None:
    assert refused(**headers)
    assert refused("/chat-files/x", **headers)


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config"])
def test_reset_and_config_endpoints_are_refused(path: str) -> None:
    assert refused(path)


def test_an_sdk_a_presigned_url_and_a_function_url_are_served() -> None:
    assert not refused(authorization=KEY)
    assert not refused(host="localhost:4566")
    assert not refused("/chat-files/x", "X-Amz-Algorithm=a&X-Amz-Signature=b", origin="http://127.0.0.1:8000")
    assert not refused("/_aws/lambda-url/abc/chatkit", origin="http://127.0.0.1:8000", sec_fetch_site="cross-site")
    assert refused("/_aws/lambda-url/abc/chatkit", host="evil.test")


async def test_a_request_is_passed_on_as_https_because_bucket_policies_require_tls() -> None:
    scopes: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    await guarded(app)(scope, None, None)  # type: ignore[arg-type] # the app neither receives nor sends
    assert [request["scheme"] for request in scopes] == ["https"]
