"""ASGI middleware that runs before every route: the CloudFront origin secret, the viewer's address, CORS.

Knows headers and addresses; no route, no token, no user.
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

Middleware = Callable[[ASGIApp], ASGIApp]  # takes an ASGI app and returns the wrapped one

ORIGIN_HEADER = "x-origin-secret"  # infra/ingress/origin_secrets.py sends it; tests/agreements compares the two
CLOSED = "This address is not for callers: use the chat's own."

# What a page of another site may send and read; infra/ingress/front_door.py sets the same on the function URL.
REQUEST_HEADERS = ("authorization", "content-type", "x-chat-turn", "last-event-id", "chatkit-frame-instance-id")
RESPONSE_HEADERS = ("x-chat-turn", "x-request-id", "retry-after")
PREFLIGHT_S = 3600  # how long a browser may cache a preflight; Chromium caps it at two hours


def cloudfront_secret_middleware(*secrets: Secret) -> Middleware:
    """Answers 403 to requests without one of `secrets`, which are the newest and the one before it.

    In requests with one, the viewer's address replaces CloudFront's: see AsViewer.
    """
    return partial(FromCloudFront, secrets=secrets)


def cors_middleware(origins: Sequence[str], *, token_header: str) -> Middleware:
    """CORS for pages of exactly these origins. No credentials, since the token is in a header."""
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - not needed behind a function URL

    return partial(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=(*REQUEST_HEADERS, token_header),
        expose_headers=RESPONSE_HEADERS,
        max_age=PREFLIGHT_S,
    )


class Utf8Paths:
    """ASGI middleware: answers 400 if the path is not UTF-8. Routes would see U+FFFD in place of its bytes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_utf8(scope):
            refused = _refused(400, "invalid_request", "The path of this URL is not UTF-8.")
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_utf8(scope: Scope) -> bool:
    """Whether the path was UTF-8. Mangum's buffered scope has no raw path: there U+FFFD replaces other bytes."""
    if not (raw_path := scope.get("raw_path")):
        return "\ufffd" not in scope["path"]
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeError:
        return False
    return True


class AsViewer:
    """ASGI middleware for apps that only CloudFront can call: sets the client to the viewer, not to CloudFront."""

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
        """Whether `sent` is one of the secrets. Reads them again, rarely, since they may have been rotated."""
        if not sent:
            return False
        cached = []
        for secret in self._secrets:
            cached.append(await secret.value())
            if _same(cached[-1], sent):
                return True
        newer = [await secret.newer_than(value) for secret, value in zip(self._secrets, cached, strict=True)]
        return any(value is not None and _same(value, sent) for value in newer)


def viewer_of(forwarded: str, edge: str) -> str:
    """The viewer's address: the last one in X-Forwarded-For that is not CloudFront's own; `edge` if there is none.

    Addresses further left come from the viewer, who can send anything.
    """
    addresses = [address.strip() for address in forwarded.split(",") if address.strip()]
    if addresses and addresses[-1] == edge:
        addresses.pop()
    return addresses[-1] if addresses else edge


def _same(secret: str, sent: str) -> bool:
    return hmac.compare_digest(secret.encode(), sent.encode())


def _refused(status: int, code: str, text: str) -> ASGIApp:
    return JSONResponse({"error": code, "message": text}, status_code=status)
