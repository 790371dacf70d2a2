"""Takes the screenshots of the page in docs/ and the README: `make screenshots`. Another folder can be an argument."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from lambda_src.languages import SHIPPED
from tests.languages.pseudo import CODE, write_pseudo_language
from tests.web import conftest, scenes
from tests.web.chat_page import ChatPage, stream_of
from tests.web.embedding import Bubble, Site, site
from tests.web.operator_page import OperatorPage
from tests.web.widget_samples import SAMPLES

WIDGET_WIDTH = 320  # px; the narrowest phone
MARGIN = 8  # px above and below a widget
IMAGES = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "images"
ANSWER = """Each answer is **one HTTP response** that stays open until the answer ends.

1. The page posts the message to `/chatkit`.
2. The agent runs, and its text is sent while the model is writing it.
3. The server saves the text once a second and when the answer ends.

```python
async for event in respond(thread, message):
    yield b"data: " + encode(event) + b"\\n\\n"
```

| if | then |
|---|---|
| the connection breaks | the page reconnects and shows the rest |
| you click Stop | the text so far is saved |
"""

SHOP = """<style>
body { margin: 0; font: 17px/1.6 Georgia, serif; color: #2b2320; background: #faf6f0; }
header { padding: 20px 48px; color: #fff; background: #4a1d70; font-size: 22px; }
main { max-width: 720px; padding: 24px 48px; }
</style>
<header>The Paper Lantern</header>
<main><h1>Handmade lanterns</h1>
<p>We fold each lantern from a single sheet of washi paper and ship it in its own box.</p>
<p>We ship on weekdays. Returns are free for 30 days.</p></main>"""
SHOP_ANSWER = """Your order **4711** left our workshop this morning.

- Two lanterns, *Mulberry* and *Plum*
- Expected on **Thursday**

Is there anything else I can help with?"""


def shoot_language(browser: Browser, url: str, name: str, *, locale: str, question: str, answer: str) -> None:
    """Take a screenshot of an answer in the page of a browser that prefers `locale`."""
    context = browser.new_context(locale=locale, viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    conftest.sign_in(page)
    page.goto(url)
    chat = ChatPage(page, url)
    chat.respond_with("threads.create", answer_of(question, answer, title=question))
    page.locator("#message").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("article.is-assistant_message .actions button").first).to_be_attached()
    page.screenshot(path=IMAGES / f"page-{name}.png")
    context.close()


def show_conversation(chat: ChatPage) -> None:
    """A list of chats, and one with an answer."""
    chat.open()
    for text in ("A packing list for Lisbon", "Names for a cat", "Make this email friendlier"):
        chat.ask(text)
        chat.page.goto("about:blank")
        chat.open()
    chat.respond_with("threads.create", answer_of("How does streaming work here?", ANSWER))
    chat.ask("How does streaming work here?")


def shoot(
    browser: Browser, url: str, name: str, show: Callable[[ChatPage], None], *,
    width: int = 1200, height: int = 800, dark: bool = False, scale: float = 1,
) -> None:  # fmt: skip
    """Take a screenshot of what `show` does in a new user's page."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
        device_scale_factor=scale, reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    conftest.sign_in(page)
    show(ChatPage(page, url))
    page.wait_for_timeout(800)  # code is colored when the browser is idle
    page.screenshot(path=IMAGES / f"page-{name}.png")
    context.close()


def shoot_embedded(browser: Browser, shop: Site, url: str, name: str, *, width: int, height: int, scale: float) -> None:
    """Take a screenshot of a site with the chat open."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(shop.show(url, html=SHOP, policy=""))
    question = "Where is my order?"
    ChatPage(page, url).respond_with("threads.create", answer_of(question, SHOP_ANSWER, "Order 4711"))
    bubble = Bubble(page)
    bubble.button.click()
    bubble.chat.ask(question)
    page.screenshot(path=IMAGES / f"page-{name}.png")
    context.close()


def shoot_widgets(browser: Browser) -> None:
    """Take a small picture of each kind of widget."""
    folder = IMAGES / "widgets"
    folder.mkdir(exist_ok=True)
    context = browser.new_context(
        viewport={"width": WIDGET_WIDTH, "height": 6000}, color_scheme="light", reduced_motion="reduce"
    )
    page = context.new_page()
    conftest.sign_in(page)
    with conftest.served_in_process(conftest.HOSTED | {"CHAT_ALLOWED_IMAGE_DOMAINS": "images.example.com"}) as url:
        scenes.show_samples(ChatPage(page, url), SAMPLES)
        for kind, widget in zip(SAMPLES, page.locator(".widget").all(), strict=True):
            box = widget.bounding_box()
            assert box is not None
            page.screenshot(
                path=folder / f"{kind}.png",
                clip={"x": 0, "y": box["y"] - MARGIN, "width": WIDGET_WIDTH, "height": box["height"] + 2 * MARGIN},
            )
    context.close()


def answer_of(question: str, text: str, title: str = "How streaming works") -> dict[str, Any]:
    """The arguments of fulfill() for the events of a turn."""
    common = {"thread_id": "thr_1", "created_at": "2026-01-01T00:00:00Z"}
    question_item = {**common, "id": "msg_1", "type": "user_message", "attachments": [], "inference_options": {}}
    answer_item = {**common, "id": "msg_2", "type": "assistant_message"}
    thread = {
        "id": "thr_1",
        "title": title,
        "created_at": common["created_at"],
        "status": {"type": "active"},
    }
    return stream_of(
        [
            {"type": "thread.created", "thread": thread},
            {
                "type": "thread.item.done",
                "item": {**question_item, "content": [{"type": "input_text", "text": question}]},
            },
            {"type": "stream_options", "stream_options": {"allow_cancel": True}},
            {
                "type": "thread.item.done",
                "item": {**answer_item, "content": [{"type": "output_text", "text": text, "annotations": []}]},
            },
        ]
    )


def main() -> None:
    """Take the screenshots: light, dark, a phone, the chat on another site, other languages, and each widget."""
    chromium = conftest.find_chromium()
    with (
        conftest.served(conftest.HOSTED) as url,
        conftest.served_in_process(conftest.TWO_ASSISTANTS) as two_assistants,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=conftest.CHROMIUM_FLAGS)
        shoot(browser, url, "light", show_conversation)
        shoot(browser, url, "dark", show_conversation, dark=True)
        shoot(browser, url, "phone", show_conversation, width=390, height=780, scale=2)
        shoot(browser, two_assistants, "start", scenes.show_start)
        shoot(browser, url, "widgets", scenes.show_widgets, height=1040)
        shoot(browser, url, "activity", scenes.show_activity)
        shoot(browser, url, "approval", scenes.show_approval, dark=True)
        with conftest.served_in_process(conftest.STAFFED) as staffed:
            shoot(browser, staffed, "operator", lambda chat: scenes.show_operator(OperatorPage(chat.page, chat.url)))
        with site() as shop:
            look = json.dumps({"title": "Shop help", "greeting": "How can we help?", "accent": "#6b21a8"})
            env = conftest.GUESTS | {"CHAT_CORS_ORIGINS": shop.origin, "CHAT_PAGE": look}
            with conftest.served(env) as shop_chat:
                shoot_embedded(browser, shop, shop_chat, "embed", width=1200, height=800, scale=1)
                shoot_embedded(browser, shop, shop_chat, "embed-phone", width=390, height=780, scale=2)
        shoot_languages(browser)
        shoot_widgets(browser)
        browser.close()


def shoot_languages(browser: Browser) -> None:
    """Take the screenshots of German, Japanese, and the pseudo-language that runs from right to left."""
    with tempfile.TemporaryDirectory() as folder:
        write_pseudo_language(Path(folder))
        with conftest.served_in_process(conftest.HOSTED, languages=(SHIPPED, Path(folder))) as url:
            for name, locale, question, answer in (
                ("german", "de", "Wann kommt meine Bestellung?", "Bestellung 17 kommt **morgen** an."),
                ("japanese", "ja", "注文はいつ届きますか?", "注文 17 は**明日**届きます。"),
                ("right-to-left", CODE, "متى يصل طلبي؟", "يصل الطلب 17 **غدًا**."),
            ):
                shoot_language(browser, url, name, locale=locale, question=question, answer=answer)


if __name__ == "__main__":
    main()
