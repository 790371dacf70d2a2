"""Scenes for the screenshots of the page: a new chat, widgets, and a tool call that waits for permission."""

from datetime import UTC, datetime
from typing import Any

from tests.web.chat_page import ChatPage, assistant, json_response

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
                {"type": "Badge", "label": "paid", "color": "success"},
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
        {"type": "custom", "title": "Compared it with the order", "status_indicator": "complete"},
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
    list_threads(chat, "Order 17", "Umbrellas for two", "Opening hours")
    chat.show_thread(
        [
            user_message("Where is order 17?"),
            assistant("It is paid and ready. Shall I ship it?", "msg_a"),
            {"id": "wid_1", "type": "widget", "widget": ORDER},
            {"id": "wid_2", "type": "widget", "widget": DELIVERY},
        ],
        title="Order 17",
    )


def show_approval(chat: ChatPage) -> None:
    """A tool call that waits for permission."""
    list_threads(chat, "Invoice of the tram company", "Day tickets in Lisbon", "Budget of the journey")
    options = [{"value": "Allow"}, {"value": "Refuse"}]
    inputs = [{"id": "q", "type": "multiple_choice", "question": QUESTION, "options": options, "multiple": False}]
    chat.show_thread(
        [
            user_message("Pay the invoice of the tram company, please."),
            {"id": "wf", "type": "workflow", "workflow": STEPS},
            {"id": "approval-1", "type": "structured_input", "status": "pending", "inputs": inputs},
        ],
        title="Invoice of the tram company",
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
