"""Content that is broken, misleading or huge, full storage and wrong clocks: the page stays usable."""

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage, assistant

pytestmark = pytest.mark.xdist_group("browser")

ROWS = 2_000
BIDI = "\u202egpj.elif"  # shown from right to left it would read file.jpg


@pytest.mark.parametrize("kind", ["Select", "Chart"])
def test_a_widget_that_cannot_be_drawn_hides_no_other_item(echo: ChatPage, kind: str) -> None:
    broken = {"id": "w", "type": "widget", "widget": {"type": "Card", "children": [{"type": kind, "name": "size"}]}}
    echo.show_thread([broken, assistant("It is here.")])
    expect(echo.page.get_by_text("This part of the answer cannot be shown.")).to_be_visible()
    expect(echo.answer).to_have_text("It is here.")


@pytest.mark.parametrize("text", [">" * 5_000 + "deep", "- " * 3_000 + "deep", "*" * 2_000 + "deep" + "*" * 2_000])
def test_markdown_that_is_nested_too_deeply_is_shown_as_text(echo: ChatPage, text: str) -> None:
    echo.show_thread([assistant(text, "deep"), assistant("The next answer.", "next")])
    expect(echo.answers.first).to_contain_text("deep")
    expect(echo.answer).to_have_text("The next answer.")
    nesting = echo.answers.first.evaluate(
        "node => { let most = 0; for (const leaf of node.querySelectorAll('*')) { let depth = 0;"
        " for (let at = leaf; at !== node; at = at.parentElement) depth += 1; most = Math.max(most, depth); }"
        " return most; }"
    )
    assert nesting < 120


def cited(*sources: dict[str, Any]) -> dict[str, Any]:
    """An answer with these sources."""
    annotations = [{"type": "annotation", "source": source, "index": 0} for source in sources]
    content = [{"type": "output_text", "text": "It is so.", "annotations": annotations}]
    return {"id": "msg_x", "type": "assistant_message", "content": content}


def test_a_source_whose_title_names_another_site_shows_its_real_target(echo: ChatPage) -> None:
    echo.show_thread(
        [
            cited(
                {"type": "url", "title": "https://bank.example/login", "url": "https://evil.test/"},
                {"type": "url", "title": "Opening hours", "url": "https://shop.example/hours"},
                {
                    "type": "url",
                    "title": "bank.example",
                    "url": f"https://bank.example.{'a' * 60}.{'b' * 60}.evil.test/",
                },
            )
        ]
    )
    links = echo.answers.get_by_role("link")
    expect(links.nth(0)).to_have_text("https://bank.example/login (evil.test)")
    expect(links.nth(1)).to_have_text("Opening hours")
    target = links.nth(2).locator(".target")
    expect(target).to_contain_text("evil.test)")
    assert target.evaluate("node => node.scrollWidth <= node.clientWidth"), "the end of the host is not cut off"


def test_a_source_that_is_no_web_page_is_no_link(echo: ChatPage) -> None:
    urls = ("javascript:alert(1)", "data:text/html,x", "\tjavascript:alert(1)", "http:", "//evil.test/", "")
    echo.show_thread(
        [
            cited(
                *({"type": "url", "title": f"Source {url}", "url": url} for url in urls),
                {"type": "file", "filename": BIDI},
            )
        ]
    )
    expect(echo.answers.get_by_role("listitem")).to_have_count(len(urls) + 1)
    expect(echo.answers.get_by_role("link")).to_have_count(0)


def test_a_table_of_2000_rows_is_shown_and_the_page_stays_usable(echo: ChatPage) -> None:
    rows = "\n".join(f"| {number} | {number * 2} |" for number in range(ROWS))
    echo.show_thread([assistant(f"| n | double |\n|---|---|\n{rows}"), assistant("After the table.", "after")])
    expect(echo.answers.first.locator("tbody tr")).to_have_count(ROWS)
    expect(echo.answer).to_be_in_viewport()
    echo.text.fill("The next message")
    expect(echo.button("Send")).to_be_enabled()


FILL = """for (const storage of [localStorage, sessionStorage]) {
  for (let size = 4_000_000; size >= 1; size = Math.floor(size / 2)) {
    try { storage.setItem(`fill${size}`, "x".repeat(size)); } catch { /* full at this size */ }
  }
}"""


def test_a_browser_whose_storage_is_full_still_chats(guest: ChatPage) -> None:
    guest.page.add_init_script(FILL)
    guest.open().ask("one")
    guest.button("Dark colors").click()
    expect(guest.page.locator("html")).to_have_attribute("data-theme", "dark")
    guest.ask("two")
    expect(guest.user_messages).to_have_text(["one", "two"])
    expect(guest.threads).to_have_count(1)  # of the same guest


@pytest.mark.parametrize("year", [2001, 2040])
def test_a_guest_whose_clock_is_wrong_chats(guest: ChatPage, year: int) -> None:
    guest.page.clock.set_fixed_time(datetime(year, 1, 1, tzinfo=UTC))
    guest.open().ask("one")
    guest.ask("two")
    expect(guest.answers).to_have_count(2)
    guest.page.reload()
    expect(guest.user_messages).to_have_text(["one", "two"])
