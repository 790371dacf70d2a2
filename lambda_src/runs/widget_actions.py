"""Widget actions: functions that run when a user clicks a button of a widget. Knows ChatKit's types; no HTTP.

    actions = Actions()

    @actions.on("order.cancel")
    async def cancel(order: Order, call: ActionCall) -> WidgetRoot:
        return order_card(order.id, state="cancelled")

The payload is validated against the type of the first parameter. A returned widget replaces the one that was clicked,
or becomes a new item if none was; None changes nothing. A function can yield ChatKit events instead, and let the agent
answer: `async for event in call.answer("..."): yield event`.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, get_type_hints

from chatkit.actions import Action
from chatkit.store import Store
from chatkit.types import (
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    WidgetItem,
)
from chatkit.widgets import WidgetRoot
from pydantic import TypeAdapter, ValidationError

from lambda_src.context import RequestContext
from lambda_src.errors import RequestError

TYPE_CHARS = 80  # of an unknown action's type, quoted in the error
MAX_FAULTS = 3  # of an invalid payload, in the error

Answer = Callable[[str], AsyncIterator[ThreadStreamEvent]]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ActionCall:
    """Who sent an action, and from where.

    `context.user` is the user who clicked. `sender` is the item of the clicked widget; None if the page itself sent the
    action. `answer(note)` gives the agent a note, which the user does not see, and yields the events of its answer.
    """

    type: str
    thread: ThreadMetadata
    sender: WidgetItem | None
    context: RequestContext
    store: Store[RequestContext]
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Registered:
    function: Callable[..., Any]
    payload: TypeAdapter[Any]
    streams: bool


class Actions:
    """The widget actions of one assistant: name it `actions` in `lambda_src/agent/`, or pass it to `Assistant`.

    actions = Actions()

    @actions.on("order.cancel")
    async def cancel(order: Order, call: ActionCall) -> WidgetRoot | None: ...
    """

    def __init__(self) -> None:
        self._registered: dict[str, _Registered] = {}

    def on(self, action_type: str) -> Callable[[Function], Function]:
        """Register an async function of (payload, call) for one type of action.

        The payload is validated against the annotation of the first parameter. Raises TypeError if the function has
        another shape, or if the type already has a function.
        """

        def register(function: Function) -> Function:
            streams = inspect.isasyncgenfunction(function)
            parameters = list(inspect.signature(function).parameters)
            if not (streams or inspect.iscoroutinefunction(function)) or len(parameters) != 2:
                raise TypeError(f"The function for {action_type!r} must be async and take (payload, call).")
            if action_type in self._registered:
                raise TypeError(f"The action {action_type!r} has a function already.")
            hints = get_type_hints(function)
            if parameters[0] not in hints:
                raise TypeError(f"The payload of {action_type!r} needs a type: a pydantic model, dict, str, None ...")
            self._registered[action_type] = _Registered(function, TypeAdapter(hints[parameters[0]]), streams)
            return function

        return register

    async def stream(self, action: Action[str, Any], call: ActionCall) -> AsyncIterator[ThreadStreamEvent]:
        """The events of an action. Raises RequestError if it is not registered, or if its payload is not valid."""
        registered, payload = self._prepared(action)
        if registered.streams:
            async for event in registered.function(payload, call):
                yield event
            return
        widget: WidgetRoot | None = await registered.function(payload, call)
        if widget is not None:
            item = shown(widget, call)
            yield ThreadItemDoneEvent(item=item) if call.sender is None else ThreadItemReplacedEvent(item=item)

    async def once(self, action: Action[str, Any], call: ActionCall) -> WidgetItem | None:
        """The new or changed item of an action without a stream, not stored yet. Raises RequestError like stream()."""
        registered, payload = self._prepared(action)
        if registered.streams:
            raise RequestError(f"The action {action.type[:TYPE_CHARS]!r} streams: send it without `streaming: false`.")
        widget: WidgetRoot | None = await registered.function(payload, call)
        return None if widget is None else shown(widget, call)

    def _prepared(self, action: Action[str, Any]) -> tuple[_Registered, object]:
        registered = self._registered.get(action.type)
        if registered is None:
            raise RequestError(f"This button does nothing: the action {action.type[:TYPE_CHARS]!r} is not registered.")
        try:
            return registered, registered.payload.validate_python(action.payload)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)[:MAX_FAULTS]
            reasons = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}" for fault in faults)
            raise RequestError(f"The payload of {action.type!r} is not valid. {reasons}.") from None


def shown(widget: WidgetRoot, call: ActionCall) -> WidgetItem:
    """`widget` as an item: the clicked one with the new widget, or a new item."""
    if call.sender is not None:
        return call.sender.model_copy(update={"widget": widget})
    item_id = call.store.generate_item_id("message", call.thread, call.context)
    return WidgetItem(id=item_id, thread_id=call.thread.id, created_at=datetime.now(), widget=widget)
