"""Sites that embed the chat: an HTTP server for their pages, and a page object for the bubble in a tab."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import urlsplit

from playwright.sync_api import FrameLocator, Locator, Page

from tests.web.chat_page import ChatPage

STRICT = (  # as in docs/how-to/embed.md
    "default-src 'none'; script-src {stage}embed.js; frame-src {stage}; require-trusted-types-for 'script'"
)
TAG = '<script src="{stage}embed.js" defer></script>'


class Site:
    """A site on a port of its own, so of another origin than the chat. Its pages may change while it runs."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.pages: dict[str, tuple[bytes, dict[str, str]]] = {}

    def show(
        self,
        stage: str,
        *,
        path: str = "/",
        tag: str = TAG,
        html: str = "<h1>A shop</h1>",
        policy: str = STRICT,
        lang: str = "en",
    ) -> str:
        """Serve a page with the script of `stage` in its head, and return its URL. `policy` is its CSP; "" for none."""
        page = (
            f'<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>A shop</title>'
            '<meta name="viewport" content="width=device-width">'
            f"{tag.format(stage=stage)}<body>{html.replace('STAGE', stage)}</body></html>"
        )
        headers = {"content-security-policy": policy.format(stage=stage)} if policy else {}
        self.pages[path] = (page.encode(), headers)
        return f"{self.origin}{path}"

    def serve_script(self, path: str, script: str) -> None:
        """Serve a script of the site's own."""
        self.pages[path] = (script.encode(), {"content-type": "text/javascript"})


@contextmanager
def site() -> Iterator[Site]:
    """A running site, on http://localhost and a free port."""
    running: list[Site] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = running[0].pages.get(urlsplit(self.path).path, (b"", {}))
            self.send_response(200 if body else 404)
            for name, value in ({"content-type": "text/html; charset=utf-8"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.append(Site(f"http://localhost:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield running[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Bubble:
    """The chat's button and panel on a site, in a tab."""

    def __init__(self, page: Page, *, name: str = "Shop help") -> None:
        self.page, self.name = page, name

    @property
    def host(self) -> Locator:
        """The element that the script adds to the page."""
        return self.page.locator("chat-embed")

    @property
    def button(self) -> Locator:
        """The bubble."""
        return self.host.locator(".bubble")

    @property
    def badge(self) -> Locator:
        """The number of unread answers."""
        return self.host.locator(".badge")

    @property
    def panel(self) -> Locator:
        """The panel with the chat."""
        return self.host.locator(".panel")

    @property
    def frame(self) -> FrameLocator:
        """The frame in the panel."""
        return self.host.frame_locator("iframe")

    @property
    def chat(self) -> ChatPage:
        """The chat in the frame. Of its methods, those that load the page do not work here."""
        return ChatPage(cast(Page, self.frame), "")

    def call(self, code: str) -> object:
        """The value of JavaScript in the site's page."""
        return self.page.evaluate(code)
