"""All chats of a user in the page: downloading and deleting them, also across reloads, breaks and limits."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
from playwright.sync_api import Download, Locator, Page, Route, expect

from tests.web.chat_page import ChatPage, json_response
from tests.web.test_access import serious

pytestmark = pytest.mark.xdist_group("browser")

WORDS = ("apples", "pears", "plums", "cherries", "figs")
READ, DELETED = "items.list", "threads.delete"
COUNT_PARTS = """new Promise((done) => {
  indexedDB.open("chat.download").onsuccess = ({ target: { result } }) => {
    result.transaction("parts").objectStore("parts").count().onsuccess = ({ target }) => done(target.result);
  };
})"""


@pytest.fixture
def five(echo: ChatPage) -> ChatPage:
    """The page of a user with five threads, none of them open. Lists come in pages of two."""
    echo.open()
    for words in WORDS:
        echo.button("New chat").first.click()
        echo.ask(words)
    echo.button("New chat").first.click()
    in_pages_of_two(echo.page)
    return echo


def in_pages_of_two(page: Page) -> None:
    """Let the server answer every list in pages of two."""

    def shorten(route: Route) -> None:
        body = route.request.post_data_json or {}
        if "limit" in body.get("params", {}):
            body["params"]["limit"] = 2
            route.continue_(post_data=json.dumps(body))
        else:
            route.fallback()

    page.route("**/chatkit**", shorten)


def on(page: Page, operation: str, respond: Callable[[Route], object]) -> None:
    """Handle the requests of an operation."""

    def choose(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") == operation:
            respond(route)
        else:
            route.fallback()

    page.route("**/chatkit**", choose)


def opened(chat: ChatPage, count: int) -> Locator:
    """The dialog, once it has counted the chats."""
    chat.button("All my chats").click()
    dialog = chat.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"You have {count} chat")
    return dialog


def job(chat: ChatPage) -> Locator:
    """The progress in the sidebar."""
    return chat.page.locator(".job")


def text_of(download: Download) -> str:
    return Path(download.path()).read_text(encoding="utf-8")


def threads_in(lines: str) -> list[str]:
    """The titles of the threads in a download of JSON lines."""
    records = [json.loads(line) for line in lines.splitlines()]
    return [record["value"]["title"] for record in records if record["kind"] == "thread"]


def test_all_chats_are_downloaded_as_json_lines(five: ChatPage) -> None:
    dialog = opened(five, 5)
    assert serious(five.page) == []
    with five.page.expect_download() as started:
        dialog.get_by_role("button", name="Download as JSON Lines").click()
    assert re.fullmatch(r"chats-\d{4}-\d\d-\d\d\.jsonl", started.value.suggested_filename)
    head, *records = [json.loads(line) for line in text_of(started.value).splitlines()]
    assert (head["kind"], head["threads"]) == ("download", 5)
    assert "their contents are not part of this download" in head["note"]
    assert [record["value"]["title"] for record in records if record["kind"] == "thread"] == list(WORDS)
    said = [
        record["value"]["content"][0]["text"]
        for record in records
        if record["kind"] == "item" and "content" in record["value"]
    ]
    assert said == [words for words in WORDS for _ in ("user", "assistant")]
    assert {record["thread_id"] for record in records if record["kind"] == "item"} == {
        record["id"] for record in records if record["kind"] == "thread"
    }
    expect(five.notice).to_contain_text("5 chats were downloaded.")
    expect(job(five)).to_be_hidden()


def test_all_chats_are_downloaded_as_markdown(five: ChatPage) -> None:
    with five.page.expect_download() as started:
        opened(five, 5).get_by_role("button", name="Download as Markdown").click()
    text = text_of(started.value)
    assert text.startswith("# All my chats\n\n5 chats were downloaded. ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(WORDS)
    assert re.findall(r"\*\*(You|Assistant)\*\*.*\n\n(\w+)\n", text)[:2] == [("You", "apples"), ("Assistant", "apples")]


def test_a_download_continues_after_a_reload_where_it_stopped(five: ChatPage) -> None:
    read: list[str] = []

    def hold_the_third_and_fourth_once(route: Route) -> None:
        thread_id = cast(dict[str, Any], route.request.post_data_json)["params"]["thread_id"]
        is_new = thread_id not in read
        read.append(thread_id)
        if not (is_new and len(set(read)) in (3, 4)):
            route.fallback()

    on(five.page, READ, hold_the_third_and_fourth_once)
    opened(five, 5).get_by_role("button", name="Download as JSON Lines").click()
    expect(job(five)).to_contain_text("Downloading 2 of 5 chats")
    assert serious(five.page) == []
    before = [*read]
    with five.page.expect_download() as started:
        five.page.reload()
    again = read[len(before) :]
    assert threads_in(text_of(started.value)) == list(WORDS)
    assert not set(before[:2]) & set(again)
    assert five.page.evaluate("sessionStorage.getItem('chat.job')") is None
    assert five.page.evaluate(COUNT_PARTS) == 0


@pytest.mark.parametrize(
    ("respond", "sentence"),
    [
        (lambda route: route.abort(), "The connection was lost."),
        (
            lambda route: route.fulfill(
                **json_response({"error": "busy", "message": "Too many requests."}, 429, retry_after="1")
            ),
            "Too many requests. Trying again",
        ),
    ],
    ids=["lost", "limited"],
)
def test_a_download_waits_and_continues_by_itself(
    five: ChatPage, respond: Callable[[Route], object], sentence: str
) -> None:
    failed: list[Route] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.fallback()
        else:
            failed.append(route)
            respond(route)

    on(five.page, READ, fail_once)
    with five.page.expect_download() as started:
        opened(five, 5).get_by_role("button", name="Download as JSON Lines").click()
        expect(job(five)).to_contain_text(sentence)
    assert threads_in(text_of(started.value)) == list(WORDS)


def test_a_refused_download_says_why_and_continues_on_request(five: ChatPage) -> None:
    refused: list[Route] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.fallback()
        else:
            refused.append(route)
            route.fulfill(**json_response({"error": "forbidden", "message": "Not for you."}, 403))

    on(five.page, READ, refuse_once)
    opened(five, 5).get_by_role("button", name="Download as JSON Lines").click()
    expect(job(five)).to_contain_text("Not for you.")
    with five.page.expect_download() as started:
        job(five).get_by_role("button", name="Try again").click()
    assert threads_in(text_of(started.value)) == list(WORDS)


def test_a_canceled_download_leaves_nothing(five: ChatPage) -> None:
    on(five.page, READ, lambda route: None)
    opened(five, 5).get_by_role("button", name="Download as JSON Lines").click()
    job(five).get_by_role("button", name="Cancel").click()
    expect(job(five)).to_be_hidden()
    assert five.page.evaluate("sessionStorage.getItem('chat.job')") is None


def test_all_chats_are_deleted_after_a_confirmation_that_counts_them(five: ChatPage) -> None:
    opened(five, 5).get_by_role("button", name="Delete all ...").click()
    dialog = five.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete all 5 chats?")
    five.page.keyboard.press("Escape")
    expect(five.threads).to_have_count(5)
    opened(five, 5).get_by_role("button", name="Delete all ...").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(five.notice).to_contain_text("5 chats were deleted.")
    expect(five.threads).to_have_count(0)
    five.page.reload()
    expect(five.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_a_deletion_continues_after_a_reload_and_leaves_chats_that_began_later(five: ChatPage) -> None:
    deleted: list[Route] = []

    def hold_the_third_and_fourth(route: Route) -> None:
        deleted.append(route)
        if len(deleted) not in (3, 4):
            route.fallback()

    on(five.page, DELETED, hold_the_third_and_fourth)
    opened(five, 5).get_by_role("button", name="Delete all ...").click()
    five.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(job(five)).to_contain_text("Deleting 2 of 5 chats")
    five.ask("later")
    five.page.reload()
    expect(five.notice).to_contain_text("5 chats were deleted.")
    expect(five.threads).to_have_text(["later"])
    expect(five.user_messages).to_have_text("later")


def test_a_chat_with_a_running_answer_is_deleted_for_good(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 80)
    echo.wait_until_writing(3)
    opened(echo, 1).get_by_role("button", name="Delete all ...").click()
    echo.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(echo.notice).to_contain_text("1 chat was deleted.")
    expect(echo.threads).to_have_count(0)
    expect(echo.user_messages).to_have_count(0)
    echo.ask("next")
    echo.page.reload()
    expect(echo.threads).to_have_text(["next"])


def test_another_user_of_the_tab_does_not_continue_a_deletion(five: ChatPage) -> None:
    on(five.page, DELETED, lambda route: None)
    opened(five, 5).get_by_role("button", name="Delete all ...").click()
    five.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(job(five)).to_contain_text("Deleting 0 of 5 chats")
    own: Any = five.page.evaluate("sessionStorage.getItem('chat.token')")
    other = jwt.encode({"sub": "somebody-else", "client_id": "page"}, "not-looked-at-" * 3)
    five.page.evaluate("token => sessionStorage.setItem('chat.token', token)", other)
    five.page.reload()
    expect(five.page.get_by_text("Your chats will appear here.")).to_be_visible()
    expect(job(five)).to_be_hidden()
    five.page.wait_for_function("sessionStorage.getItem('chat.job') === null")
    five.page.evaluate("token => sessionStorage.setItem('chat.token', token)", own)
    five.page.reload()
    expect(opened(five, 5)).to_be_visible()


def test_guests_download_and_delete_their_chats_with_every_assistant(tab: Page, two_assistants: str) -> None:
    chat = ChatPage(tab, two_assistants).open()
    chat.ask("for help")
    chat.page.get_by_label("Assistant", exact=True).select_option(label="Sales")
    chat.ask("for sales")
    with tab.expect_download() as started:
        opened(chat, 2).get_by_role("button", name="Download as JSON Lines").click()
    records = [json.loads(line) for line in text_of(started.value).splitlines()]
    threads = [(each["value"]["title"], each.get("assistant")) for each in records if each["kind"] == "thread"]
    assert threads == [("for help", None), ("for sales", "sales")]
    opened(chat, 2).get_by_role("button", name="Delete all ...").click()
    tab.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(chat.notice).to_contain_text("2 chats were deleted.")
    expect(chat.threads).to_have_count(0)
    chat.page.get_by_label("Assistant", exact=True).select_option(label="Help")
    expect(chat.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_without_chats_there_is_nothing_to_choose(echo: ChatPage) -> None:
    echo.open().button("All my chats").click()
    dialog = echo.page.get_by_role("dialog")
    expect(dialog).to_contain_text("You have 0 chats.")
    expect(dialog.get_by_role("button", name="Delete all ...")).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
