"""Fakes of OpenAI's CDN for pages under test: unreachable, or serving our stand-in for the ChatKit component."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route

CDN = "https://cdn.platform.openai.com"
SCRIPT = f"{CDN}/deployments/chatkit/chatkit.js"
FAKE = Path(__file__).with_name("fake_chatkit.js")


def without_cdn(page: Page) -> list[str]:
    """Abort the page's requests to the CDN, as if it were unreachable. Returns the growing list of their URLs."""
    urls: list[str] = []

    def respond(route: Route) -> None:
        urls.append(route.request.url)
        route.abort()

    page.route(f"{CDN}/**", respond)
    return urls


def with_cdn(page: Page) -> "ChatKit":
    """Serve the stand-in and the page of its frame."""

    def respond(route: Route) -> None:
        if route.request.url == SCRIPT:
            route.fulfill(path=FAKE, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>ChatKit</title>", content_type="text/html")

    page.route(f"{CDN}/**", respond)
    return ChatKit(page)


class ChatKit:
    """The stand-in in a page: reads its options, and uses it as a user does."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def element(self) -> Locator:
        """The <openai-chatkit> element."""
        return self.page.locator("openai-chatkit")

    @property
    def options(self) -> dict[str, Any]:
        """The latest options passed to the element, without functions."""
        options: dict[str, Any] = self.element.evaluate("chat => JSON.parse(JSON.stringify(chat.options))")
        return options

    def say(self, text: str, *attachments: str) -> list[dict[str, Any]]:
        """Send a message and return the events of the turn."""
        events: list[dict[str, Any]] = self.element.evaluate(
            "(chat, [text, attachments]) => chat.say(text, attachments)", [text, list(attachments)]
        )
        return events

    def ask(self, operation: str, **params: Any) -> Any:
        """Send a ChatKit request that is not streamed, and return the result."""
        return self.element.evaluate("(chat, [type, params]) => chat.ask(type, params)", [operation, params])

    def upload(self, name: str, mime_type: str, text: str) -> str:
        """Upload a file and return the ID of the attachment."""
        attachment_id: str = self.element.evaluate("(chat, file) => chat.upload(...file)", [name, mime_type, text])
        return attachment_id
