"""The thread list in the page: filter, rename, delete, history, paging and races with messages being sent."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import APIResponse, Route, expect

from tests.web.chat_page import ChatPage, assistant, json_response

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def three_threads(echo: ChatPage) -> ChatPage:
    """The page of a user with three threads, of which the last is open."""
    echo.open()
    for words in ("apples", "pears", "cherries"):
        echo.button("New chat").first.click()
        echo.ask(words)
    return echo


def test_threads_are_listed_and_can_be_filtered_by_title(three_threads: ChatPage) -> None:
    expect(three_threads.threads).to_have_count(3)
    three_threads.page.get_by_label("Filter chats by title").fill("PEAR")
    expect(three_threads.threads).to_have_count(1)
    three_threads.page.get_by_label("Filter chats by title").fill("nothing like it")
    expect(three_threads.page.get_by_text("No title matches.")).to_be_visible()


def test_threads_are_grouped_by_the_day_they_were_started(echo: ChatPage) -> None:
    now = datetime.now(UTC)
    days = {"Today": 0, "Yesterday": 1, "Last 7 days": 5, "Last 30 days": 20}
    times_by_heading = {heading: now - timedelta(days=days[heading]) for heading in days} | {
        "March 2025": datetime(2025, 3, 9, 12)
    }
    threads = [
        {"id": f"thr_{number}", "title": heading, "created_at": time.isoformat(), "status": {"type": "active"}}
        for number, (heading, time) in enumerate(times_by_heading.items())
    ]
    echo.respond_with("threads.list", json_response({"data": threads, "has_more": False}))
    echo.open()
    expect(echo.page.locator("chat-threads h2")).to_have_text(list(times_by_heading))
    expect(echo.threads).to_have_count(len(threads))


def test_a_thread_that_seems_to_be_of_tomorrow_is_listed_under_today(echo: ChatPage) -> None:
    """The clocks of the browser and the server differ."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    thread = {"id": "thr_x", "title": "Early", "created_at": tomorrow, "status": {"type": "active"}}
    echo.respond_with("threads.list", json_response({"data": [thread], "has_more": False}))
    echo.open()
    expect(echo.page.locator("chat-threads h2")).to_have_text("Today")


def test_a_thread_whose_agent_failed_has_a_title(echo: ChatPage) -> None:
    echo.open().ask("fail at once")
    expect(echo.notice).to_be_visible()
    expect(echo.threads).to_have_text(["fail at once"])
    expect(echo.page.get_by_role("heading", level=1)).to_have_text("fail at once")
    echo.page.reload()
    expect(echo.threads).to_have_text(["fail at once"])


def test_the_focus_in_the_list_is_kept_when_an_answer_ends(three_threads: ChatPage) -> None:
    page = three_threads.page
    three_threads.say("slowly " + "word " * 10)
    three_threads.wait_until_writing(1)
    page.get_by_role("button", name="Rename apples").focus()
    three_threads.wait_until_done()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="apples", exact=True)).to_be_focused()


def test_500_threads_are_listed_and_filtered(echo: ChatPage) -> None:
    now = datetime.now(UTC).isoformat()
    threads = [
        {"id": f"thr_{number}", "title": f"Chat {number}", "created_at": now, "status": {"type": "active"}}
        for number in range(500)
    ]
    echo.respond_with("threads.list", json_response({"data": threads, "has_more": False}))
    echo.open()
    expect(echo.threads).to_have_count(500)
    echo.page.get_by_label("Filter chats by title").fill("chat 499")
    expect(echo.threads).to_have_text(["Chat 499"])
    echo.page.get_by_label("Filter chats by title").fill("")
    echo.ask("hello")
    expect(echo.threads).to_have_count(501)
    assert echo.page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_renamed_thread_keeps_its_title_after_a_reload(three_threads: ChatPage) -> None:
    three_threads.threads.nth(1).hover()
    three_threads.button("Rename pears").click()
    three_threads.page.get_by_label("Title", exact=True).fill("plums")
    three_threads.page.keyboard.press("Enter")
    expect(three_threads.threads.nth(1).get_by_role("button", name="plums", exact=True)).to_be_focused()
    three_threads.page.reload()
    expect(three_threads.threads.nth(1)).to_contain_text("plums")


