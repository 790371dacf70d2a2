"""MiniStack behind a guard against web pages: `python guarded_ministack.py`, with MiniStack's own Python and variables.

`AUTH=true` refuses callers without a key, but MiniStack takes `test` and every account number for its root key, checks
no signature of those, lets every origin's preflight pass, and resets everything for whoever asks. A page in the
developer's browser can do all that. So the guard refuses the requests that only a page sends: those with an Origin, a
Host that is not this machine's, or `Sec-Fetch-Site`. Presigned URLs and function URLs are made for pages, and pass.
Imports nothing of ours.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Send], Awaitable[None]]

FOR_PAGES = ("/_aws/lambda-url/", "/_aws/execute-api/")
ADMIN = ("/_ministack/reset", "/_ministack/config")
NAMES = ("127.0.0.1", "localhost")
BODY = b'{"message": "This local AWS answers no web pages."}'


def refuses(scope: Message) -> bool:
    """Whether a request is one that only a page in a browser sends, or one that nobody should."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    if not (name in NAMES or name.endswith(".localhost")) or scope["path"] in ADMIN:
        return True
    if scope["path"].startswith(FOR_PAGES) or b"X-Amz-Signature=" in scope.get("query_string", b""):
        return False
    return "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def guarded(app: App) -> App:
    """`app`, but requests that `refuses` rejects get a 403 without CORS headers."""

    async def guard(scope: Message, receive: Any, send: Send) -> None:  # noqa: ANN401 - ASGI's receive
        if scope["type"] not in ("http", "websocket") or not refuses(scope):
            # Bucket policies (CDK's and ours) require TLS, which loopback does not have.
            await app({**scope, "scheme": "https"} if scope["type"] == "http" else scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})

    return guard


def main() -> None:
    """Serve until SIGTERM; MiniStack saves its state when it shuts down."""
    from hypercorn.asyncio import serve  # type: ignore[import-not-found] # noqa: PLC0415 - in MiniStack's environment
    from hypercorn.config import Config  # type: ignore[import-not-found] # noqa: PLC0415 - as above
    from ministack.app import app  # type: ignore[import-not-found] # noqa: PLC0415 - what its `--detach` serves

    config = Config()
    config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
    config.keep_alive_timeout = 75  # as MiniStack's own command sets it
    config.loglevel = os.environ.get("LOG_LEVEL", "WARNING")
    asyncio.run(serve(guarded(app), config))


if __name__ == "__main__":
    main()
