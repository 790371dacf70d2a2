"""Chatting in the page: streaming, Markdown, Stop, retry, reload, copying, approval, feedback and drafts."""

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
|---|--:|
| 1 | 2 |

- [x] done

```python
def answer():
    return 42
```
"""


def numbers_to(last: int) -> str:
    """The demo model's answer to "count to `last`". It takes 40 ms per number."""
    return " ".join(map(str, range(1, last + 1)))


def test_an_answer_streams_and_is_stored(chat: ChatPage) -> None:
    text = f"count to 30, {MARKERS['body']}"
    chat.open().say(text)
    expect(chat.user_messages).to_have_text(text)
    chat.wait_until_writing()
    chat.wait_until_done()
    expect(chat.answer).to_have_text(numbers_to(30))
    html = chat.answer.inner_html()
    chat.page.reload()
    expect(chat.answer).to_have_text(numbers_to(30))
    assert chat.answer.inner_html() == html


def test_messages_and_answers_are_never_logged(echo: ChatPage) -> None:
    words = f"{MARKERS['body']} {MARKERS['answer']}"
    echo.open().ask(words)  # tests/conftest.py fails the test if it is logged
    expect(echo.answer).to_have_text(words)


def test_markdown_is_rendered(echo: ChatPage) -> None:
    echo.open().ask(MARKDOWN)
    expect(echo.answer.get_by_role("heading", name="A title")).to_be_visible()
    expect(echo.answer.locator("strong")).to_have_text("bold")
    link = echo.answer.get_by_role("link", name="link")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", re.compile("noopener.*noreferrer"))
    expect(echo.answer.get_by_role("cell", name="2")).to_have_css("text-align", "right")
    expect(echo.answer.get_by_role("checkbox")).to_be_checked()
    expect(echo.answer.locator("code .kwd").first).to_have_text("def")


def test_a_link_whose_text_names_another_site_shows_its_real_target(echo: ChatPage) -> None:
    echo.open().ask("[bank.example](https://evil.test/x) or <https://example.com/a>")
    expect(echo.answer.get_by_role("link")).to_have_text(["bank.example (evil.test)", "https://example.com/a"])


def test_formulas_are_rendered_and_prices_stay_text(echo: ChatPage) -> None:
    echo.show_thread(
        [
            {"id": "m", "type": "user_message", "content": [{"type": "input_text", "text": "?"}], "attachments": []},
            assistant("Where \\(y\\) is $x^2$, not \\(\\undefined\\):\n\n$$\n\\frac{a}{b}\n$$\n\n$5 and $10 stay."),
        ]
    )
    expect(echo.answer.locator("math")).to_have_count(3)
    expect(echo.answer.locator("div.formula mfrac")).to_be_visible()
    expect(echo.answer).to_contain_text("\\(\\undefined\\)")
    expect(echo.answer).to_contain_text("$5 and $10 stay.")


def test_a_table_in_a_widget_is_rendered_as_an_html_table(echo: ChatPage) -> None:
    def row(*words: str, header: bool = False) -> dict[str, object]:
        cells = [
            {"type": "Table.Cell", "align": "end", "children": [{"type": "Text", "value": word}]} for word in words
        ]
        return {"type": "Table.Row", "header": header, "children": cells}

    table = {"type": "Table", "children": [row("Plan", "Price", header=True), row("Basic", "$5")]}
    echo.show_thread([{"id": "w", "type": "widget", "widget": {"type": "Card", "children": [table]}}])
    rendered = echo.page.locator(".widget table")
    expect(rendered.locator("th")).to_have_text(["Plan", "Price"])
    expect(rendered.locator("td")).to_have_text(["Basic", "$5"])
    expect(rendered.locator("td").last).to_have_css("text-align", "end")


def test_a_users_own_message_shows_its_quote_and_can_be_copied(echo: ChatPage) -> None:
    content = [{"type": "input_text", "text": "Why is that?"}]
    message = {
        "id": "m",
        "type": "user_message",
        "content": content,
        "attachments": [],
        "quoted_text": "The sky is blue.",
    }
    echo.show_thread([message, assistant("Because.")])
    expect(echo.page.locator("blockquote.quoted")).to_have_text("The sky is blue.")
    echo.user_messages.hover()
    echo.button("Copy the message").click()
    expect(echo.button("Copied")).to_be_visible()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "Why is that?"


def test_a_long_approval_request_is_shown_in_full_and_scrolls(echo: ChatPage) -> None:
    memo = "word " * 2_000
    arguments = json.dumps({"memo": memo, "payee": "mal\u202elory"})
    echo.open().ask(f"pay {arguments}")
    expect(echo.page.locator(".questions legend")).to_have_text("Allow “Pay”?")
    question = echo.page.get_by_label("Arguments")
    expect(question).to_have_text(f'memo: "{memo}"\npayee: "mal\\u202elory"', use_inner_text=False)
    inner, outer = question.evaluate("node => [node.scrollHeight, node.clientHeight]")
    assert inner > outer < echo.page.viewport_size["height"]  # type: ignore[index] # every tab has a size
    expect(echo.button("Approve")).to_be_visible()
    question.focus()
    echo.page.keyboard.press("End")
    assert question.evaluate("node => node === document.activeElement")
    # not page.wait_for_function, which evaluates a string in the page, which the page's policy forbids
    question.evaluate(
        "node => node.scrollTop > 0 || new Promise(done => node.addEventListener('scroll', done, {once: true}))"
    )
    assert question.evaluate("node => node.scrollTop") > 0


def test_code_is_copied_exactly(echo: ChatPage) -> None:
    echo.open().ask(MARKDOWN)
    echo.button("Copy code").click()
    expect(echo.button("Copied")).to_be_visible()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "def answer():\n    return 42"


