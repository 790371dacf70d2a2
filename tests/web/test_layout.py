"""Layout of the page: no layout shifts, stable scroll position and selection, and limits on requests and size."""

import gzip
import json
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from lambda_src.http.page import GZIP_LEVEL
from lambda_src.languages import Languages
from tests.web.chat_page import ChatPage, assistant
from tests.web.test_showcase import STREAM, lines_of

pytestmark = pytest.mark.xdist_group("browser")

MOST_BYTES = 80_000  # of a first visit in any language, as they are sent; formulas and highlighting are loaded later
MOST_LINES = 3_400  # in our own client
MOST_MOVED = 0.02  # cumulative layout shift; up to 0.1 counts as good (web.dev/cls)
LATE = ("math-", "highlight-", "all-chats-", "chat-client", "embed", "operator")  # not loaded on a first visit
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


def test_content_does_not_shift_while_an_answer_is_written(echo: ChatPage) -> None:
    echo.page.set_viewport_size({"width": 1280, "height": 1600})  # nothing scrolls, so any movement is a layout shift
    echo.open().say(MIXED)
    echo.wait_until_writing(1)
    echo.page.evaluate(
        """() => { window.moved = []; new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries())
            window.moved.push([value, ...sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.data)]);
        }).observe({ type: "layout-shift", buffered: false }); }"""
    )
    echo.wait_until_done()
    echo.page.wait_for_timeout(300)  # code is colored late, which must not move a line
    moved = echo.page.evaluate("window.moved")
    assert sum(value for value, *_ in moved) < MOST_MOVED, json.dumps(moved, indent=1)


def test_the_view_follows_the_answer_until_the_user_scrolls_up(echo: ChatPage) -> None:
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


def test_what_the_user_unfolds_stays_in_its_place(echo: ChatPage) -> None:
    tasks = [{"type": "custom", "title": f"Step {number}", "status_indicator": "complete"} for number in range(30)]
    workflow = {"type": "custom", "tasks": tasks, "summary": {"title": "Steps"}, "expanded": False}
    echo.show_thread([assistant("word " * 800), {"id": "activity-1", "type": "workflow", "workflow": workflow}])
    summary = echo.page.locator("summary")
    expect(summary).to_be_in_viewport()
    before = summary.bounding_box()
    summary.click()
    expect(echo.button("Latest")).to_be_visible()
    assert summary.bounding_box() == before
    summary.click()
    expect(echo.button("Latest")).to_be_hidden()


