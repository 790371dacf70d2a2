"""Scenes for the screenshots of the page: a new chat, widgets, a tool call that waits, and operators."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Route, expect

from tests.web.chat_page import ChatPage, assistant, json_response
from tests.web.operator_page import OperatorPage
from tests.web.widget_samples import PICTURE, PICTURE_URL

QUESTION = "May I pay this invoice?\npayee: Lisbon Tram Company\namount: 12.40 EUR\nmemo: Two day tickets"
ORDER = {
    "type": "Card",
    "status": {"text": "Orders", "icon": "check-circle"},
    "children": [
        {
            "type": "Row",
            "justify": "between",
            "children": [
                {"type": "Title", "value": "Order 17"},
                {"type": "Badge", "label": "Paid", "color": "success"},
            ],
        },
        {"type": "Text", "value": "Two pairs of socks, one umbrella", "color": "secondary"},
        {"type": "Divider"},
        {
            "type": "Row",
            "justify": "between",
            "children": [
                {"type": "Text", "value": "Total"},
                {"type": "Text", "value": "41.80 EUR", "weight": "semibold"},
            ],
        },
        {
            "type": "Row",
            "children": [
                {"type": "Button", "label": "Ship it", "onClickAction": {"type": "ship"}},
                {"type": "Button", "label": "Cancel", "variant": "outline", "onClickAction": {"type": "cancel"}},
            ],
        },
    ],
}
DELIVERY = {
    "type": "Card",
    "asForm": True,
    "children": [
        {"type": "Title", "value": "Delivery"},
        {"type": "Label", "value": "Name", "fieldName": "name"},
        {"type": "Input", "name": "name", "defaultValue": "Ada Lovelace"},
        {"type": "Label", "value": "Day", "fieldName": "day"},
        {"type": "DatePicker", "name": "day"},
        {"type": "Checkbox", "name": "fast", "label": "Express", "defaultChecked": True},
    ],
    "confirm": {"label": "Save", "action": {"type": "save"}},
    "cancel": {"label": "Not now", "action": {"type": "no"}},
}
STEPS = {
    "type": "custom",
    "summary": {"title": "Looked up the invoice"},
    "tasks": [
        {"type": "custom", "title": "Found invoice 2041", "status_indicator": "complete"},
        {"type": "custom", "title": "Compared it with the tickets", "status_indicator": "complete"},
    ],
    "expanded": True,
}


def show_start(chat: ChatPage) -> None:
    """A new chat with one of two assistants."""
    chat.open().ask("A packing list for Lisbon")
    chat.button("New chat").first.click()
    chat.text.hover()  # not the button


def show_widgets(chat: ChatPage) -> None:
    """A card with buttons, and a form."""
    list_threads(chat, "Order 17", "A larger umbrella", "Opening hours")
    chat.show_thread(
        [
            user_message("Where is order 17?"),
            assistant("It is paid and ready to ship. Do you want me to ship it now?", "msg_a"),
            {"id": "wid_1", "type": "widget", "widget": ORDER},
            {"id": "wid_2", "type": "widget", "widget": DELIVERY},
        ],
        title="Order 17",
    )


def show_samples(chat: ChatPage, samples: Mapping[str, Any]) -> None:
    """The samples, each as an item, in their order."""
    chat.page.route(PICTURE_URL, lambda route: route.fulfill(body=PICTURE, content_type="image/svg+xml"))
    chat.show_thread([{"id": kind, "type": "widget", "widget": sample} for kind, sample in samples.items()])
    expect(chat.page.locator(".widget")).to_have_count(len(samples))
    chat.page.locator(".widget img").evaluate("image => image.decode()")


def show_activity(chat: ChatPage) -> None:
    """Tool calls above an answer, the first with its arguments and result open."""
    details = "Arguments\n\n```\norder_id: 17\n```\n\nResult\n\n```\nleft the warehouse on Monday\n```"
    calls = [("Look up the order", details), ("Search the web", None)]
    tasks = [
        {"type": "custom", "title": title, "status_indicator": "complete", "content": text} for title, text in calls
    ]
    summary = {"title": "Look up the order, Search the web"}
    workflow = {"type": "custom", "tasks": tasks, "expanded": True, "summary": summary}
    list_threads(chat, "Order 17", "A larger umbrella", "Opening hours")
    chat.show_thread(
        [
            user_message("Where is order 17?"),
            {"id": "activity-wf_1", "type": "workflow", "workflow": workflow},
            assistant("It left the warehouse on **Monday**. Delivery to Lisbon takes three days.", "msg_a"),
        ],
        title="Order 17",
    )
    chat.page.locator(".workflow li summary").first.click()
    expect(chat.page.get_by_text("order_id: 17")).to_be_visible()


def show_approval(chat: ChatPage) -> None:
    """A tool call that waits for permission."""
    list_threads(chat, "Tram company invoice", "Day tickets in Lisbon", "Travel budget")
    options = [{"value": "Allow"}, {"value": "Refuse"}]
    inputs = [{"id": "q", "type": "multiple_choice", "question": QUESTION, "options": options, "multiple": False}]
    chat.show_thread(
        [
            user_message("Please pay the invoice from the tram company."),
            {"id": "wf", "type": "workflow", "workflow": STEPS},
            {"id": "approval-1", "type": "structured_input", "status": "pending", "inputs": inputs},
        ],
        title="Tram company invoice",
    )


def list_threads(chat: ChatPage, *titles: str) -> None:
    """Let the list of chats show these, started today."""
    now = datetime.now(UTC).isoformat()
    threads = [
        {"id": f"thr_{title}", "title": title, "created_at": now, "status": {"type": "active"}} for title in titles
    ]
    threads[0]["id"] = "thr_x"  # the open one
    chat.respond_with("threads.list", json_response({"data": threads, "has_more": False}))


def user_message(text: str) -> dict[str, Any]:
    """A message of the user as the server lists it."""
    content = [{"type": "input_text", "text": text}]
    return {"id": "msg_u", "type": "user_message", "content": content, "attachments": [], "inference_options": {}}


def show_operator(desk: OperatorPage) -> None:
    """The operators' page with a thread that the operator has, and others that wait."""
    now = datetime.now(UTC)
    matters = [
        matter_of("u_7f0c2b91d4", "handoff", "taken", now - timedelta(minutes=6), operator="u_olga"),
        matter_of("u_52e88a03bc", "handoff", "open", now - timedelta(minutes=2)),
        matter_of("u_c94d1f6e20", "thumbs-down", "open", now - timedelta(minutes=41)),
        matter_of("u_0b77e5a9f1", "failed-turn", "open", now - timedelta(minutes=55)),
        matter_of("u_e1136c8d44", "handoff", "taken", now - timedelta(minutes=12), operator="u_paul"),
    ]
    items = [
        user_message("Order 17 was supposed to arrive on Monday."),
        assistant("Order 17 left our workshop on Friday. I can't see where it is now.", "msg_a"),
        {**user_message("Can I talk to a person?"), "id": "msg_b"},
        assistant("**Olga:** Hello! I called the carrier. Your order is in Porto and will arrive tomorrow.", "msg_c"),
        {**user_message("Thank you, Olga. Tomorrow is fine."), "id": "msg_d"},
    ]
    dated = [{"thread_id": "thr_x", "created_at": now.isoformat(), **item} for item in items]
    thread = {"id": "thr_x", "title": "Order 17 is late", "created_at": now.isoformat(), "status": {"type": "active"}}
    held = {"state": "person", "operator": "u_olga", "since": now.isoformat()}
    shown = {"thread": thread, "held": held, "items": {"data": dated[::-1], "has_more": False, "after": None}}

    def inbox(route: Route) -> None:
        listed = [matter for matter in matters if f"state={matter['state']}" in route.request.url]
        route.fulfill(**json_response({"matters": listed, "after": None, "operator": "u_olga"}))

    desk.page.route("**/operator/inbox?*", inbox)
    desk.page.route("**/operator/threads/**", lambda route: route.fulfill(**json_response(shown)))
    desk.page.add_init_script("localStorage.setItem('chat.author', 'Olga')")
    desk.open().choose("u_7f0c2b91d4")
    expect(desk.who).to_have_text("You have this conversation.")
    desk.text.fill("You're welcome. Is there anything else I can help with?")


def matter_of(user: str, kind: str, state: str, opened: datetime, operator: str | None = None) -> dict[str, Any]:
    """A matter as the inbox lists it."""
    return {
        "id": f"{kind}#{user}", "kind": kind, "state": state, "assistant": "", "user": user, "thread": "thr_x",
        "cause": None, "operator": operator, "opened_at": opened.isoformat(), "changed_at": opened.isoformat(),
    }  # fmt: skip