def test_escape_cancels_renaming(three_threads: ChatPage) -> None:
    three_threads.threads.nth(0).hover()
    three_threads.button("Rename cherries").click()
    three_threads.page.get_by_label("Title", exact=True).fill("no")
    three_threads.page.keyboard.press("Escape")
    expect(three_threads.threads.nth(0)).to_contain_text("cherries")


def test_a_thread_is_deleted_after_confirmation(three_threads: ChatPage) -> None:
    three_threads.threads.nth(0).hover()
    three_threads.button("Delete cherries").click()
    dialog = three_threads.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “cherries”?")
    three_threads.page.keyboard.press("Escape")
    expect(three_threads.threads).to_have_count(3)
    three_threads.button("Delete cherries").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(three_threads.threads).to_have_count(2)
    expect(three_threads.user_messages).to_have_count(0)  # the open thread is gone
    three_threads.page.reload()
    expect(three_threads.threads).to_have_count(2)


def test_back_and_forward_switch_between_threads(three_threads: ChatPage) -> None:
    three_threads.threads.get_by_role("button", name="apples", exact=True).click()
    expect(three_threads.user_messages).to_have_text("apples")
    three_threads.page.go_back()
    expect(three_threads.user_messages).to_have_text("cherries")
    three_threads.page.go_forward()
    expect(three_threads.user_messages).to_have_text("apples")


def test_a_missing_thread_is_reported(echo: ChatPage) -> None:
    echo.open("thr_unknown")
    expect(echo.notice).to_contain_text("There is no such thread")


def test_earlier_messages_are_loaded_on_demand(echo: ChatPage) -> None:
    echo.open().ask("first")
    for number in range(26):  # 54 items, of which a page has 50
        echo.ask(f"word {number}")
    echo.page.reload()
    expect(echo.user_messages).to_have_count(25)
    echo.button("Show earlier messages").click()
    expect(echo.user_messages).to_have_count(27)
    expect(echo.user_messages.first).to_have_text("first")
    expect(echo.button("Show earlier messages")).to_be_hidden()


def test_a_message_sent_while_earlier_messages_load_stays_on_the_screen(echo: ChatPage) -> None:
    echo.open().ask("first")
    for number in range(26):
        echo.ask(f"word {number}")
    echo.page.reload()
    expect(echo.user_messages).to_have_count(25)
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
    expect(echo.user_messages.first).to_have_text("first")
    expect(echo.user_messages).to_have_count(28)
    expect(echo.user_messages.last).to_have_text("newest")
    expect(echo.answer).to_have_text("newest")


def test_a_message_sent_while_the_thread_loads_is_shown_once_at_the_end(echo: ChatPage) -> None:
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
    echo.wait_until_writing(3)
    held[0].continue_()
    expect(echo.user_messages).to_have_count(2)
    echo.wait_until_done()
    expect(echo.user_messages).to_have_text(["first", second])
    expect(echo.answer).to_have_text(second)


def test_a_thread_started_while_the_list_loads_stays_in_it(echo: ChatPage) -> None:
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


def test_a_message_that_is_listed_before_its_stream_starts_is_shown_once(echo: ChatPage) -> None:
    """The server stores and lists it before the page learns its ID, so for a moment it is on the screen twice."""
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
    response = held["threads.add_user_message"].fetch()
    held["items.list"].continue_()
    expect(echo.user_messages).to_have_count(3)
    held["threads.add_user_message"].fulfill(response=response)
    echo.wait_until_done()
    expect(echo.user_messages).to_have_text(["first", "second"])
    expect(echo.answer).to_have_text("second")


def test_an_answer_that_ends_between_the_two_requests_for_a_thread_is_shown(echo: ChatPage) -> None:
    """The items were listed before the answer was stored, and the running turn was requested after it had ended."""
    words = {"content": [{"type": "input_text", "text": "hi"}], "attachments": [], "inference_options": {}}
    user_message = {"id": "msg_said", "type": "user_message", **words}
    echo.show_thread([user_message], [user_message, assistant("there")])
    expect(echo.user_messages).to_have_text("hi")
    expect(echo.answer).to_have_text("there")
