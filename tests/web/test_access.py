"""Accessibility of the page: axe, keyboard, focus, screen readers, phones and color schemes."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.chat_page import ChatPage, assistant, json_response
from tests.web.test_showcase import FORM

pytestmark = pytest.mark.xdist_group("browser")

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TEXT = """# Title

Some `code`, a [link](https://example.com).

| a | b |
|-|-|
| 1 | 2 |

```js
let a = 1; // one
```

- [ ] to do"""
WORKFLOW = {
    "type": "custom",
    "tasks": [{"type": "custom", "title": "Look", "content": "here", "status_indicator": "complete"}],
    "summary": {"title": "Steps"},
    "expanded": True,
}
THREAD = {"id": "thr_x", "title": "Made up", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
LIST = json_response({"data": [THREAD], "has_more": False})
QUESTION = {"id": "q", "type": "multiple_choice", "question": "Which?", "options": [{"value": "a"}], "multiple": False}
ITEMS: list[dict[str, Any]] = [
    {
        "id": "u",
        "type": "user_message",
        "content": [{"type": "input_text", "text": "hi"}],
        "attachments": [],
        "inference_options": {},
    },
    {"id": "w", "type": "widget", "widget": FORM},
    {"id": "f", "type": "workflow", "workflow": WORKFLOW},
    {
        "id": "s",
        "type": "structured_input",
        "status": "pending",
        "inputs": [QUESTION, {"id": "r", "type": "freeform", "question": "Why?"}],
    },
    {
        "id": "t",
        "type": "client_tool_call",
        "status": "pending",
        "call_id": "c",
        "name": "read_clipboard",
        "arguments": {},
    },
    assistant(TEXT, "a"),
]


def serious(page: Page) -> list[str]:
    """The serious and critical violations that axe reports, as text."""
    page.evaluate(AXE.read_text(encoding="utf-8"))  # not as a script element, which the page's policy forbids
    violations = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{violation['id']}: {json.dumps([node['html'] for node in violation['nodes']])}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_axe_reports_nothing_serious(chat: ChatPage, colors: str) -> None:
    chat.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    chat.respond_with("threads.list", LIST, LIST)  # axe would be slow with all the threads of earlier tests
    chat.open()
    assert serious(chat.page) == []
    chat.show_thread(ITEMS)
    expect(chat.answer.locator(".kwd, .num").first).to_be_visible()
    assert serious(chat.page) == []


def test_axe_reports_nothing_serious_in_errors_and_dialogs(echo: ChatPage) -> None:
    echo.open().ask("hello")
    echo.page.route(
        "**/chatkit", lambda route: route.fulfill(status=422, json={"error": "invalid_request", "message": "Not so."})
    )
    echo.say("again")
    expect(echo.notice).to_contain_text("Not so.")
    assert serious(echo.page) == []
    echo.threads.first.hover()
    echo.button("Delete hello").click()
    expect(echo.page.get_by_role("dialog")).to_be_visible()
    assert serious(echo.page) == []


def test_everything_can_be_reached_with_the_keyboard(chat: ChatPage) -> None:
    page = chat.open().page
    expect(chat.text).to_be_focused()
    page.keyboard.type("show me a widget")
    page.keyboard.press("Enter")
    chat.wait_until_done()
    expect(chat.text).to_be_focused()
    reached: set[str] = set()
    for _ in range(400):  # enough for all chats that earlier tests have left in the list
        page.keyboard.press("Shift+Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
            )
        )
        if "Skip to the message box" in reached:  # the first element
            break
    assert {
        "Ship",
        "Answer again",
        "Copy the answer",
        "New chat",
        "Filter chats by title",
        "Skip to the message box",
    } <= reached
    assert {"Rename show me a widget", "Delete show me a widget", "Dark colors"} <= reached


def test_a_dialog_traps_the_focus_and_restores_it(echo: ChatPage) -> None:
    page = echo.open().page
    echo.ask("hello")
    echo.button("Delete hello").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
        )
    page.keyboard.press("Escape")
    expect(echo.button("Delete hello")).to_be_focused()


def test_a_screen_reader_announces_an_answer_once(echo: ChatPage) -> None:
    text = "slowly" + " word" * 30
    echo.open().say(text)
    announcement = echo.page.locator("[aria-live=polite]")
    expect(announcement).to_have_text("The assistant is answering.")
    echo.wait_until_done()
    expect(announcement).to_have_text(f"The assistant said: {text}")
    expect(echo.page.get_by_role("heading", name="Assistant")).to_have_count(1)


@pytest.fixture
def phone(browser: Browser, dev: str) -> Any:
    """The page on a phone."""
    context = browser.new_context(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    yield ChatPage(context.new_page(), dev)
    context.close()


def test_the_whole_page_works_on_a_phone(phone: ChatPage) -> None:
    phone.open().ask("count to 3")
    thread_list = phone.page.get_by_role("navigation", name="Chats")
    expect(thread_list).to_be_hidden()
    phone.button("Chats").click()
    expect(thread_list).to_be_visible()
    assert serious(phone.page) == []
    phone.threads.first.get_by_role("button").first.click()
    expect(thread_list).to_be_hidden()
    expect(phone.user_messages).to_have_text("count to 3")


def test_a_long_title_does_not_widen_the_page_on_a_phone(phone: ChatPage) -> None:
    phone.open().ask("Count to 3, and this title is longer than a phone")
    expect(phone.page.get_by_role("heading", level=1)).to_contain_text("this title is longer")
    assert phone.page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]


def test_buttons_on_a_phone_are_large_enough_for_a_finger(phone: ChatPage) -> None:
    phone.open().ask("count to 3")
    phone.button("Chats").click()
    expect(phone.threads.first).to_be_in_viewport()
    small = phone.page.locator("button.icon:visible, .send:visible, .title:visible").evaluate_all(
        "all => all.filter((node) => Math.min(node.offsetWidth, node.offsetHeight) < 40).map((node) => node.outerHTML)"
    )
    assert small == []


def test_the_page_can_be_used_at_a_zoom_of_200_percent(echo: ChatPage) -> None:
    echo.open().ask("word " * 100)
    echo.page.set_viewport_size({"width": 640, "height": 430})  # of CSS pixels in a window of 1280 by 860
    assert echo.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(echo.text).to_be_in_viewport()
    expect(echo.button("Send")).to_be_in_viewport()
    view = echo.page.get_by_role("region", name="Conversation").bounding_box()
    assert view is not None
    assert view["height"] > 150
    echo.button("Chats").click()
    expect(echo.threads.first).to_be_in_viewport()
    assert serious(echo.page) == []


def test_buttons_and_the_open_thread_are_visible_in_forced_colors(echo: ChatPage) -> None:
    echo.page.emulate_media(forced_colors="active")
    echo.open().ask("hello")
    for element in (echo.button("Send"), echo.user_messages.first, echo.threads.first.get_by_role("button").first):
        assert element.evaluate(
            "node => { const { borderStyle, outlineStyle } = getComputedStyle(node);"
            " return borderStyle !== 'none' || outlineStyle !== 'none'; }"
        )


def test_nothing_slides_if_the_user_wants_less_motion(echo: ChatPage) -> None:
    echo.open()
    expect(echo.page.locator(".side")).to_have_css("transition-duration", "0s")
    echo.page.emulate_media(reduced_motion="no-preference")
    echo.page.set_viewport_size({"width": 390, "height": 780})
    expect(echo.page.locator(".side")).to_have_css("transition-duration", "0.2s, 0.2s")


def test_the_colors_follow_the_system_until_the_user_chooses(echo: ChatPage) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    echo.page.emulate_media(color_scheme="light")
    light = echo.open().page.evaluate(background)
    echo.page.emulate_media(color_scheme="dark")
    dark = echo.page.evaluate(background)
    assert light != dark
    echo.button("Light colors").click()
    assert echo.page.evaluate(background) == light
    echo.page.reload()
    expect(echo.button("Dark colors")).to_be_visible()
    assert echo.page.evaluate(background) == light
