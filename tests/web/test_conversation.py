"""Chatting in the page of `make dev`, in a browser."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.content_markers import MARKERS
from tests.web.chat_page import ChatPage, assistant

pytestmark = pytest.mark.xdist_group("browser")

MARKDOWN = """# A title

Some **bold** words, a [link](https://example.com/) and `code`.

| a | b |
|---|---|
| 1 | 2 |

- [x] done

```python
def answer():
    return 42
```
"""


def counted(most: int) -> str:
    """The demo model's answer to "count to `most`", which takes it 40 ms a word."""
    return " ".join(map(str, range(1, most + 1)))


def test_an_answer_streams_and_is_kept(chat: ChatPage) -> None:
    words = f"count to 30, {MARKERS['body']}"
    chat.open().say(words)
    expect(chat.said).to_have_text(words)
    chat.writing()
    chat.ended()
    expect(chat.answer).to_have_text(counted(30))
    whole = chat.answer.inner_html()
    chat.page.reload()
    expect(chat.answer).to_have_text(counted(30))
    assert chat.answer.inner_html() == whole


def test_what_is_said_and_answered_is_in_no_log(echo: ChatPage) -> None:
    words = f"{MARKERS['body']} {MARKERS['answer']}"
    echo.open().ask(words)  # tests/conftest.py fails whatever told it
    expect(echo.answer).to_have_text(words)


def test_markdown_becomes_what_it_means(echo: ChatPage) -> None:
    echo.open().ask(MARKDOWN)
    expect(echo.answer.get_by_role("heading", name="A title")).to_be_visible()
    expect(echo.answer.locator("strong")).to_have_text("bold")
    link = echo.answer.get_by_role("link", name="link")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", re.compile("noopener.*noreferrer"))
    expect(echo.answer.get_by_role("cell", name="2")).to_be_visible()
    expect(echo.answer.get_by_role("checkbox")).to_be_checked()
    expect(echo.answer.locator("code .kwd").first).to_have_text("def")


def test_a_link_whose_text_names_another_site_shows_where_it_leads(echo: ChatPage) -> None:
    echo.open().ask("[bank.example](https://evil.test/x) or <https://example.com/a>")
    expect(echo.answer.get_by_role("link")).to_have_text(["bank.example (evil.test)", "https://example.com/a"])


def test_formulas_are_drawn_and_prices_stay_text(echo: ChatPage) -> None:
    echo.showing(
        [
            {"id": "m", "type": "user_message", "content": [{"type": "input_text", "text": "?"}], "attachments": []},
            assistant("Where \\(y\\) is $x^2$, not \\(\\undefined\\):\n\n$$\n\\frac{a}{b}\n$$\n\n$5 and $10 stay."),
        ]
    )
    expect(echo.answer.locator("math")).to_have_count(3)
    expect(echo.answer.locator("div.formula mfrac")).to_be_visible()
    expect(echo.answer).to_contain_text("\\(\\undefined\\)")
    expect(echo.answer).to_contain_text("$5 and $10 stay.")


def test_a_table_of_a_widget_is_a_table(echo: ChatPage) -> None:
    def row(*words: str, header: bool = False) -> dict[str, object]:
        cells = [
            {"type": "Table.Cell", "align": "end", "children": [{"type": "Text", "value": word}]} for word in words
        ]
        return {"type": "Table.Row", "header": header, "children": cells}

    table = {"type": "Table", "children": [row("Plan", "Price", header=True), row("Basic", "$5")]}
    echo.showing([{"id": "w", "type": "widget", "widget": {"type": "Card", "children": [table]}}])
    drawn = echo.page.locator(".widget table")
    expect(drawn.locator("th")).to_have_text(["Plan", "Price"])
    expect(drawn.locator("td")).to_have_text(["Basic", "$5"])
    expect(drawn.locator("td").last).to_have_css("text-align", "end")


def test_a_message_of_ones_own_is_copied_and_shows_what_it_quotes(echo: ChatPage) -> None:
    content = [{"type": "input_text", "text": "Why is that?"}]
    message = {
        "id": "m",
        "type": "user_message",
        "content": content,
        "attachments": [],
        "quoted_text": "The sky is blue.",
    }
    echo.showing([message, assistant("Because.")])
    expect(echo.page.locator("blockquote.quoted")).to_have_text("The sky is blue.")
    echo.said.hover()
    echo.button("Copy the message").click()
    expect(echo.button("Copied")).to_be_visible()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "Why is that?"


def test_a_long_request_for_approval_is_shown_whole_and_scrolls(echo: ChatPage) -> None:
    memo = "word " * 2_000
    arguments = json.dumps({"memo": memo, "payee": "mal\u202elory"})
    echo.open().ask(f"pay {arguments}")
    expect(echo.page.locator(".questions legend")).to_have_text("Allow “Pay”?")
    question = echo.page.get_by_label("Arguments")
    expect(question).to_have_text(f'memo: "{memo}"\npayee: "mal\\u202elory"', use_inner_text=False)
    inner, outer = question.evaluate("node => [node.scrollHeight, node.clientHeight]")
    assert inner > outer < echo.page.viewport_size["height"]  # type: ignore[index] # every tab of ours has a size
    expect(echo.button("Approve")).to_be_visible()
    question.focus()
    echo.page.keyboard.press("End")
    assert question.evaluate("node => node === document.activeElement")
    # not page.wait_for_function: it evaluates a string in the page, which the page's policy forbids
    question.evaluate(
        "node => node.scrollTop > 0 || new Promise(done => node.addEventListener('scroll', done, {once: true}))"
    )
    assert question.evaluate("node => node.scrollTop") > 0


def test_code_is_copied_to_the_letter(echo: ChatPage) -> None:
    echo.open().ask(MARKDOWN)
    echo.button("Copy code").click()
    expect(echo.button("Copied")).to_be_visible()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "def answer():\n    return 42"


def test_an_answer_is_copied_as_it_was_written(echo: ChatPage) -> None:
    echo.open().ask("Some **bold** words")
    echo.button("Copy the answer").click()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "Some **bold** words"


def test_stop_ends_the_answer_and_keeps_what_was_said(chat: ChatPage) -> None:
    chat.open().say("hello")
    chat.writing()
    chat.button("Stop").click()
    expect(chat.button("Send")).to_be_visible()
    shown = chat.answer.inner_text()
    assert "lambda_src/agent" not in shown
    chat.page.wait_for_timeout(1500)  # the server hears of it within a second
    chat.page.reload()
    expect(chat.answer).to_contain_text("You said")
    expect(chat.button("Send")).to_be_visible()
    assert "lambda_src/agent" not in chat.answer.inner_text()


def test_escape_stops_too(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 200)
    echo.writing()
    echo.text.press("Escape")
    expect(echo.button("Send")).to_be_visible()


def test_an_answer_can_be_asked_for_again(chat: ChatPage) -> None:
    chat.open().ask("count to 20")
    chat.button("Answer again").click()
    expect(chat.button("Stop")).to_be_visible()
    chat.ended()
    expect(chat.answers).to_have_count(1)
    expect(chat.said).to_have_count(1)
    chat.page.reload()
    expect(chat.answers).to_have_count(1)


def test_another_thread_is_opened_while_an_answer_is_written_and_both_are_whole(chat: ChatPage) -> None:
    short, long = "the first thread: count to 3", "the second thread: count to 60"
    chat.open().ask(short)
    chat.button("New chat").first.click()
    chat.say(long)
    chat.writing()
    chat.threads.get_by_role("button", name=short, exact=True).click()
    expect(chat.said).to_have_text(short)
    expect(chat.button("Send")).to_be_visible()
    chat.threads.get_by_role("button", name=long, exact=True).click()
    expect(chat.said).to_have_text(long)
    chat.ended()
    expect(chat.answer).to_have_text(counted(60))


def test_a_reload_goes_on_with_the_answer_that_is_being_written(chat: ChatPage) -> None:
    chat.open().say("hello")
    chat.writing(8)
    chat.page.reload()
    expect(chat.button("Stop")).to_be_visible()
    chat.ended()
    expect(chat.answers).to_have_count(1)
    expect(chat.answer).to_contain_text("You said: “hello”")
    expect(chat.answer).to_contain_text("open the folder lambda_src/agent/.")


def test_an_answer_that_is_followed_after_a_reload_can_be_stopped(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 300)
    echo.writing()
    echo.page.reload()
    echo.writing()
    echo.button("Stop").click()
    expect(echo.button("Send")).to_be_visible()
    echo.page.wait_for_timeout(1500)  # as above
    echo.page.reload()
    expect(echo.answer).to_contain_text("slowly word")
    expect(echo.button("Send")).to_be_visible()


def test_feedback_is_given_and_shown(chat: ChatPage) -> None:
    chat.open().ask("count to 3")
    with chat.page.expect_response(lambda answer: "items.feedback" in (answer.request.post_data or "")) as given:
        chat.button("Good answer").click()
    assert given.value.status == 200
    expect(chat.button("Good answer")).to_have_attribute("aria-pressed", "true")
    chat.button("Bad answer").click()
    expect(chat.button("Good answer")).to_have_attribute("aria-pressed", "false")
    expect(chat.button("Bad answer")).to_have_attribute("aria-pressed", "true")


def test_shift_and_enter_begin_a_new_line(echo: ChatPage) -> None:
    echo.open().text.fill("one")
    echo.text.press("Shift+Enter")
    echo.text.press_sequentially("two")
    echo.text.press("Enter")
    expect(echo.said).to_have_text("one\ntwo", use_inner_text=True)


def test_what_was_written_and_not_sent_survives_a_reload(echo: ChatPage) -> None:
    echo.open().text.fill("half a thought")
    echo.page.reload()
    expect(echo.text).to_have_value("half a thought")
