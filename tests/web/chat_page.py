"""Page object for the chat page: clicks, types and reads it as a user does, by labels rather than code."""

import json
import re
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

ANSWER_MS = 20_000  # the demo model takes a few seconds, and longer on a busy machine


class ChatPage:
    """The chat page in a tab."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def open(self, thread_id: str | None = None) -> "ChatPage":
        """Load the page, with a thread if one is given."""
        self.page.goto(self.url + ("" if thread_id is None else f"#thread={thread_id}"))
        expect(self.text).to_be_visible()
        return self

    @property
    def text(self) -> Locator:
        """The message box."""
        return self.page.get_by_label("Message", exact=True)

    @property
    def answers(self) -> Locator:
        """The assistant's messages."""
        return self.page.locator("article.is-assistant_message")

    @property
    def answer(self) -> Locator:
        """The text of the newest answer."""
        return self.answers.last.locator("chat-markdown")

    @property
    def user_messages(self) -> Locator:
        """The messages of the user."""
        return self.page.locator("article.is-user_message .bubble")

    @property
    def hint(self) -> Locator:
        """The line below the text box: what Enter does, or why the message cannot be sent."""
        return self.page.locator("#composer-hint")

    @property
    def threads(self) -> Locator:
        """The rows of the thread list."""
        return self.page.get_by_role("navigation", name="Chats").get_by_role("listitem")

    @property
    def notice(self) -> Locator:
        """The newest notice or error."""
        return self.page.locator(".notice").last

    @property
    def thread_id(self) -> str | None:
        """The ID of the open thread."""
        match = re.search(r"#thread=(\w+)", self.page.url)
        return None if match is None else match[1]

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """The button with this accessible name."""
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))

    def say(self, words: str) -> None:
        """Type a message and press Enter. Return once it is sent."""
        self.text.fill(words)
        self.text.press("Enter")
        expect(self.text).to_have_value("")

    def ask(self, words: str) -> None:
        """Send a message. Return when the answer is complete."""
        self.say(words)
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """Wait until no answer is in progress."""
        expect(self.button("Send")).to_be_visible(timeout=ANSWER_MS)
        expect(self.page.locator(".progress")).to_have_count(0)

    def wait_until_writing(self, words: int = 3) -> None:
        """Wait until an answer is in progress and has at least `words` words."""
        expect(self.answer).to_have_text(re.compile(rf"(\S+\s+){{{words}}}"), timeout=ANSWER_MS)
        expect(self.button("Stop")).to_be_visible()

    def respond_with(self, operation: str, *responses: dict[str, Any]) -> None:
        """Replace the next responses to a ChatKit operation. Each holds the arguments of Playwright's fulfill()."""
        remaining = list(responses)

        def fulfill(route: Route) -> None:
            if remaining and (route.request.post_data_json or {}).get("type") == operation:
                route.fulfill(**remaining.pop(0))
            else:
                route.fallback()

        self.page.route("**/chatkit", fulfill)

    def show_thread(self, *reads: Sequence[dict[str, Any]], title: str = "Made up") -> None:
        """Open a thread with these items, as the server lists them. Each further read returns the next list, if any."""
        lists = [
            [{"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z", **item} for item in items] for items in reads
        ]
        lists += lists[-1:]  # a thread that does not end with an answer is read again
        self.respond_with("items.list", *(json_response({"data": data[::-1], "has_more": False}) for data in lists))
        thread = {"id": "thr_x", "title": title, "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
        self.respond_with("threads.get_by_id", json_response(thread))
        self.page.route("**/threads/thr_x/turn", lambda route: route.fulfill(**json_response({"turn_id": None})))
        self.open("thr_x")


def json_response(body: object, status: int = 200, **headers: str) -> dict[str, Any]:
    """The arguments of fulfill() for a JSON response."""
    return {
        "status": status,
        "headers": {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        "body": json.dumps(body),
    }


def stream_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of fulfill() for a stream of these events, sent at once."""
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": lines}


def assistant(text: str, item_id: str = "msg_x") -> dict[str, Any]:
    """A message of the assistant as the server lists it."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": item_id, "type": "assistant_message", "content": content}
