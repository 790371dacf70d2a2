"""Widget actions of the showcase: what its buttons do."""

from collections.abc import AsyncIterator

from chatkit.types import ThreadStreamEvent
from chatkit.widgets import WidgetRoot
from pydantic import BaseModel, Field

from lambda_src.dev.showcase.widgets import order_card
from lambda_src.runs.widget_actions import ActionCall, Actions

actions = Actions()


class Order(BaseModel):
    """The payload of the buttons."""

    order_id: int = Field(ge=1, le=1_000_000)


@actions.on("order.ship")
async def ship(order: Order, call: ActionCall) -> WidgetRoot:
    """Replace the card by one that says "shipped"."""
    return order_card(order.order_id, "shipped")


@actions.on("order.cancel")
async def cancel(order: Order, call: ActionCall) -> WidgetRoot:
    """Replace the card without a stream."""
    return order_card(order.order_id, "cancelled")


@actions.on("order.explain")
async def explain(_: None, call: ActionCall) -> AsyncIterator[ThreadStreamEvent]:
    """Let the agent answer."""
    async for event in call.answer("The user pressed Explain on an order. Say what an order is."):
        yield event
