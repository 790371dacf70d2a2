"""Attachments in the page: upload to the local S3 bucket, progress, retry, removal, pasting and display."""

import base64
import re

import pytest
from playwright.sync_api import FilePayload, Page, Response, Route, expect

from tests.content_markers import MARKERS
from tests.web.chat_page import ChatPage, assistant, json_response

pytestmark = pytest.mark.xdist_group("browser")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE: FilePayload = {"name": "red.png", "mimeType": "image/png", "buffer": PNG}
NOTES: FilePayload = {"name": "notes.md", "mimeType": "", "buffer": f"# Notes\n{MARKERS['file']}\n".encode()}

PDF: FilePayload = {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4\n%%EOF"}
PAGE: FilePayload = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"<script>document.title = 'run'</script>"}
GONE = json_response({"error": "not_found", "message": "There is no such thread, item or attachment."}, 404)


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
    chip = chat.page.locator("article.is-user_message .chip")
    expect(chip).to_have_text("notes.md Markdown · 1 kB")
    chat.wait_until_done()
    chat.page.reload()
    expect(chip).to_have_text("notes.md Markdown · 1 kB")


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


DROP = """(target) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["# Notes"], "notes.md"));
  return ["dragover", "drop"].map((type) => {
    const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
    target.dispatchEvent(event);
    return event.defaultPrevented;
  });
}"""


def test_a_file_can_be_dropped_anywhere_on_the_page(chat: ChatPage) -> None:
    view = chat.open().page.get_by_role("region", name="Conversation")
    assert view.evaluate(DROP) == [True, True]
    expect(chat.page.locator(".upload")).to_contain_text("notes.md")


def test_a_file_that_is_dropped_on_a_chat_without_attachments_does_not_replace_the_page(echo: ChatPage) -> None:
    view = echo.open().page.get_by_role("region", name="Conversation")
    assert view.evaluate(DROP) == [True, True]
    expect(echo.page.locator(".upload")).to_have_count(0)


@pytest.mark.parametrize(
    ("file", "media_type"), [(PICTURE, "image/png"), (PDF, "application/pdf"), (PAGE, "text/plain; charset=utf-8")]
)
def test_a_file_of_a_message_opens_in_a_tab_that_cannot_reach_the_page(
    chat: ChatPage, file: FilePayload, media_type: str
) -> None:
    chat.open()
    attach(chat, file)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)
    chat.ask("count to 3")
    answers: list[Response] = []
    chat.page.context.on("response", lambda answer: answers.append(answer) if "/kept/" in answer.url else None)
    with chat.page.expect_popup() as opened:
        chat.button(re.compile(f"^Open {file['name']}")).click()
    while not (shown := [answer for answer in answers if "content-disposition=inline" in answer.url.lower()]):
        opened.value.wait_for_timeout(50)
    assert (shown[0].status, shown[0].headers["content-type"]) == (200, media_type)
    assert shown[0].headers["content-disposition"].startswith("inline;")
    assert "authorization" not in shown[0].request.headers
    if file is not PDF:  # which a headless browser downloads
        opened.value.wait_for_url("**/kept/**")
        assert opened.value.evaluate("opener") is None
        assert opened.value.evaluate("document.scripts.length") == 0


def test_a_file_that_is_gone_is_explained_and_its_tab_closed(chat: ChatPage) -> None:
    chat.open()
    attach(chat, NOTES)
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)
    chat.ask("count to 3")
    chat.page.context.route("**/chatkit/attachments/**", lambda route: route.fulfill(**GONE))
    with chat.page.expect_popup() as opened:
        chat.button("Open notes.md Markdown · 1 kB").click()
    expect(chat.notice).to_contain_text("There is no such thread, item or attachment.")
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")


def test_a_cited_file_of_the_thread_opens_and_another_is_only_named(echo: ChatPage) -> None:
    attachment = {"id": "atc_1", "type": "file", "name": "plan.pdf", "mime_type": "application/pdf", "size": 2_500_000}
    message = {"id": "m", "type": "user_message", "content": [], "attachments": [attachment]}
    sources = [
        {"type": "file", "title": "The plan", "filename": "plan.pdf"},
        {"type": "file", "title": "Another", "filename": "other.pdf"},
        {"type": "url", "title": "A page", "url": "https://example.com/"},
    ]
    answer = assistant("As planned.")
    answer["content"][0]["annotations"] = [{"type": "annotation", "source": source, "index": 3} for source in sources]
    echo.page.context.route("**/chatkit/attachments/atc_1", lambda route: route.fulfill(**GONE))
    echo.show_thread([message, answer])
    expect(echo.button("Open plan.pdf PDF · 2.5 MB")).to_have_text("plan.pdf PDF · 2.5 MB")
    with echo.page.expect_popup():
        echo.button("The plan").click()
    expect(echo.notice).to_contain_text("There is no such")
    expect(echo.button("Another")).to_have_count(0)
    expect(echo.page.get_by_text("Another")).to_be_visible()
    link = echo.page.get_by_role("link", name="A page")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
