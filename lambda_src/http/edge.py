"""What stands before every route: the proof that CloudFront sent a request, and CORS where no function URL answers it.

Knows headers and addresses; no route, no token and no user.
"""

import hmac
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_src.errors import UnavailableError
from lambda_src.rotating_secret import Secret

Middleware = Callable[[ASGIApp], ASGIApp]  # an ASGI middleware: an app in, one that asks first out

ORIGIN_HEADER = (
    "x-origin-secret"  # infra/ingress/origin_secrets.py sends it; tests/test_agreements.py holds the two together
)
CLOSED = "This address is not for callers: use the chat's own."

# What a page of another site may send and read: infra/ingress/front_door.py says the same to the function URL.
REQUEST_HEADERS = ("authorization", "content-type", "x-chat-turn", "last-event-id", "chatkit-frame-instance-id")
RESPONSE_HEADERS = ("x-chat-turn", "x-request-id", "retry-after")
PREFLIGHT_S = 3600  # how long a browser may remember a preflight; Chromium caps it at two hours


def cloudfront_secret_middleware(*secrets: Secret) -> Middleware:
    """Answers 403 to whoever does not send one of `secrets`: the newest first, then the one before it.

    Once the proof holds, the viewer's address takes the place of CloudFront's: see AsViewer.
    """
    return partial(FromCloudFront, secrets=secrets)


def cors_middleware(origins: Sequence[str], *, token_header: str) -> Middleware:
    """CORS for pages of these origins, to the letter. No credentials: the token travels in a header."""
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - a function URL does it without us

    return partial(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=(*REQUEST_HEADERS, token_header),
        expose_headers=RESPONSE_HEADERS,
        max_age=PREFLIGHT_S,
    )


class Utf8Paths:
    """ASGI middleware: a path that is not UTF-8 is a 400. Routes would see it with U+FFFD in the place of its bytes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_utf8(scope):
            refused = _refused(400, "invalid_request", "The path of this URL is not UTF-8.")
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_utf8(scope: Scope) -> bool:
    """Whether the path was UTF-8. Mangum's buffered scope has no raw path: there U+FFFD stands for what was not."""
    if not (raw_path := scope.get("raw_path")):
        return "\ufffd" not in scope["path"]
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeError:
        return False
    return True


class AsViewer:
    """ASGI middleware where only CloudFront can call: the address that asked is the viewer's, not CloudFront's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            edge, port = scope.get("client") or ("", 0)
            scope["client"] = (viewer_of(Headers(scope=scope).get("x-forwarded-for", ""), edge), port)
        await self._app(scope, receive, send)


class FromCloudFront:
    """ASGI middleware: see cloudfront_secret_middleware."""

    def __init__(self, app: ASGIApp, *, secrets: Sequence[Secret]) -> None:
        self._app, self._secrets = AsViewer(app), secrets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                proven = await self._proves(headers.get(ORIGIN_HEADER, ""))
            except UnavailableError as error:
                await _refused(503, "unavailable", str(error))(scope, receive, send)
                return
            if not proven:
                await _refused(403, "forbidden", CLOSED)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _proves(self, sent: str) -> bool:
        """Whether it is one of the secrets; those that may have changed where they are kept are read again, rarely."""
        if not sent:
            return False
        known = []
        for secret in self._secrets:
            known.append(await secret.value())
            if _same(known[-1], sent):
                return True
        newer = [await secret.newer_than(value) for secret, value in zip(self._secrets, known, strict=True)]
        return any(value is not None and _same(value, sent) for value in newer)


def viewer_of(forwarded: str, edge: str) -> str:
    """Who asked CloudFront: the last address in X-Forwarded-For that is not CloudFront's own; `edge` without one.

    What stands further left was sent by the viewer, who may write there what they like.
    """
    addresses = [address.strip() for address in forwarded.split(",") if address.strip()]
    if addresses and addresses[-1] == edge:
        addresses.pop()
    return addresses[-1] if addresses else edge


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _refused(status: int, code: str, text: str) -> ASGIApp:
    return JSONResponse({"error": code, "message": text}, status_code=status)
