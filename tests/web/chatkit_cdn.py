"""OpenAI's CDN, as a page in a test meets it: away, or with our stand-in for ChatKit's component."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route

CDN = "https://cdn.platform.openai.com"
SCRIPT = f"{CDN}/deployments/chatkit/chatkit.js"
FAKE = Path(__file__).with_name("fake_chatkit.js")


def without_cdn(page: Page) -> list[str]:
    """Break off what the page asks the CDN for, as a network without it does; the list grows with each request."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route(f"{CDN}/**", answer)
    return asked


def with_cdn(page: Page) -> "ChatKit":
    """Serve the stand-in, and the page of its frame."""

    def answer(route: Route) -> None:
        if route.request.url == SCRIPT:
            route.fulfill(path=FAKE, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>ChatKit</title>", content_type="text/html")

    page.route(f"{CDN}/**", answer)
    return ChatKit(page)


class ChatKit:
    """The stand-in in a page: what it was told, and what a person does with it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def element(self) -> Locator:
        """The <openai-chatkit>."""
        return self.page.locator("openai-chatkit")

    @property
    def options(self) -> dict[str, Any]:
        """The newest options that it was given; functions are left out."""
        told: dict[str, Any] = self.element.evaluate("chat => JSON.parse(JSON.stringify(chat.options))")
        return told

    def say(self, text: str, *attachments: str) -> list[dict[str, Any]]:
        """The events of the turn."""
        events: list[dict[str, Any]] = self.element.evaluate(
            "(chat, [text, attachments]) => chat.say(text, attachments)", [text, list(attachments)]
        )
        return events

    def ask(self, operation: str, **params: Any) -> Any:
        """One of ChatKit's requests that are answered at once."""
        return self.element.evaluate("(chat, [type, params]) => chat.ask(type, params)", [operation, params])

    def upload(self, name: str, mime_type: str, text: str) -> str:
        """The id of the attachment."""
        uploaded: str = self.element.evaluate("(chat, file) => chat.upload(...file)", [name, mime_type, text])
        return uploaded
