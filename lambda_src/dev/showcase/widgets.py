"""Widgets of the showcase: one with buttons, one whose text streams."""

from collections.abc import AsyncGenerator

from agents import function_tool
from chatkit.widgets import DynamicWidgetRoot, WidgetRoot

from lambda_src.dev.showcase.chat import Chat

STORY = "A widget whose text arrives word by word, as an answer does."


def order_card(order_id: int, state: str) -> DynamicWidgetRoot:
    """An order with two buttons while it is open: one streams, one does not."""
    buttons = [
        {"type": "Button", "label": "Ship", "onClickAction": {"type": "order.ship", "payload": {"order_id": order_id}}},
        {
            "type": "Button",
            "label": "Cancel",
            "onClickAction": {"type": "order.cancel", "payload": {"order_id": order_id}, "streaming": False},
        },
        {"type": "Button", "label": "Explain", "onClickAction": {"type": "order.explain", "payload": None}},
    ]
    children = [{"type": "Title", "value": f"Order {order_id}"}, {"type": "Text", "id": "state", "value": state}]
    return DynamicWidgetRoot.model_validate(
        {"type": "Card", "children": children + (buttons if state == "open" else [])}
    )


@function_tool
async def show_me_a_widget(chat: Chat) -> str:
    """Show an order with buttons."""
    await chat.context.stream_widget(order_card(17, "open"), copy_text="Order 17")
    return "the widget is above"


@function_tool
async def stream_a_widget(chat: Chat) -> str:
    """Show a card whose text streams."""

    async def growing() -> AsyncGenerator[WidgetRoot, None]:
        words = STORY.split(" ")
        states = [(" ".join(words[:number]), True) for number in range(len(words) + 1)]
        for value, streaming in [*states, (STORY, False)]:  # a last state ends the streaming
            text = {"type": "Text", "id": "story", "value": value, "streaming": streaming}
            yield DynamicWidgetRoot.model_validate({"type": "Card", "children": [text]})

    await chat.context.stream_widget(growing())
    return "the widget is above"
