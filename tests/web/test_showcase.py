"""Everything besides text that the page displays (docs/reference/chatkit.md): widgets, forms, tools, workflows."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Request, expect

from tests.web.chat_page import ChatPage, assistant, stream_of

pytestmark = pytest.mark.xdist_group("browser")


def test_the_buttons_of_a_widget_run_their_actions(chat: ChatPage) -> None:
    chat.open().ask("show me a widget")
    card = chat.page.locator(".widget").last
    expect(card.get_by_role("heading", name="Order 17")).to_be_visible()
    card.get_by_role("button", name="Ship").click()
    expect(card).to_contain_text("shipped")
    expect(card.get_by_role("button")).to_have_count(0)
    chat.page.reload()
    expect(chat.page.locator(".widget")).to_contain_text("shipped")


def test_an_action_that_does_not_stream_updates_its_widget(chat: ChatPage) -> None:
    chat.open().ask("show me a widget")
    chat.button("Cancel").click()
    expect(chat.page.locator(".widget")).to_contain_text("cancelled")


def test_an_action_may_start_an_answer(chat: ChatPage) -> None:
    chat.open().ask("show me a widget")
    chat.button("Explain").click()
    expect(chat.answers).to_have_count(2)
    chat.button("Stop").click()  # it would take long
    chat.wait_until_done()
    expect(chat.button("Ship")).to_be_enabled()


def test_after_an_action_the_focus_is_back_and_only_what_was_enabled_is_enabled(chat: ChatPage) -> None:
    ship = {"type": "Button", "label": "Ship", "onClickAction": {"type": "ship"}}
    sold_out = {"type": "Button", "label": "Sold out", "disabled": True}
    chat.show_thread([{"id": "w", "type": "widget", "widget": {"type": "Card", "children": [ship, sold_out]}}])
    chat.respond_with("threads.custom_action", stream_of([]))
    chat.button("Ship").press("Enter")
    expect(chat.button("Ship")).to_be_focused()
    expect(chat.button("Ship")).to_be_enabled()
    expect(chat.button("Sold out")).to_be_disabled()


def test_a_form_that_is_being_filled_in_is_kept_when_its_turn_ends(chat: ChatPage) -> None:
    thread = {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}}
    begun = [
        {"type": "thread.created", "thread": thread},
        {"type": "thread.item.done", "item": {"id": "wid", "type": "widget", "widget": FORM}},
    ]
    chat.page.add_init_script(script=STREAM % lines_of(begun))
    chat.open().say("book a room")
    name = chat.page.locator(".widget").get_by_label("Name", exact=True)
    name.fill("Grace")
    chat.page.evaluate("finishStream()")
    chat.wait_until_done()
    expect(name).to_have_value("Grace")
    expect(name).to_be_focused()


def test_a_widget_can_be_streamed(chat: ChatPage) -> None:
    chat.open().ask("stream a widget")
    expect(chat.page.locator(".widget")).to_have_text("A widget whose text arrives word by word, as an answer does.")


FORM = {
    "type": "Card",
    "asForm": True,
    "children": [
        {
            "type": "Row",
            "children": [{"type": "Title", "value": "Book"}, {"type": "Badge", "label": "new", "color": "success"}],
        },
        {"type": "Label", "value": "Name", "fieldName": "name"},
        {"type": "Input", "name": "name", "defaultValue": "Ada"},
        {
            "type": "Select",
            "name": "size",
            "options": [{"value": "s", "label": "Small"}, {"value": "l", "label": "Large"}],
        },
        {
            "type": "RadioGroup",
            "name": "when",
            "options": [{"value": "now", "label": "Now"}, {"value": "then", "label": "Then"}],
        },
        {"type": "Checkbox", "name": "fast", "label": "Fast", "defaultChecked": True},
        {"type": "Textarea", "name": "note"},
        {"type": "DatePicker", "name": "day"},
        {"type": "Divider"},
        {"type": "Markdown", "value": "**Bold** words"},
        {"type": "Caption", "value": "small"},
        {"type": "Unknown", "children": [{"type": "Text", "value": "inside"}]},
    ],
    "confirm": {"label": "Book it", "action": {"type": "book", "payload": {"room": 7}}},
    "cancel": {"label": "No", "action": {"type": "no"}},
}


def params_of(request: Request) -> dict[str, Any]:
    """The parameters of a ChatKit request."""
    params: dict[str, Any] = json.loads(request.post_data or "")["params"]
    return params


def test_the_fields_of_a_form_are_sent_with_its_action(chat: ChatPage) -> None:
    chat.show_thread([{"id": "wid", "type": "widget", "widget": FORM}])
    card = chat.page.locator(".widget")
    card.get_by_label("Name", exact=True).fill("Grace")
    card.get_by_label("size").select_option("Large")
    card.get_by_label("Then").check()
    card.get_by_label("day").fill("2026-12-24")
    expect(card.get_by_text("inside")).to_be_visible()
    expect(card.locator("strong")).to_have_text("Bold")
    with chat.page.expect_request(lambda request: "custom_action" in (request.post_data or "")) as sent:
        card.get_by_role("button", name="Book it").click()
    fields = {"name": "Grace", "size": "l", "when": "then", "fast": True, "note": "", "day": "2026-12-24"}
    assert params_of(sent.value)["action"] == {"type": "book", "payload": {"room": 7, **fields}}


def test_a_list_can_show_more_rows_and_its_rows_can_be_clicked(chat: ChatPage) -> None:
    rows = [
        {
            "type": "ListViewItem",
            "onClickAction": {"type": "pick", "payload": {"n": n}},
            "children": [{"type": "Text", "value": f"row {n}"}],
        }
        for n in range(4)
    ]
    chat.show_thread([{"id": "wid", "type": "widget", "widget": {"type": "ListView", "limit": 2, "children": rows}}])
    expect(chat.page.get_by_text(re.compile("^row")).locator("visible=true")).to_have_count(2)
    chat.button("Show more").click()
    with chat.page.expect_request(lambda request: "custom_action" in (request.post_data or "")) as sent:
        chat.button("row 3").click()
    assert params_of(sent.value)["action"]["payload"] == {"n": 3}


def test_questions_can_be_answered_once_and_the_turn_continues(chat: ChatPage) -> None:
    chat.open().ask("ask me something")
    chat.page.get_by_label("green").check()
    chat.page.get_by_label("And why?").fill("It is calm.")
    chat.button("Answer").press("Enter")
    expect(chat.text).to_be_focused()  # the form is gone
    expect(chat.answers).to_have_count(1)
    chat.wait_until_done()
    expect(chat.page.locator(".answers")).to_contain_text("green")
    expect(chat.page.locator(".answers")).to_contain_text("It is calm.")
    chat.page.reload()
    expect(chat.page.locator(".answers")).to_contain_text("green")
    expect(chat.button("Answer")).to_have_count(0)


def test_questions_may_be_skipped(chat: ChatPage) -> None:
    chat.open().ask("ask me something")
    chat.button("Skip").click()
    expect(chat.page.locator(".answers")).to_contain_text("Skipped")


@pytest.mark.parametrize(("decision", "answered"), [("Approve", "is refunded"), ("Deny", "did not allow")])
def test_a_tool_that_needs_approval_runs_only_if_it_is_approved(chat: ChatPage, decision: str, answered: str) -> None:
    chat.open().ask("give a refund")
    expect(chat.page.get_by_text("Allow “Give a refund”?")).to_be_visible()
    chat.page.reload()  # the question stays
    chat.button(decision).click()
    chat.wait_until_done()
    expect(chat.answers).to_have_count(1)
    expect(chat.page.locator(".answers")).to_contain_text(decision)
    expect(chat.answer).to_contain_text(answered)


def test_a_client_tool_runs_if_the_user_allows_it(chat: ChatPage) -> None:
    chat.open()
    chat.page.evaluate("navigator.clipboard.writeText('from the clipboard')")
    chat.ask("read my clipboard")
    chat.button("Allow").click()
    chat.wait_until_done()
    expect(chat.answer).to_contain_text("from the clipboard")
    expect(chat.button("Allow")).to_have_count(0)


def test_a_client_tool_does_not_run_if_the_user_refuses(chat: ChatPage) -> None:
    chat.open()
    chat.page.evaluate("navigator.clipboard.writeText('a secret')")
    chat.ask("read my clipboard")
    chat.button("Refuse").click()
    chat.wait_until_done()
    expect(chat.answer).to_contain_text("refused")
    expect(chat.answer).not_to_contain_text("a secret")


def test_the_steps_of_a_workflow_are_shown_and_can_be_collapsed(chat: ChatPage) -> None:
    chat.open().ask("work through steps")
    steps = chat.page.locator("details.workflow")
    expect(steps.get_by_text("Two steps")).to_be_visible()
    expect(steps.get_by_text("into the drawer")).to_be_visible()
    expect(steps.get_by_role("link", name="Example")).to_have_attribute("href", "https://example.com/")
    steps.get_by_text("Two steps").click()
    expect(steps.get_by_text("into the drawer")).to_be_hidden()


def test_a_task_is_shown(chat: ChatPage) -> None:
    chat.open().ask("show a task")
    expect(chat.page.locator(".task-item")).to_contain_text("Counted")


def test_progress_is_shown_while_it_lasts(chat: ChatPage) -> None:
    lines: list[dict[str, Any]] = [
        {
            "type": "thread.created",
            "thread": {"id": "thr_x", "created_at": "2026-01-01T00:00:00Z", "status": {"type": "active"}},
        },
        {"type": "stream_options", "stream_options": {"allow_cancel": True}},
        {"type": "progress_update", "icon": "search", "text": "Looking ..."},
    ]
    chat.page.add_init_script(script=STREAM % lines_of(lines))
    chat.open().say("show progress")
    expect(chat.page.locator(".progress")).to_have_text("Looking ...")
    chat.page.evaluate("finishStream()")
    expect(chat.page.locator(".progress")).to_have_count(0)


STREAM = """const real = fetch; window.fetch = (url, init) => {
  if (!String(init?.body).includes("threads.create")) return real(url, init);
  const body = new ReadableStream({ start(stream) {
    window.sendEvents = (lines) => stream.enqueue(new TextEncoder().encode(lines));
    window.finishStream = () => stream.close();
    sendEvents(%s);
  } });
  return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
};"""


def lines_of(events: list[dict[str, Any]]) -> str:
    """An event stream, as a JavaScript string."""
    return json.dumps("".join(f"data: {json.dumps(event)}\n\n" for event in events))


def test_a_client_effect_changes_the_page(chat: ChatPage) -> None:
    chat.open().ask("change my page")
    expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_notice_is_shown_and_can_be_dismissed(chat: ChatPage) -> None:
    chat.open().ask("show a notice")
    expect(chat.notice.locator("strong")).to_have_text(["Notice", "not"])
    expect(chat.notice.get_by_text("not", exact=True)).to_have_css("display", "inline")  # on its line
    chat.button("Dismiss").click()
    expect(chat.notice).to_have_count(0)


def test_the_sources_of_an_answer_are_listed(chat: ChatPage) -> None:
    chat.open().ask("cite your sources")
    sources = chat.answers.first.get_by_role("list", name="Sources")
    expect(sources.get_by_role("listitem")).to_have_text(["On socks", "Inventory", "The drawer"])
    expect(sources.get_by_role("link")).to_have_count(1)


def test_a_locked_thread_accepts_no_messages(chat: ChatPage) -> None:
    chat.open().ask("lock this thread")
    expect(chat.text).to_be_disabled()
    expect(chat.page.get_by_text("It was locked on request.")).to_be_visible()
    expect(chat.text).to_have_attribute("placeholder", "")
    chat.button("New chat").first.click()
    expect(chat.text).to_be_enabled()


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_generated_pictures_are_shown(chat: ChatPage) -> None:
    image = {"id": "img", "type": "generated_image", "image": {"id": "i", "url": PIXEL}}
    chat.show_thread([image, assistant("Here it is.")])
    picture = chat.page.get_by_role("img", name="Picture made by the assistant")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
