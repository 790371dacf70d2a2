"""A tool that waits for a person's yes (`needs_approval` of the Agents SDK), as a form in the thread.

A run that meets such a tool stops. What it needs to go on is kept as a hidden item of the thread, so in the user's own
partition, deleted and exported with the thread; behind it stands a form with one question a call. The answer of the
form goes on with the run, once: whoever adds the item TAKEN first has it. What the run was shown is not kept again:
it is read anew from the thread, up to the item that was the newest then.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chatkit.agents import AgentContext
from chatkit.errors import CustomStreamError
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    SDKHiddenContextItem,
    StructuredInput,
    StructuredInputAnswer,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
)

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError

if TYPE_CHECKING:
    from agents import Agent, RunResultStreaming, RunState, TResponseInputItem

APPROVE, DENY = "Approve", "Deny"
FORM, STATE, TAKEN = "approval-", "approval-state-", "approval-taken-"  # ids of the three items begin with these
DENIED = "The user did not allow this."
OVER = "This cannot be answered any more: the conversation has moved on. Ask for it again."
# Letters and marks that no font draws (Unicode's Default_Ignorable_Code_Point, and the empty Braille pattern): Python
# calls them printable. Those of other categories are not printable anyway.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
CHANGED = "The assistant has changed since it asked. Ask for it again."


@dataclass(frozen=True, slots=True)
class Held:
    """A run that waits. `until` is the newest item that it was shown."""

    form: StructuredInputItem
    until: str
    state: dict[str, Any]

    async def resumed(
        self, agent: "Agent[Any]", shown: "list[TResponseInputItem]", context: AgentContext[RequestContext]
    ) -> "RunState[Any, Any]":
        """The run, with what the user decided. CustomStreamError: the agent is not the one that asked."""
        from agents import RunContextWrapper, RunState, Usage  # noqa: PLC0415 - off the cold path
        from agents.exceptions import UserError  # noqa: PLC0415 - as above

        wrapper = RunContextWrapper(context)
        try:
            kept = {**self.state, "original_input": shown}
            state = await RunState.from_json(agent, kept, context_override=wrapper)
            for question, call in zip(self.form.inputs, state.get_interruptions(), strict=True):
                said = question.answer.values if question.answer is not None else []
                if said == [APPROVE]:
                    state.approve(call)
                else:
                    words = "".join(f" They said: {word}" for word in said if word != DENY)
                    state.reject(call, rejection_message=DENIED + words)
        except (UserError, ValueError, TypeError, KeyError) as error:
            raise CustomStreamError(CHANGED) from error
        wrapper.usage = Usage()  # what the run used before it stopped is counted already
        return state


def is_ours(item: ThreadItem) -> bool:
    """Whether this is what a run needs to go on: nothing that a model or a person is shown."""
    return isinstance(item, SDKHiddenContextItem) and item.id.startswith((STATE, TAKEN))


def asked(
    run: "RunResultStreaming", *, until: str, item_id: str, thread: ThreadMetadata
) -> tuple[SDKHiddenContextItem, StructuredInputItem]:
    """What a run that stopped to ask leaves: its state, and the form behind it."""
    state = run.to_state().to_json(context_serializer=lambda _: {})
    kept = json.dumps({"until": until, "state": {**state, "original_input": []}})
    inputs: list[StructuredInput] = [
        StructuredInputMultipleChoice(
            id=str(number),
            question=question(call.tool_name or "a tool", call.arguments or "{}"),
            options=[StructuredInputMultipleChoiceOption(value=value) for value in (APPROVE, DENY)],
        )
        for number, call in enumerate(run.interruptions)
    ]
    now = datetime.now()
    return (
        SDKHiddenContextItem(id=STATE + item_id, thread_id=thread.id, created_at=now, content=kept),
        StructuredInputItem(id=FORM + item_id, thread_id=thread.id, created_at=now, inputs=inputs),
    )


def question(tool: str, arguments: str) -> str:
    """What the user is asked to allow: the tool with every argument, whole, as JSON; `visible` says how.

    Nothing is cut: whatever is left out could be what the user would have refused.
    """
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = arguments
    shown = arguments.strip()
    if isinstance(given, dict):
        shown = ", ".join(f"{_name(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return visible(f"Allow {tool} with {shown}?" if shown else f"Allow {tool}?")


def visible(text: str) -> str:
    """`text` with a JSON escape for every character that no reader sees: controls, bidi, zero-width and blank ones.

    Such a character can hide a part of what a person is asked to allow, or show it in another order.
    """
    return "".join(char if _is_visible(char) else json.dumps(char)[1:-1] for char in text)


def _is_visible(char: str) -> bool:
    return not INVISIBLE.match(char) and (char.isprintable() or unicodedata.category(char) == "Zs")


def _name(name: str) -> str:
    """An argument's name, quoted when it could be read as more than a name."""
    return name if name.isidentifier() and not INVISIBLE.search(name) else json.dumps(name, ensure_ascii=False)


def lapsed(newest_first: Sequence[ThreadItem]) -> list[StructuredInputItem]:
    """Forms that wait in front of a newer message, closed: whoever writes on does not answer them."""
    forms: list[StructuredInputItem] = []
    moved_on = False
    for item in newest_first:
        if isinstance(item, UserMessageItem):
            moved_on = True
        elif moved_on and isinstance(item, StructuredInputItem) and _asks(item) and item.status == "pending":
            closed = item.model_copy(deep=True, update={"status": "skipped"})
            for one in closed.inputs:
                one.answer = StructuredInputAnswer(skipped=True)
            forms.append(closed)
    return forms


async def taken(
    newest_first: Sequence[ThreadItem], store: Store[RequestContext], context: RequestContext
) -> Held | None:
    """The run that the newest form asked for, ours alone from now on; None when no such form was just answered.

    CustomStreamError: another turn has it, or had it.
    """
    form = next((item for item in newest_first if isinstance(item, StructuredInputItem | UserMessageItem)), None)
    if not isinstance(form, StructuredInputItem) or not _asks(form) or form.status == "pending":
        return None
    item_id = form.id.removeprefix(FORM)
    turn = "" if context.turn is None else context.turn.id
    mark = SDKHiddenContextItem(
        id=TAKEN + item_id, thread_id=form.thread_id, created_at=form.created_at, content=f"turn {turn}"
    )
    try:
        state = await store.load_item(form.thread_id, STATE + item_id, context=context)
        await store.add_thread_item(form.thread_id, mark, context=context)
    except NotFoundError:
        return None  # it went on already, and this turn is about something else
    except ConflictError as error:
        raise CustomStreamError(OVER) from error
    await store.delete_thread_item(form.thread_id, state.id, context=context)
    assert isinstance(state, SDKHiddenContextItem), "nobody else mints such ids"
    return Held(form, **json.loads(state.content))


def _asks(form: StructuredInputItem) -> bool:
    return form.id.startswith(FORM)
