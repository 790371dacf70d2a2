"""ASGI middleware of `make dev`: /embed-demo, the page of a made-up shop that has the chat in a bubble.

Its Content-Security-Policy is the strictest that docs/how-to/embed.md describes.
"""

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/embed-demo"
POLICY = "default-src 'none'; script-src 'self'; frame-src 'self'"
HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A shop with the chat</title>
<script src="/embed.js" defer></script>
</head>
<body>
<h1>A shop</h1>
<p>This page stands for your site. One line of its HTML puts the chat into the corner:</p>
<pre>&lt;script src="/embed.js" defer&gt;&lt;/script&gt;</pre>
<p>Open the chat, write a message, and reload this page: the chat stays open with its thread.</p>
</body>
</html>
"""


class EmbedDemo:
    """ASGI middleware: answers requests for PATH with the demo, and passes on every other request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] in ("GET", "HEAD"):
            await HTMLResponse(HTML, headers={"content-security-policy": POLICY})(scope, receive, send)
            return
        await self._app(scope, receive, send)