def test_an_answer_is_copied_as_markdown(echo: ChatPage) -> None:
    echo.open().ask("Some **bold** words")
    echo.button("Copy the answer").click()
    assert echo.page.evaluate("navigator.clipboard.readText()") == "Some **bold** words"


def test_stop_ends_the_answer_and_keeps_the_partial_text(chat: ChatPage) -> None:
    chat.open().say("hello")
    chat.wait_until_writing()
    chat.button("Stop").click()
    expect(chat.button("Send")).to_be_visible()
    partial = chat.answer.inner_text()
    assert "lambda_src/agent" not in partial
    chat.page.wait_for_timeout(1500)  # the server learns of it within a second
    chat.page.reload()
    expect(chat.answer).to_contain_text("You said")
    expect(chat.button("Send")).to_be_visible()
    assert "lambda_src/agent" not in chat.answer.inner_text()


def test_escape_stops_an_answer_too(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 200)
    echo.wait_until_writing()
    echo.text.press("Escape")
    expect(echo.button("Send")).to_be_visible()


def test_an_answer_can_be_regenerated(chat: ChatPage) -> None:
    chat.open().ask("count to 20")
    chat.button("Answer again").press("Enter")
    expect(chat.button("Stop")).to_be_visible()
    expect(chat.text).to_be_focused()
    chat.wait_until_done()
    expect(chat.answers).to_have_count(1)
    expect(chat.user_messages).to_have_count(1)
    chat.page.reload()
    expect(chat.answers).to_have_count(1)


def test_opening_another_thread_during_an_answer_loses_nothing_in_either(chat: ChatPage) -> None:
    short, long = "the first thread: count to 3", "the second thread: count to 60"
    chat.open().ask(short)
    chat.button("New chat").first.click()
    chat.say(long)
    chat.wait_until_writing()
    chat.threads.get_by_role("button", name=short, exact=True).click()
    expect(chat.user_messages).to_have_text(short)
    expect(chat.button("Send")).to_be_visible()
    chat.threads.get_by_role("button", name=long, exact=True).click()
    expect(chat.user_messages).to_have_text(long)
    chat.wait_until_done()
    expect(chat.answer).to_have_text(numbers_to(60))


def test_a_reload_resumes_the_answer_in_progress(chat: ChatPage) -> None:
    chat.open().say("hello")
    chat.wait_until_writing(8)
    chat.page.reload()
    expect(chat.button("Stop")).to_be_visible()
    chat.wait_until_done()
    expect(chat.answers).to_have_count(1)
    expect(chat.answer).to_contain_text("You said: “hello”")
    expect(chat.answer).to_contain_text("open the folder lambda_src/agent/.")


def test_going_back_to_the_page_resumes_the_answer_in_progress(chat: ChatPage) -> None:
    chat.open().say("count to 60")
    chat.wait_until_writing(8)
    chat.page.goto("about:blank")
    chat.page.go_back()
    chat.wait_until_writing(9)
    chat.wait_until_done()
    expect(chat.answer).to_have_text(numbers_to(60))


def test_an_answer_is_written_in_two_tabs_and_stopped_in_both(chat: ChatPage) -> None:
    chat.open().say("count to 900")
    chat.wait_until_writing()
    other = ChatPage(chat.page.context.new_page(), chat.url)
    other.open(chat.thread_id)
    other.wait_until_writing(8)
    other.button("Stop").click()
    for tab in (chat, other):
        tab.wait_until_done()
        tab.page.reload()
        expect(tab.answer).to_contain_text("1 2 3")
    assert chat.answer.inner_text() == other.answer.inner_text()


def test_an_answer_resumed_after_a_reload_can_be_stopped(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 300)
    echo.wait_until_writing()
    echo.page.reload()
    echo.wait_until_writing()
    echo.button("Stop").click()
    expect(echo.button("Send")).to_be_visible()
    echo.page.wait_for_timeout(1500)  # as above
    echo.page.reload()
    expect(echo.answer).to_contain_text("slowly word")
    expect(echo.button("Send")).to_be_visible()


def test_feedback_can_be_given_and_is_shown(chat: ChatPage) -> None:
    chat.open().ask("count to 3")
    with chat.page.expect_response(lambda answer: "items.feedback" in (answer.request.post_data or "")) as feedback:
        chat.button("Good answer").click()
    assert feedback.value.status == 200
    expect(chat.button("Good answer")).to_have_attribute("aria-pressed", "true")
    chat.button("Bad answer").click()
    expect(chat.button("Good answer")).to_have_attribute("aria-pressed", "false")
    expect(chat.button("Bad answer")).to_have_attribute("aria-pressed", "true")


def test_shift_enter_starts_a_new_line(echo: ChatPage) -> None:
    echo.open().text.fill("one")
    echo.text.press("Shift+Enter")
    echo.text.press_sequentially("two")
    echo.text.press("Enter")
    expect(echo.user_messages).to_have_text("one\ntwo", use_inner_text=True)


@pytest.mark.parametrize("sign", [{"isComposing": True}, {"keyCode": 229}], ids=["most browsers", "Safari"])
def test_enter_that_ends_the_conversion_of_an_input_method_sends_nothing(
    echo: ChatPage, sign: dict[str, object]
) -> None:
    echo.open().text.fill("konnichiwa")
    echo.text.dispatch_event("keydown", {"key": "Enter", **sign})
    expect(echo.text).to_have_value("konnichiwa")
    echo.text.press("Enter")
    expect(echo.user_messages).to_have_text("konnichiwa")


def test_a_draft_survives_a_reload(echo: ChatPage) -> None:
    echo.open().text.fill("half a thought")
    echo.page.reload()
    expect(echo.text).to_have_value("half a thought")
