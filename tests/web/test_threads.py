"""The list of threads."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import APIResponse, Route, expect

from tests.web.chat_page import ChatPage, assistant, json_answer

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def three(echo: ChatPage) -> ChatPage:
    """Somebody with three threads; the last one is open."""
    echo.open()
    for words in ("apples", "pears", "cherries"):
        echo.button("New chat").first.click()
        echo.ask(words)
    return echo


def test_threads_are_listed_and_filtered_by_title(three: ChatPage) -> None:
    expect(three.threads).to_have_count(3)
    three.page.get_by_label("Filter chats by title").fill("PEAR")
    expect(three.threads).to_have_count(1)
    three.page.get_by_label("Filter chats by title").fill("nothing like it")
    expect(three.page.get_by_text("No title matches.")).to_be_visible()


def test_threads_are_grouped_by_the_day_they_began(echo: ChatPage) -> None:
    now = datetime.now(UTC)
    days = {"Today": 0, "Yesterday": 1, "Last 7 days": 5, "Last 30 days": 20}
    moments = {heading: now - timedelta(days=days[heading]) for heading in days} | {
        "March 2025": datetime(2025, 3, 9, 12)
    }
    threads = [
        {"id": f"thr_{number}", "title": heading, "created_at": moment.isoformat(), "status": {"type": "active"}}
        for number, (heading, moment) in enumerate(moments.items())
    ]
    echo.answering("threads.list", json_answer({"data": threads, "has_more": False}))
    echo.open()
    expect(echo.page.locator("chat-threads h2")).to_have_text(list(moments))
    expect(echo.threads).to_have_count(len(threads))


def test_a_thread_is_renamed_for_good(three: ChatPage) -> None:
    three.threads.nth(1).hover()
    three.button("Rename pears").click()
    three.page.get_by_label("Title", exact=True).fill("plums")
    three.page.keyboard.press("Enter")
    expect(three.threads.nth(1).get_by_role("button", name="plums", exact=True)).to_be_focused()
    three.page.reload()
    expect(three.threads.nth(1)).to_contain_text("plums")


def test_escape_keeps_the_old_title(three: ChatPage) -> None:
    three.threads.nth(0).hover()
    three.button("Rename cherries").click()
    three.page.get_by_label("Title", exact=True).fill("no")
    three.page.keyboard.press("Escape")
    expect(three.threads.nth(0)).to_contain_text("cherries")


def test_a_thread_is_deleted_after_a_question(three: ChatPage) -> None:
    three.threads.nth(0).hover()
    three.button("Delete cherries").click()
    dialog = three.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “cherries”?")
    three.page.keyboard.press("Escape")
    expect(three.threads).to_have_count(3)
    three.button("Delete cherries").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(three.threads).to_have_count(2)
    expect(three.said).to_have_count(0)  # the open one is gone
    three.page.reload()
    expect(three.threads).to_have_count(2)


def test_back_and_forward_go_between_threads(three: ChatPage) -> None:
    three.threads.get_by_role("button", name="apples", exact=True).click()
    expect(three.said).to_have_text("apples")
    three.page.go_back()
    expect(three.said).to_have_text("cherries")
    three.page.go_forward()
    expect(three.said).to_have_text("apples")


def test_a_thread_that_is_gone_says_so(echo: ChatPage) -> None:
    echo.open("thr_unknown")
    expect(echo.notice).to_contain_text("There is no such thread")


def test_what_was_said_earlier_is_read_on_demand(echo: ChatPage) -> None:
    echo.open().ask("first")
    for number in range(26):  # 54 items; 50 are a page
        echo.ask(f"word {number}")
    echo.page.reload()
    expect(echo.said).to_have_count(25)
    echo.button("Show earlier messages").click()
    expect(echo.said).to_have_count(27)
    expect(echo.said.first).to_have_text("first")
    expect(echo.button("Show earlier messages")).to_be_hidden()


def test_what_is_said_while_the_earlier_messages_are_read_stays_on_the_screen(echo: ChatPage) -> None:
    echo.open().ask("first")
    for number in range(26):
        echo.ask(f"word {number}")
    echo.page.reload()
    expect(echo.said).to_have_count(25)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") == "items.list":
            held.append(route)
        else:
            route.fallback()

    echo.page.route("**/chatkit", hold)
    echo.button("Show earlier messages").click()
    echo.ask("newest")
    held[0].continue_()
    expect(echo.said.first).to_have_text("first")
    expect(echo.said).to_have_count(28)
    expect(echo.said.last).to_have_text("newest")
    expect(echo.answer).to_have_text("newest")


def test_what_is_said_while_the_thread_is_read_comes_last_and_once(echo: ChatPage) -> None:
    echo.open().ask("first")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") == "items.list":
            held.append(route)
        else:
            route.fallback()

    second = "slowly " + " ".join(f"w{number}" for number in range(60))
    echo.page.route("**/chatkit", hold)
    echo.page.reload()
    echo.say(second)
    echo.writing(3)
    held[0].continue_()
    expect(echo.said).to_have_count(2)
    echo.ended()
    expect(echo.said).to_have_text(["first", second])
    expect(echo.answer).to_have_text(second)


def test_a_chat_that_is_begun_while_the_list_is_read_stays_in_it(echo: ChatPage) -> None:
    echo.open().ask("older")
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") == "threads.list":
            held.append((route, route.fetch()))
        else:
            route.fallback()

    echo.page.route("**/chatkit", hold)
    echo.page.evaluate("history.replaceState(null, '', location.pathname)")
    echo.page.reload()
    echo.ask("newer")
    expect(echo.threads).to_have_count(1)
    [(route, before)] = held
    route.fulfill(response=before)
    expect(echo.threads).to_have_text(["newer", "older"])


def test_what_is_said_and_read_before_its_stream_has_begun_is_shown_once(echo: ChatPage) -> None:
    """The server kept it, and listed it, before the page heard so: it is on the screen under two names then."""
    echo.open().ask("first")
    held: dict[str, Route] = {}

    def hold(route: Route) -> None:
        kind = (route.request.post_data_json or {}).get("type")
        if kind in ("items.list", "threads.add_user_message"):
            held[kind] = route
        else:
            route.fallback()

    echo.page.route("**/chatkit", hold)
    echo.page.reload()
    echo.say("second")
    whole = held["threads.add_user_message"].fetch()
    held["items.list"].continue_()
    expect(echo.said).to_have_count(3)
    held["threads.add_user_message"].fulfill(response=whole)
    echo.ended()
    expect(echo.said).to_have_text(["first", "second"])
    expect(echo.answer).to_have_text("second")


def test_an_answer_that_ends_between_the_two_reads_of_a_thread_is_shown(echo: ChatPage) -> None:
    """Its items were listed before it was kept, its turn was asked for when it was over."""
    words = {"content": [{"type": "input_text", "text": "hi"}], "attachments": [], "inference_options": {}}
    said = {"id": "msg_said", "type": "user_message", **words}
    echo.showing([said], [said, assistant("there")])
    expect(echo.said).to_have_text("hi")
    expect(echo.answer).to_have_text("there")
