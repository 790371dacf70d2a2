"""Attachments in the page: upload to the local S3 bucket, progress, retry, removal, pasting and display."""

import base64

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.content_markers import MARKERS
from tests.web.chat_page import ChatPage

pytestmark = pytest.mark.xdist_group("browser")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE: FilePayload = {"name": "red.png", "mimeType": "image/png", "buffer": PNG}
NOTES: FilePayload = {"name": "notes.md", "mimeType": "", "buffer": f"# Notes\n{MARKERS['file']}\n".encode()}


def attach(chat: ChatPage, *files: FilePayload) -> None:
    """Attach files as with the button."""
    chat.page.locator("input[type=file]").set_input_files(list(files))


def test_files_are_uploaded_shown_and_sent(chat: ChatPage) -> None:
    chat.open()
    attach(chat, PICTURE, NOTES)
    uploads = chat.page.get_by_role("list", name="Attached files")
    expect(uploads.get_by_role("listitem")).to_have_count(2)
    expect(uploads.locator("img")).to_be_visible()
    expect(uploads.get_by_role("progressbar")).to_have_count(0)
    chat.ask("look at these, then count to 3")
    expect(uploads).to_be_hidden()
    chat.page.reload()
    sent = chat.page.locator("article.is-user_message")
    expect(sent.get_by_text("notes.md")).to_be_visible()
    picture = sent.get_by_role("img", name="red.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 1


def test_a_file_can_be_sent_without_text(chat: ChatPage) -> None:
    chat.open()
    attach(chat, NOTES)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)
    chat.button("Send").click()
    chat.wait_until_writing()
    expect(chat.page.locator("article.is-user_message .chip")).to_have_text("notes.md")


def test_upload_progress_is_shown_and_the_message_waits_for_the_upload(chat: ChatPage) -> None:
    waiting: list[Route] = []
    chat.open().page.route("**/chat-files/**", lambda route: waiting.append(route))
    attach(chat, PICTURE)
    expect(chat.page.get_by_role("progressbar", name="Uploading red.png")).to_be_visible()
    chat.text.fill("look")
    expect(chat.hint).to_have_text("Uploading red.png ...")
    chat.text.press("Enter")
    expect(chat.hint).to_have_text("The message is sent as soon as red.png is uploaded.")
    expect(chat.user_messages).to_have_count(0)
    wait_for_route(chat.page, waiting)[0].continue_()
    expect(chat.user_messages).to_have_text("look")
    expect(chat.page.locator("article.is-user_message img")).to_be_visible()
    expect(chat.hint).to_have_text("Enter sends, Shift + Enter starts a new line.")


def wait_for_route(page: Page, waiting: list[Route]) -> list[Route]:
    """Wait until there is a route, and return the list."""
    while not waiting:
        page.wait_for_timeout(50)
    return waiting


def test_a_failed_upload_can_be_retried(chat: ChatPage) -> None:
    chat.open().page.route("**/chat-files/**", lambda route: route.abort())
    attach(chat, PICTURE)
    expect(chat.page.locator(".upload.failed")).to_contain_text("Try again")
    chat.text.fill("look")
    chat.text.press("Enter")
    expect(chat.hint).to_have_text("red.png was not uploaded. Try again or remove it; then the message can be sent.")
    expect(chat.user_messages).to_have_count(0)
    chat.page.unroute("**/chat-files/**")
    chat.button("Try again").click()
    expect(chat.page.locator(".upload.failed")).to_have_count(0)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)


def test_a_file_that_the_server_refuses_shows_the_reason(chat: ChatPage) -> None:
    chat.open()
    attach(chat, {"name": "page.html", "mimeType": "text/html", "buffer": b"<p>"})
    expect(chat.page.locator(".upload.failed")).to_contain_text("Accepted types: PNG, JPEG, GIF and WebP pictures, PDF")
    expect(chat.button("Try again")).to_have_count(0)
    chat.button("Remove page.html").click()
    expect(chat.page.locator(".upload")).to_have_count(0)


def test_a_refused_file_does_not_block_the_message(chat: ChatPage) -> None:
    chat.open()
    attach(chat, {"name": "page.html", "mimeType": "text/html", "buffer": b"<p>"}, PICTURE)
    expect(chat.hint).to_have_text("page.html is not accepted and will not be sent.")
    chat.ask("look at this")
    expect(chat.user_messages).to_have_text("look at this")
    expect(chat.page.locator("article.is-user_message .files > *")).to_have_count(1)
    expect(chat.page.locator(".upload")).to_have_count(0)


def test_a_refused_file_alone_is_not_a_message(chat: ChatPage) -> None:
    chat.open()
    attach(chat, {"name": "page.html", "mimeType": "text/html", "buffer": b"<p>"})
    expect(chat.page.locator(".upload.failed")).to_be_visible()
    chat.text.press("Enter")
    expect(chat.user_messages).to_have_count(0)
    expect(chat.hint).to_have_text("page.html is not accepted and will not be sent.")


def test_an_uploaded_file_can_be_removed(chat: ChatPage) -> None:
    chat.open()
    attach(chat, PICTURE)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)
    with chat.page.expect_response(lambda answer: "attachments.delete" in (answer.request.post_data or "")) as deleted:
        chat.button("Remove red.png").click()
    assert deleted.value.status == 200


def test_a_picture_can_be_pasted(chat: ChatPage) -> None:
    chat.open().text.evaluate(
        """(text, data) => {
          const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
          text.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(PNG).decode(),
    )
    expect(chat.page.locator(".upload")).to_contain_text("pasted.png")