def test_the_whole_conversation_is_printed(echo: ChatPage) -> None:
    echo.show_thread([assistant("word " * 800, f"msg_{number}") for number in range(3)])
    expect(echo.answers).to_have_count(3)
    echo.button("Dark colors").click()
    echo.page.emulate_media(media="print")
    assert echo.page.evaluate("document.documentElement.scrollHeight > 2 * innerHeight")
    expect(echo.page.locator(".side")).to_be_hidden()
    expect(echo.text).to_be_hidden()
    expect(echo.page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")


def test_a_text_selection_in_an_answer_is_kept(echo: ChatPage) -> None:
    echo.open().say("slowly The first words.\n\n" + "word " * 40)
    expect(echo.answer.locator("p").first).to_have_text("slowly The first words.")
    echo.wait_until_writing(8)
    echo.answer.locator("p").first.evaluate("p => getSelection().selectAllChildren(p)")
    echo.wait_until_done()
    assert echo.page.evaluate("String(getSelection())") == "slowly The first words."


BEGUN = [
    {"type": "thread.created", "thread": {"id": "thr_x", "created_at": "2026-01-01", "status": {"type": "active"}}},
    {"type": "thread.item.added", "item": {**assistant(""), "thread_id": "thr_x", "created_at": "2026-01-01"}},
]


def write(echo: ChatPage, text: str) -> None:
    """Let the answer grow by this text."""
    update = {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": text}
    event = {"type": "thread.item.updated", "item_id": "msg_x", "update": update}
    echo.page.evaluate(f"sendEvents({lines_of([event])})")


@pytest.mark.parametrize(
    ("start", "part", "selector"),
    [("| n |\n|---|\n", "| part |\n", "tbody tr"), ("", "- part\n", "li"), ("", "1. part\n", "li")],
    ids=["table", "list", "ordered list"],
)
def test_a_long_table_or_list_is_not_drawn_again_as_it_grows(
    echo: ChatPage, start: str, part: str, selector: str
) -> None:
    echo.page.add_init_script(script=STREAM % lines_of(BEGUN))
    echo.open().say("go")
    write(echo, start + part * 20)
    parts = echo.answer.locator(selector)
    expect(parts).to_have_count(20)
    parts.first.evaluate("part => { part.dataset.mark = 'first'; }")
    for count in (21, 22, 23):
        write(echo, part)
        expect(parts).to_have_count(count)
    write(echo, "\n\nThe end.\n\nReally.")
    expect(echo.answer).to_contain_text("Really.")
    echo.page.evaluate("finishStream()")
    echo.wait_until_done()
    expect(parts.first).to_have_attribute("data-mark", "first")
    expect(parts).to_have_text(["part"] * 23)


def test_the_language_of_code_may_come_after_its_fence(echo: ChatPage) -> None:
    echo.page.add_init_script(script=STREAM % lines_of(BEGUN))
    echo.open().say("go")
    steps = [
        ("```", "text"),
        ("py", "py"),
        ("thon\ndef f(x):\n", "def"),
        ("    return x\n", "return"),
        ("```", "return"),
    ]
    for text, shown in steps:
        write(echo, text)
        expect(echo.answer).to_contain_text(shown)
    echo.page.evaluate("finishStream()")
    expect(echo.answer.locator("figcaption span")).to_have_text("python")
    expect(echo.answer.locator("code .kwd").first).to_have_text("def")


def test_the_alignment_of_a_table_may_come_after_its_header(echo: ChatPage) -> None:
    echo.page.add_init_script(script=STREAM % lines_of(BEGUN))
    echo.open().say("go")
    write(echo, "| n |\n|--")
    expect(echo.answer.locator("th")).to_have_text("n")
    write(echo, "-:|\n| 1 |\n")
    expect(echo.answer.locator("td")).to_have_text("1")
    expect(echo.answer.locator("th")).to_have_css("text-align", "right")
    echo.page.evaluate("finishStream()")


def test_the_page_is_rendered_with_two_requests_to_its_own_origin(echo: ChatPage) -> None:
    requests: list[Request] = []
    echo.page.on("request", lambda request: requests.append(request))
    echo.open()
    expect(echo.text).to_be_visible()
    rendering = [
        request for request in requests if request.resource_type in ("document", "script", "stylesheet", "font")
    ]
    assert len(rendering) == 2
    assert all(request.url.startswith((echo.url, "data:", "blob:")) for request in requests)


def test_the_page_is_small(built: Path) -> None:
    shipped = [path for path in built.rglob("*") if path.is_file() and not path.name.startswith(LATE)]
    languages = Languages()
    pages = [languages.page_texts(languages.get(code)) for code in languages.codes]
    shown = [{key: text for key, text in page.items() if not key.startswith("operator_")} for page in pages]
    tables = [json.dumps(page, ensure_ascii=False) for page in shown]
    texts = max(len(gzip.compress(table.encode(), GZIP_LEVEL)) for table in tables)
    assert sum(len(gzip.compress(path.read_bytes(), GZIP_LEVEL)) for path in shipped) + texts < MOST_BYTES


def test_our_own_client_is_short() -> None:
    others = {"chat-client.js", "chatkit.js", "embed.js"}  # for other sites and for OpenAI's ChatKit
    sources = [path for path in (Path(__file__).parents[2] / "web" / "src").glob("*.js") if path.name not in others]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sources) < MOST_LINES
