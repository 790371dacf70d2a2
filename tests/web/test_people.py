"""People who answer, on the page: the button that asks for one, what they write, and the way back to the assistant."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import sign_in, token_of


class Desk:
    """An operator's client."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def matters(self, thread_id: str) -> list[dict[str, Any]]:
        """What the inbox has about a thread."""
        matters = self._client.get("inbox").raise_for_status().json()["matters"]
        return [matter for matter in matters if matter["thread"] == thread_id]

    def do(self, thread_id: str, change: str, **body: str) -> None:
        """Take, answer, return or close."""
        [matter, *_] = self.matters(thread_id)
        path = f"threads/{matter['user']}/{thread_id}/{change}"
        self._client.post(path, json=body or None).raise_for_status()


@pytest.fixture
def desk(staffed: str) -> Iterator[Desk]:
    headers = {"authorization": f"Bearer {token_of(role='operator')}"}
    with httpx2.Client(base_url=f"{staffed}operator/", headers=headers) as client:
        yield Desk(client)


@pytest.fixture
def page(tab: Page, staffed: str) -> ChatPage:
    """The page of a new user of the stage with operators."""
    sign_in(tab)
    return ChatPage(tab, staffed)


def thread_of(page: ChatPage) -> str:
    """The id of the open thread."""
    assert page.thread_id is not None
    return page.thread_id


def test_a_person_answers_and_hands_back(page: ChatPage, desk: Desk) -> None:
    page.open()
    expect(page.button("Talk to a person")).to_be_hidden()
    page.ask("hello")
    page.button("Talk to a person").click()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    page.say("is anybody there?")
    expect(page.user_messages).to_have_count(2)
    desk.do(thread_of(page), "take")
    desk.do(thread_of(page), "messages", text="I am here.", author="Olga")
    expect(page.answer).to_have_text("Olga: I am here.")
    expect(page.page.get_by_text("A person answers here.")).to_be_visible()
    page.say("good")
    expect(page.user_messages).to_have_count(3)
    page.wait_until_done()
    assert page.answers.count() == 2
    desk.do(thread_of(page), "return")
    expect(page.button("Talk to a person")).to_be_visible()
    page.ask("back to you")
    expect(page.answer).to_have_text("back to you")


def test_a_closed_conversation_takes_no_more_messages(page: ChatPage, desk: Desk) -> None:
    page.open().ask("hello")
    page.button("Talk to a person").click()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    desk.do(thread_of(page), "take")
    desk.do(thread_of(page), "close")
    expect(page.text).to_be_disabled()
    expect(page.hint).to_have_text("The support team has closed this conversation. Start a new one.")


def test_the_state_survives_a_reload(page: ChatPage, desk: Desk) -> None:
    page.open().ask("hello")
    page.button("Talk to a person").click()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    page.page.reload()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    desk.do(thread_of(page), "take")
    desk.do(thread_of(page), "messages", text="after the reload")
    expect(page.answer).to_have_text("Support: after the reload")


def test_a_stage_without_operators_has_no_button(echo: ChatPage) -> None:
    echo.open().ask("hello")
    expect(echo.button("Talk to a person")).to_be_hidden()
