"""Editing the last message of one's own in the page: the pencil, Enter, Escape, refusals, files and other tabs."""

import re

import pytest
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage, assistant, json_response, stream_of
from tests.web.test_access import serious
from tests.web.test_attachments import NOTES, PICTURE, attach

pytestmark = pytest.mark.xdist_group("browser")

EDIT, BOX = "Edit the message", "Edited text"


def edit(page: ChatPage, words: str) -> None:
    """Open the editor and replace its text."""
    page.user_messages.last.hover()
    page.button(EDIT).click()
    page.page.get_by_label(BOX).fill(words)


def send(page: ChatPage) -> None:
    page.page.get_by_label(BOX).press("Enter")


def test_an_edited_message_replaces_itself_and_its_answer(echo: ChatPage) -> None:
    echo.open().ask("first")
    echo.ask("sceond")
    expect(echo.button(EDIT)).to_have_count(1)
    edit(echo, "second")
    send(echo)
    echo.wait_until_done()
    expect(echo.user_messages).to_have_text(["first", "second"])
    expect(echo.answers).to_have_count(2)
    expect(echo.answer).to_have_text("second")
    expect(echo.text).to_be_focused()
    echo.page.reload()
    expect(echo.user_messages).to_have_text(["first", "second"])
    expect(echo.answers.locator("chat-markdown")).to_have_text(["first", "second"])


def test_escape_leaves_the_message_as_it_was_and_returns_to_the_pencil(echo: ChatPage) -> None:
    echo.open().ask("first")
    edit(echo, "something else")
    box = echo.page.get_by_label(BOX)
    expect(box).to_be_focused()
    box.press("Shift+Enter")
    box.press("Escape")
    expect(box).to_have_count(0)
    expect(echo.user_messages).to_have_text("first")
    expect(echo.button(EDIT)).to_be_focused()
    expect(echo.answers).to_have_count(1)


def test_a_message_cannot_be_edited_while_its_answer_is_written_or_in_a_closed_thread(echo: ChatPage) -> None:
    echo.open().say("slowly " + "word " * 200)
    echo.wait_until_writing()
    expect(echo.button(EDIT)).to_have_count(0)
    echo.button("Stop").click()
    expect(echo.button(EDIT)).to_have_count(1)
    closed = {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "closed"}}
    message = {"id": "m", "type": "user_message", "content": [{"type": "input_text", "text": "?"}], "attachments": []}
    echo.show_thread([message, assistant("!")])
    expect(echo.button(EDIT)).to_have_count(1)
    echo.respond_with("threads.get_by_id", json_response(closed))
    echo.page.reload()
    expect(echo.answer).to_have_text("!")
    expect(echo.button(EDIT)).to_have_count(0)


def test_an_edit_that_is_too_long_changes_nothing_and_keeps_the_text(echo: ChatPage) -> None:
    echo.open().ask("first")
    edit(echo, "x" * 40_001)
    send(echo)
    expect(echo.notice).to_contain_text("the limit is")
    box = echo.page.get_by_label(BOX)
    expect(box).to_have_value("x" * 40_001)
    expect(echo.answer).to_have_text("first")
    box.fill("shorter")
    send(echo)
    echo.wait_until_done()
    expect(echo.user_messages).to_have_text("shorter")
    expect(echo.answer).to_have_text("shorter")
    expect(echo.page.locator(".notice")).to_have_count(0)


def test_the_answer_to_an_edited_message_survives_a_reload(echo: ChatPage) -> None:
    echo.open().ask("first")
    words = "slowly " + "word " * 40
    edit(echo, words)
    send(echo)
    echo.wait_until_writing()
    echo.page.reload()
    echo.wait_until_done()
    expect(echo.user_messages).to_have_text(words.strip())
    expect(echo.answers).to_have_count(1)
    expect(echo.answer).to_have_text(words.strip())


