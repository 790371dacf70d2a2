"""Nothing jumps, the reader's place is theirs, and the page is as small as it promises."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from tests.web.chat_page import ChatPage

pytestmark = pytest.mark.xdist_group("browser")

MOST_BYTES = 150_000  # that a browser fetches to show a chat; formulas and highlighting come when they are needed
MOST_LINES = 2_500  # of our own client
MOST_MOVED = 0.02  # of the screen, times how far: a tenth of what is called good (web.dev/cls)
LATE = ("math-", "highlight-", "chat-client")  # not part of a first visit
LONG = "slowly " + "\n\n".join(f"Paragraph {number} here." for number in range(80))
MIXED = "\n\n".join(
    [
        "slowly begin",
        "# A title",
        "Some **bold** words and `code`.",
        "- one\n- two",
        "```js\nlet a = 1;\nlet b = 2;\n```",
        "| a |\n|---|\n| 1 |",
    ]
)


def test_what_stands_does_not_move_while_more_is_written(echo: ChatPage) -> None:
    echo.page.set_viewport_size({"width": 1280, "height": 1600})  # nothing scrolls: what moves, moves by itself
    echo.open().say(MIXED)
    echo.writing(1)
    echo.page.evaluate(
        """() => { window.moved = []; new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries())
            window.moved.push([value, ...sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.data)]);
        }).observe({ type: "layout-shift", buffered: false }); }"""
    )
    echo.ended()
    echo.page.wait_for_timeout(300)  # colors come late, and must not move a line
    moved = echo.page.evaluate("window.moved")
    assert sum(value for value, *_ in moved) < MOST_MOVED, json.dumps(moved, indent=1)


def test_the_end_is_followed_until_the_reader_goes_up(echo: ChatPage) -> None:
    echo.open().say(LONG)
    view = echo.page.get_by_role("region", name="Conversation")
    at_end = "view => view.scrollHeight - view.clientHeight - view.scrollTop < 48"
    expect(echo.answer).to_contain_text("Paragraph 14")
    assert view.evaluate(at_end)
    view.hover()
    echo.page.mouse.wheel(0, -400)
    expect(echo.button("Latest")).to_be_visible()
    place = view.evaluate("view => view.scrollTop")
    expect(echo.answer).to_contain_text("Paragraph 22")
    assert view.evaluate("view => view.scrollTop") == place
    echo.button("Latest").click()
    assert view.evaluate(at_end)
    expect(echo.button("Latest")).to_be_hidden()
    echo.button("Stop").click()


def test_a_selection_in_what_was_said_stays(echo: ChatPage) -> None:
    echo.open().say("slowly The first words.\n\n" + "word " * 40)
    expect(echo.answer.locator("p").first).to_have_text("slowly The first words.")
    echo.writing(8)
    echo.answer.locator("p").first.evaluate("p => getSelection().selectAllChildren(p)")
    echo.ended()
    assert echo.page.evaluate("String(getSelection())") == "slowly The first words."


def test_two_requests_draw_the_page_and_both_come_from_here(echo: ChatPage) -> None:
    asked: list[Request] = []
    echo.page.on("request", lambda request: asked.append(request))
    echo.open()
    expect(echo.text).to_be_visible()
    drawn = [request for request in asked if request.resource_type in ("document", "script", "stylesheet", "font")]
    assert len(drawn) == 2
    assert all(request.url.startswith((echo.url, "data:", "blob:")) for request in asked)


def test_the_page_is_small(built: Path) -> None:
    shipped = [path for path in built.rglob("*") if path.is_file() and not path.name.startswith(LATE)]
    assert sum(path.stat().st_size for path in shipped) < MOST_BYTES


def test_our_own_script_is_short() -> None:
    others = {"chat-client.js", "chatkit.js"}  # for other front ends, and for OpenAI's
    sources = [path for path in (Path(__file__).parents[2] / "web" / "src").glob("*.js") if path.name not in others]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sources) < MOST_LINES
