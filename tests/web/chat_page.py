"""The page as a user drives it: what is clicked and typed, what is seen. Knows its labels, not its code."""

import json
import re
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

ANSWER_MS = 20_000  # the demo model takes some seconds; a busy machine more


class ChatPage:
    """One tab."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def open(self, thread_id: str | None = None) -> "ChatPage":
        """Load it; the thread, if one is named."""
        self.page.goto(self.url + ("" if thread_id is None else f"#thread={thread_id}"))
        expect(self.text).to_be_visible()
        return self

    @property
    def text(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_label("Message", exact=True)

    @property
    def answers(self) -> Locator:
        """The assistant's messages."""
        return self.page.locator("article.is-assistant_message")

    @property
    def answer(self) -> Locator:
        """The newest one's words."""
        return self.answers.last.locator("chat-markdown")

    @property
    def said(self) -> Locator:
        """The user's own messages."""
        return self.page.locator("article.is-user_message .bubble")

    @property
    def hint(self) -> Locator:
        """The line below the text box: what Enter does, or why the message cannot be sent."""
        return self.page.locator("#composer-hint")

    @property
    def threads(self) -> Locator:
        """The rows of the list."""
        return self.page.get_by_role("navigation", name="Chats").get_by_role("listitem")

    @property
    def notice(self) -> Locator:
        """The newest notice or error."""
        return self.page.locator(".notice").last

    @property
    def thread_id(self) -> str | None:
        """Of the thread on the screen."""
        found = re.search(r"#thread=(\w+)", self.page.url)
        return None if found is None else found[1]

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """By its name."""
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))

    def say(self, words: str) -> None:
        """Write it and press Enter; return when the answer is on its way."""
        self.text.fill(words)
        self.text.press("Enter")
        expect(self.text).to_have_value("")

    def ask(self, words: str) -> None:
        """Say it; return when the answer is whole."""
        self.say(words)
        self.ended()

    def ended(self) -> None:
        """Return when no answer is on its way."""
        expect(self.button("Send")).to_be_visible(timeout=ANSWER_MS)
        expect(self.page.locator(".progress")).to_have_count(0)

    def writing(self, words: int = 3) -> None:
        """Return when an answer of some words is being written."""
        expect(self.answer).to_have_text(re.compile(rf"(\S+\s+){{{words}}}"), timeout=ANSWER_MS)
        expect(self.button("Stop")).to_be_visible()

    def answering(self, operation: str, *answers: dict[str, Any]) -> None:
        """Let the server's next answers to one of ChatKit's operations be these: fulfil()'s arguments, once each."""
        left = list(answers)

        def fulfil(route: Route) -> None:
            if left and (route.request.post_data_json or {}).get("type") == operation:
                route.fulfill(**left.pop(0))
            else:
                route.fallback()

        self.page.route("**/chatkit", fulfil)

    def showing(self, *reads: Sequence[dict[str, Any]]) -> None:
        """Load a thread that has these items, as the server would list them; at each read the next ones, if any."""
        lists = [
            [{"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z", **item} for item in items] for items in reads
        ]
        lists += lists[-1:]  # one that does not end with an answer is read again
        self.answering("items.list", *(json_answer({"data": data[::-1], "has_more": False}) for data in lists))
        thread = {"id": "thr_x", "title": "Made up", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
        self.answering("threads.get_by_id", json_answer(thread))
        self.page.route("**/threads/thr_x/turn", lambda route: route.fulfill(**json_answer({"turn_id": None})))
        self.open("thr_x")


def json_answer(body: object, status: int = 200, **headers: str) -> dict[str, Any]:
    """fulfil()'s arguments for a JSON answer."""
    return {
        "status": status,
        "headers": {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        "body": json.dumps(body),
    }


def stream_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """fulfil()'s arguments for a turn of these events, all at once."""
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": lines}


def assistant(text: str, item_id: str = "msg_x") -> dict[str, Any]:
    """A message of the assistant, as the server lists it."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": item_id, "type": "assistant_message", "content": content}