def test_a_refused_edit_can_be_sent_again(echo: ChatPage) -> None:
    echo.open().ask("first")
    refused = json_response({"error": "unavailable", "message": "Try again later."}, 409)
    echo.respond_with("threads.add_user_message", refused)
    edit(echo, "changed")
    send(echo)
    expect(echo.notice).to_contain_text("Try again later.")
    expect(echo.page.get_by_label(BOX)).to_have_value("changed")
    send(echo)
    echo.wait_until_done()
    expect(echo.answer).to_have_text("changed")


def test_an_edit_in_a_tab_that_missed_a_message_is_refused_with_a_sentence(echo: ChatPage) -> None:
    echo.open().ask("first")
    other = ChatPage(echo.page.context.new_page(), echo.url)
    other.page.goto(echo.page.url)
    token = echo.page.evaluate("sessionStorage.getItem('chat.token')")
    other.page.evaluate("token => sessionStorage.setItem('chat.token', token)", token)
    other.page.reload()
    expect(other.user_messages).to_have_text("first")
    other.ask("newer")
    edit(echo, "changed")
    send(echo)
    expect(echo.notice).to_contain_text("Only your last message can be edited.")
    other.page.reload()
    expect(other.user_messages).to_have_text(["first", "newer"])


def test_the_files_of_an_edited_message_are_kept(chat: ChatPage) -> None:
    chat.open()
    attach(chat, PICTURE, NOTES)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)
    chat.ask("count to 3")
    edit(chat, "count to 4")
    send(chat)
    chat.wait_until_done()
    expect(chat.answer).to_have_text("1 2 3 4")
    chat.page.reload()
    sent = chat.page.locator("article.is-user_message")
    expect(sent.get_by_role("img", name="red.png")).to_be_visible()
    expect(sent.get_by_text("notes.md")).to_be_visible()


def test_an_edit_names_the_message_and_keeps_its_quote_and_model(echo: ChatPage) -> None:
    message = {
        "id": "msg_1", "type": "user_message", "content": [{"type": "input_text", "text": "Why?"}], "attachments": [],
        "quoted_text": "The sky is blue.", "inference_options": {"model": "small"},
    }  # fmt: skip
    done = {"thread_id": "thr_x", "created_at": "2026-01-01T00:00:00Z", **message}
    echo.respond_with("threads.add_user_message", stream_of([{"type": "thread.item.done", "item": done}]))
    echo.show_thread([message, assistant("Because.")])
    edit(echo, "Why not?")
    with echo.page.expect_request(lambda request: "add_user_message" in (request.post_data or "")) as sent:
        send(echo)
    assert sent.value.post_data_json == {
        "type": "threads.add_user_message",
        "params": {
            "thread_id": "thr_x",
            "input": {
                "content": [{"type": "input_text", "text": "Why not?"}], "attachments": [],
                "quoted_text": "The sky is blue.", "inference_options": {"model": "small"},
            },
        },
        "metadata": {"edited_item_id": "msg_1"},
    }  # fmt: skip
    expect(echo.page.locator("blockquote.quoted")).to_have_text(re.compile("sky"))


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_the_editor_and_long_file_names_fit_a_phone_and_axe_reports_nothing_serious(
    echo: ChatPage, colors: str
) -> None:
    echo.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    echo.page.set_viewport_size({"width": 390, "height": 800})
    file = {"id": "a", "type": "file", "name": f"{'a plan ' * 12}.pdf", "mime_type": "application/pdf", "size": 9_000}
    words = [{"type": "input_text", "text": "Look at this " * 20}]
    echo.show_thread([{"id": "m", "type": "user_message", "content": words, "attachments": [file]}, assistant("Yes.")])
    echo.button(EDIT).click()
    expect(echo.page.get_by_label(BOX)).to_be_focused()
    for part in (".chip.file", ".editor", ".editor textarea"):
        box = echo.page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert serious(echo.page) == []
