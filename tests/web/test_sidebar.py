"""The sidebar: folding, outlines while something loads, and titles and lists of unusual size or script."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.web.chat_page import ChatPage, assistant, json_response
from tests.web.test_access import serious
from tests.web.test_layout import MOST_MOVED

pytestmark = pytest.mark.xdist_group("browser")

HEBREW = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
LONG = "A title of many words " * 14  # 308 characters
PAGE = 50


def thread(number: int, title: str) -> dict[str, Any]:
    """A thread as the server lists it; a higher number is older."""
    created = datetime.now(UTC) - timedelta(hours=number)
    return {"id": f"thr_{number}", "title": title, "created_at": created.isoformat(), "status": {"type": "active"}}


def test_the_sidebar_is_folded_by_a_button_and_stays_so_after_a_reload(echo: ChatPage) -> None:
    page = echo.open().page
    side = page.get_by_role("navigation", name="Chats")
    button = echo.button("Chats")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(side).to_be_visible()
    button.click()
    expect(side).to_be_hidden()
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(echo.button("New chat")).to_have_count(1)
    page.reload()
    expect(echo.text).to_be_visible()
    expect(side).to_be_hidden()
    assert serious(page) == []
    button.click()
    expect(side).to_be_visible()
    expect(button).to_be_focused()


def test_the_sidebar_is_folded_by_the_keyboard_and_the_focus_is_not_lost(echo: ChatPage) -> None:
    page = echo.open().page
    page.keyboard.press("Control+b")
    expect(echo.text).to_be_focused()
    expect(page.get_by_role("navigation", name="Chats")).to_be_hidden()
    page.keyboard.press("Control+b")
    page.get_by_label("Filter chats by title").focus()
    page.keyboard.press("Control+b")
    expect(echo.button("Chats")).to_be_focused()


def test_on_a_phone_a_folded_sidebar_still_opens_over_the_conversation(echo: ChatPage) -> None:
    page = echo.open().page
    page.keyboard.press("Control+b")
    page.set_viewport_size({"width": 390, "height": 780})
    expect(echo.button("Chats")).to_have_attribute("aria-expanded", "false")
    echo.button("Chats").click()
    expect(page.get_by_role("navigation", name="Chats")).to_be_visible()
    expect(echo.button("Chats")).to_have_attribute("aria-expanded", "true")


def test_outlines_are_shown_while_the_list_and_a_thread_load(echo: ChatPage) -> None:
    echo.open().ask("hello")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("type") in ("items.list", "threads.list"):
            held.append(route)
        else:
            route.fallback()

    echo.page.route("**/chatkit", hold)
    echo.page.reload()
    expect(echo.page.locator("chat-threads .skeleton")).to_be_visible()
    expect(echo.page.locator("main .skeleton")).to_be_visible()
    for route in held:
        route.fallback()
    expect(echo.answer).to_have_text("hello")
    expect(echo.page.locator(".skeleton:visible")).to_have_count(0)


def test_titles_in_any_script_keep_their_direction(echo: ChatPage) -> None:
    listed = json_response({"data": [thread(0, HEBREW), thread(1, "Hello")], "has_more": False})
    echo.respond_with("threads.list", listed)
    echo.open()
    rows = echo.page.locator("chat-threads .title")
    expect(rows.nth(0)).to_have_css("direction", "rtl")
    expect(rows.nth(1)).to_have_css("direction", "ltr")
    expect(rows.nth(0)).to_have_css("text-align", "left")  # in line with the other titles


def test_a_long_title_is_cut_and_shown_whole_as_a_tooltip(echo: ChatPage) -> None:
    echo.respond_with("threads.list", json_response({"data": [thread(0, LONG)], "has_more": False}))
    echo.open()
    row = echo.page.locator("chat-threads .title")
    expect(row).to_have_attribute("title", LONG)
    assert row.evaluate("row => row.scrollWidth > row.clientWidth && row.clientHeight < 50")
    assert echo.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_title_is_searched_in_all_of_5000_threads(echo: ChatPage) -> None:
    threads = [thread(number, f"Chat {number}") for number in range(5000)]
    requests: list[int] = []

    def respond(route: Route) -> None:
        body = route.request.post_data_json or {}
        if body.get("type") != "threads.list":
            route.fallback()
            return
        after = body["params"]["after"]
        start = 0 if after is None else int(after.removeprefix("thr_")) + 1
        data = threads[start : start + min(body["params"]["limit"], 100)]
        requests.append(start)
        more = start + len(data) < len(threads)
        route.fulfill(**json_response({"data": data, "has_more": more, "after": data[-1]["id"] if more else None}))

    echo.page.route("**/chatkit", respond)
    echo.open()
    expect(echo.threads).to_have_count(PAGE)
    echo.page.get_by_label("Filter chats by title").fill("chat 4987")
    expect(echo.threads).to_have_text(["Chat 4987"])
    expect(echo.button("Show more")).to_be_hidden()
    assert len(requests) <= 1 + 5000 // PAGE
    echo.page.get_by_label("Filter chats by title").fill("no such")
    expect(echo.page.get_by_text("No title matches.")).to_be_visible()
    assert len(requests) <= 1 + 5000 // PAGE


def test_a_list_that_cannot_be_loaded_says_why_and_can_be_loaded_again(echo: ChatPage) -> None:
    echo.respond_with("threads.list", json_response({"error": "internal", "message": "Not now."}, 500))
    echo.open()
    expect(echo.page.locator("chat-threads .status")).to_contain_text("Not now.")
    expect(echo.page.locator("chat-threads .skeleton")).to_be_hidden()
    echo.page.locator("chat-threads").get_by_role("button", name="Try again").click()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()


def test_a_running_answer_of_a_deleted_thread_does_not_bring_it_back(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 60)
    echo.wait_until_writing(3)
    echo.threads.first.hover()
    echo.button(re.compile("^Delete slowly")).click()
    echo.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(echo.page.get_by_text("Your chats will appear here.")).to_be_visible()
    echo.ask("next")
    expect(echo.threads).to_have_text(["next"])
    echo.page.reload()
    expect(echo.threads).to_have_text(["next"])


def test_a_thread_is_drawn_without_a_layout_shift(echo: ChatPage) -> None:
    echo.page.add_init_script(
        """window.moved = []; new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries())
            window.moved.push([value, ...sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.data)]);
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    items = [{**assistant("word " * 200, f"msg_{number}")} for number in range(3)]
    echo.show_thread(items)
    expect(echo.answers).to_have_count(3)
    echo.page.wait_for_timeout(300)
    moved = echo.page.evaluate("window.moved")
    assert sum(value for value, *_ in moved) < MOST_MOVED, json.dumps(moved, indent=1)
