"""Takes the screenshots of the page in docs/ and the README: `make screenshots`."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.web import conftest
from tests.web.chat_page import ChatPage, stream_of

DOCS = Path(__file__).parents[2] / "docs"
ANSWER = """Streaming here is **one HTTP response** that stays open: the function writes each event as it comes.

1. The page posts the message to `/chatkit`.
2. The agent runs, and every delta leaves at once.
3. What was said is kept, once a second and at the end.

```python
async for event in respond(thread, message):
    yield b"data: " + encode(event) + b"\\n\\n"
```

| event | says |
|---|---|
| `thread.item.added` | an answer begins |
| `thread.item.done` | it is whole, and kept |
"""


def shoot(browser: Browser, url: str, name: str, *, width: int, height: int, dark: bool, scale: float = 1) -> None:
    """Take a screenshot of a thread with an answer."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
        device_scale_factor=scale, reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    conftest.sign_in(page)
    chat = ChatPage(page, url).open()
    for text in ("A packing list for Lisbon", "Names for a cat", "Rewrite this e-mail, kinder"):
        chat.ask(text)
        page.goto("about:blank")
        chat.open()
    chat.respond_with("threads.create", answer_of("How does streaming work here?", ANSWER))
    chat.ask("How does streaming work here?")
    page.wait_for_timeout(800)  # code is colored when the browser is idle
    page.screenshot(path=DOCS / "images" / f"page-{name}.png")
    context.close()


def answer_of(question: str, text: str) -> dict[str, Any]:
    """The arguments of fulfill() for the events of a turn."""
    common = {"thread_id": "thr_1", "created_at": "2026-01-01T00:00:00Z"}
    question_item = {**common, "id": "msg_1", "type": "user_message", "attachments": [], "inference_options": {}}
    answer_item = {**common, "id": "msg_2", "type": "assistant_message"}
    thread = {
        "id": "thr_1",
        "title": "How streaming works",
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
    """Take the light, dark and phone screenshots."""
    chromium = conftest.find_chromium()
    with conftest.served(conftest.HOSTED) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=conftest.CHROMIUM_FLAGS)
        shoot(browser, url, "light", width=1200, height=800, dark=False)
        shoot(browser, url, "dark", width=1200, height=800, dark=True)
        shoot(browser, url, "phone", width=390, height=780, dark=False, scale=2)
        browser.close()


if __name__ == "__main__":
    main()
