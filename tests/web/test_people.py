"""People who answer, on the page: the button that asks for one, what they write, and the way back to the assistant."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.web.chat_page import ChatPage
from tests.web.chatkit_cdn import ChatKit, with_cdn
from tests.web.conftest import HOSTED, STAFFED, served_in_process, sign_in, token_of


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


@contextmanager
def operator_of(url: str) -> Iterator[Desk]:
    """An operator of the server."""
    headers = {"authorization": f"Bearer {token_of(role='operator')}"}
    with httpx2.Client(base_url=f"{url}operator/", headers=headers) as client:
        yield Desk(client)


@pytest.fixture
def desk(staffed: str) -> Iterator[Desk]:
    with operator_of(staffed) as desk:
        yield desk


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
    expect(page.hint).to_have_text("This chat is closed. Start a new one.")


def test_the_state_survives_a_reload(page: ChatPage, desk: Desk) -> None:
    page.open().ask("hello")
    page.button("Talk to a person").click()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    page.page.reload()
    expect(page.page.get_by_text("Waiting for a person.")).to_be_visible()
    desk.do(thread_of(page), "take")
    desk.do(thread_of(page), "messages", text="after the reload")
    expect(page.answer).to_have_text("Support: after the reload")


def taken_beside_chatkit(chatkit: ChatKit, url: str, desk: Desk) -> str:
    """Ask for a person in OpenAI's component, and let the operator take the thread. Returns its id."""
    tab = chatkit.page
    tab.goto(url)
    expect(chatkit.element).to_be_visible()
    chatkit.say("hello")
    tab.get_by_role("button", name="Talk to a person").click()
    expect(tab.get_by_text("Waiting for a person.")).to_be_visible()
    thread_id = str(chatkit.element.evaluate("chat => chat.threadId"))
    desk.do(thread_id, "take")
    expect(tab.get_by_text("A person answers here.")).to_be_visible()
    return thread_id


def test_openais_component_fetches_what_a_person_writes(tab: Page) -> None:
    sign_in(tab)
    chatkit = with_cdn(tab)
    with served_in_process(STAFFED | {"CHAT_DOMAIN_KEY": "domain_pk_test"}) as url, operator_of(url) as desk:
        taken_beside_chatkit(chatkit, url, desk)
        before = int(chatkit.element.get_attribute("data-updates") or 0)
        expect(chatkit.element).to_have_attribute("data-updates", re.compile(rf"^({before + 1}|{before + 2})$"))


def test_the_button_is_not_replaced_while_it_has_the_focus(page: ChatPage) -> None:
    page.open().ask("hello")
    page.button("Talk to a person").focus()
    page.page.evaluate("document.querySelector('chat-app').now.dispatchEvent(new CustomEvent('state'))")
    expect(page.button("Talk to a person")).to_be_focused()


def test_the_button_is_there_only_where_people_answer(tab: Page) -> None:
    sign_in(tab)
    with served_in_process(HOSTED | {"CHAT_OPERATORS": '{"assistants": ["sales"]}'}) as url:
        page = ChatPage(tab, url).open()
        page.ask("hello")
        expect(page.button("Talk to a person")).to_be_hidden()


def test_a_stage_without_operators_has_no_button(echo: ChatPage) -> None:
    echo.open().ask("hello")
    expect(echo.button("Talk to a person")).to_be_hidden()
