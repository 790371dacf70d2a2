"""Tool approvals: a tool with `needs_approval` (Agents SDK) waits for the user's answer to a form in the thread.

A run stops at such a tool. Its state is stored as a hidden item of the thread, in the user's own partition, and is
deleted and exported with the thread. The next item is a form with one question per tool call. Answering the form
resumes the run exactly once: the turn that adds the item TAKEN first continues it. The run's input is not stored again:
it is read from the thread, up to the item that was the newest when the run stopped.
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
from lambda_src.languages import ENGLISH, Language, Sentence

if TYPE_CHECKING:
    from agents import Agent, RunResultStreaming, RunState, TResponseInputItem

APPROVE, DENY = "Approve", "Deny"
FORM, STATE, TAKEN = "approval-", "approval-state-", "approval-taken-"  # prefixes of the ids of the three items
DENIED = "The user did not allow this."
OVER = "This form can no longer be answered, because the conversation has moved on. Ask for it again."
# Letters and marks without a glyph (Unicode's Default_Ignorable_Code_Point, and the empty Braille pattern) that Python
# considers printable. Those of other categories are not printable anyway.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
CAPITAL_INSIDE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
CHANGED = "The assistant has changed since this form was created. Ask for it again."


@dataclass(frozen=True, slots=True)
class Held:
    """A run that waits for approval. `until` is the id of the newest item in its input."""

    form: StructuredInputItem
    until: str
    state: dict[str, Any]

    async def resumed(
        self, agent: "Agent[Any]", input: "list[TResponseInputItem]", context: AgentContext[RequestContext]
    ) -> "RunState[Any, Any]":
        """The run with the user's decisions. Raises CustomStreamError if the agent has changed since it stopped."""
        from agents import RunContextWrapper, RunState, Usage  # noqa: PLC0415 - off the cold path
        from agents.exceptions import UserError  # noqa: PLC0415 - as above

        wrapper = RunContextWrapper(context)
        try:
            kept = {**self.state, "original_input": input}
            state = await RunState.from_json(agent, kept, context_override=wrapper)
            for question, call in zip(self.form.inputs, state.get_interruptions(), strict=True):
                answers = question.answer.values if question.answer is not None else []
                approve, deny = _decisions(question)
                if answers == [approve]:
                    state.approve(call)
                else:
                    replies = "".join(f" They said: {answer}" for answer in answers if answer != deny)
                    state.reject(call, rejection_message=DENIED + replies)
        except (UserError, ValueError, TypeError, KeyError) as error:
            raise CustomStreamError(CHANGED) from error
        wrapper.usage = Usage()  # the usage before it stopped is already counted
        return state


def is_ours(item: ThreadItem) -> bool:
    """Whether the item holds the state of a run: neither the model nor the user sees it."""
    return isinstance(item, SDKHiddenContextItem) and item.id.startswith((STATE, TAKEN))


def asked(
    run: "RunResultStreaming", *, until: str, item_id: str, thread: ThreadMetadata, language: Language
) -> tuple[SDKHiddenContextItem, StructuredInputItem]:
    """The items of a run that stopped for approval: its state, and the form."""
    state = run.to_state().to_json(context_serializer=lambda _: {})
    kept = json.dumps({"until": until, "state": {**state, "original_input": []}})
    inputs: list[StructuredInput] = [
        StructuredInputMultipleChoice(
            id=str(number),
            question=question(call.tool_name or "a tool", call.arguments or "{}", language),
            options=[StructuredInputMultipleChoiceOption(value=language.text(value)) for value in (APPROVE, DENY)],
        )
        for number, call in enumerate(run.interruptions)
    ]
    now = datetime.now()
    return (
        SDKHiddenContextItem(id=STATE + item_id, thread_id=thread.id, created_at=now, content=kept),
        StructuredInputItem(id=FORM + item_id, thread_id=thread.id, created_at=now, inputs=inputs),
    )


def _decisions(question: StructuredInput) -> tuple[str, str]:
    """What the form's two buttons answer, in the language of whoever the form was made for."""
    assert isinstance(question, StructuredInputMultipleChoice), "`asked` makes no other"
    approve, deny = question.options
    return approve.value, deny.value


def question(tool: str, arguments: str, language: Language = ENGLISH) -> str:
    """The form's question: the tool's name for people, then a line for each argument as JSON, made `visible`.

    Nothing is truncated, because the missing part could be what the user would refuse.
    """
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        parsed = arguments
    lines = [arguments.strip()] if arguments.strip() else []
    if isinstance(parsed, dict):
        lines = [f"{_name(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in parsed.items()]
    return "\n".join(map(visible, [language.text(Sentence("Allow “{tool}”?", tool=title_of(tool))), *lines]))


def title_of(tool: str) -> str:
    """A tool's name for people: `send_letter` is “Send letter”, `sendLetter` “Send Letter”."""
    words = CAPITAL_INSIDE.sub(" ", tool).replace("_", " ").replace("-", " ").strip(" ") or tool
    return words[0].upper() + words[1:]


def visible(text: str) -> str:
    """`text` with a JSON escape for every invisible character: control, bidi, zero-width and blank ones.

    Such characters can hide or reorder parts of the text that the user approves.
    """
    return "".join(char if _is_visible(char) else json.dumps(char)[1:-1] for char in text)


def _is_visible(char: str) -> bool:
    return not INVISIBLE.match(char) and (char.isprintable() or unicodedata.category(char) == "Zs")


def _name(name: str) -> str:
    """The name of an argument, quoted if it is not an identifier."""
    return name if name.isidentifier() and not INVISIBLE.search(name) else json.dumps(name, ensure_ascii=False)


def lapsed(newest_first: Sequence[ThreadItem]) -> list[StructuredInputItem]:
    """Pending forms that are older than the newest message, closed: a new message skips them."""
    forms: list[StructuredInputItem] = []
    moved_on = False
    for item in newest_first:
        if isinstance(item, UserMessageItem):
            moved_on = True
        elif moved_on and isinstance(item, StructuredInputItem) and _asks(item) and item.status == "pending":
            closed = item.model_copy(deep=True, update={"status": "skipped"})
            for question_input in closed.inputs:
                question_input.answer = StructuredInputAnswer(skipped=True)
            forms.append(closed)
    return forms


async def taken(
    newest_first: Sequence[ThreadItem], store: Store[RequestContext], context: RequestContext
) -> Held | None:
    """Claim the run of the form that was just answered; None if no form was. Only this turn can resume it then.

    Raises CustomStreamError if another turn has claimed it.
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
        return None  # it was resumed before, and this turn answers something else
    except ConflictError as error:
        raise CustomStreamError(OVER) from error
    await store.delete_thread_item(form.thread_id, state.id, context=context)
    assert isinstance(state, SDKHiddenContextItem), "no other items have such ids"
    return Held(form, **json.loads(state.content))


def _asks(form: StructuredInputItem) -> bool:
    return form.id.startswith(FORM)
