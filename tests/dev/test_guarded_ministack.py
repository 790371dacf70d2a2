"""The guard in front of the local AWS refuses what only a web page sends, and passes SDKs and presigned URLs."""

from typing import Any

import pytest

from lambda_src.dev.guarded_ministack import Message, guarded, refuses


def refused(path: str = "/", query: str = "", **headers: str) -> bool:
    """Whether the guard refuses such a request."""
    named = {"host": "127.0.0.1:4566", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    return refuses({"type": "http", "path": path, "query_string": query.encode(), "headers": pairs})


KEY = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://127.0.0.1:8000"}, {"origin": "null"}, {"origin": "http://evil.test", "authorization": KEY},
     {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"host": "evil.test:4566"}, {"host": ""},
     {"host": "127.0.0.1.evil.test:4566"}],
)  # fmt: skip
def test_a_page_is_refused_whatever_key_it_names(headers: dict[str, str]) -> None:
    assert refused(**headers)
    assert refused("/chat-files/x", **headers)


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config"])
def test_nobody_resets_or_reconfigures_it(path: str) -> None:
    assert refused(path)


def test_an_sdk_passes_and_so_does_a_page_with_an_address_made_for_it() -> None:
    assert not refused(authorization=KEY)
    assert not refused(host="localhost:4566")
    assert not refused("/chat-files/x", "X-Amz-Algorithm=a&X-Amz-Signature=b", origin="http://127.0.0.1:8000")
    assert not refused("/_aws/lambda-url/abc/chatkit", origin="http://127.0.0.1:8000", sec_fetch_site="cross-site")
    assert refused("/_aws/lambda-url/abc/chatkit", host="evil.test")


async def test_a_request_passes_as_one_over_tls_which_bucket_policies_demand() -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    await guarded(app)(scope, None, None)  # type: ignore[arg-type] # the app neither reads nor answers
    assert [request["scheme"] for request in seen] == ["https"]
