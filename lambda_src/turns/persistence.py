"""Store the answer of a turn that ended early, with a hidden note for the model. Knows the Store port, no engine.

Two processes may do this for the same turn: ids come from the events and from the turn, so the second changes nothing.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageItem,
    ClientToolCallItem,
    SDKHiddenContextItem,
    ThreadItem,
    UserMessageItem,
)

from lambda_src.context import EndReason, RequestContext
from lambda_src.errors import ConflictError
from lambda_src.turns import partial_answer
from lambda_src.turns.partial_answer import Unfinished

InterruptReason = EndReason | Literal["failed", "crashed"]
"""Why an answer is incomplete."""

STOPPED_NOTE = "The user cancelled the stream. Stop responding to the prior request."  # ChatKit's own words
CUT_NOTE = (
    "The answer above was cut off by a limit of the server, not by the user. "
    "If the user asks to continue, go on from exactly where it stops."
)
SUPERSEDED_NOTE = "The user wrote again before the answer above was complete. Answer what was written last."
INTERRUPTED_OUTPUT = {"error": "interrupted: the turn ended before the tool's output arrived"}

log = logging.getLogger(__name__)


def note_for(cut: InterruptReason) -> str:
    """The hidden note for the model after an answer that ended for this reason."""
    match cut:
        case "stopped":
            return STOPPED_NOTE
        case "superseded":
            return SUPERSEDED_NOTE
        case "deadline" | "shutdown" | "failed" | "crashed":
            return CUT_NOTE


class AnswerStore:
    """Stores the unfinished answers of turns in their threads."""

    def __init__(self, store: Store[RequestContext]) -> None:
        self._store = store

    async def keep(
        self, thread_id: str, turn_id: str, events: Iterable[bytes], *, cut: InterruptReason, context: RequestContext
    ) -> list[Unfinished]:
        """Store the unfinished answer in `events` and a hidden note after it. Returns the stored items, [] for none.

        Nothing is added after a pending client tool call, since its output is accepted only for the newest item. The
        call is completed with an "interrupted" output, so that the thread is not blocked; except for a superseded turn
        or after a crash, when the output may still arrive. Does nothing if the thread was deleted meanwhile.
        """
        items = partial_answer.unfinished(events)
        if not items and cut in ("superseded", "crashed"):
            return []
        try:
            if (call := await self._pending_call(thread_id, context)) is not None:
                if cut not in ("superseded", "crashed"):  # else the client may still send the output
                    completed = call.model_copy(update={"status": "completed", "output": INTERRUPTED_OUTPUT})
                    await self._store.save_item(thread_id, completed, context=context)
                return []
            added = [await self._add(item, context) for item in items]
            if cut == "stopped" or any(isinstance(item, AssistantMessageItem) for item in items):
                await self._add(_note(thread_id, turn_id, cut), context)
        except NotFoundError:
            return []
        log.info("turn_cut", extra={"kind": cut, "items": len(items)})
        return items if all(added) else await self.kept(items, context)

    async def kept(self, items: Iterable[Unfinished], context: RequestContext) -> list[Unfinished]:
        """Those of the items that are stored, as stored: another process may have seen fewer or more of the events."""
        stored: list[Unfinished] = []
        for item in items:
            with suppress(NotFoundError):
                current = await self._store.load_item(item.thread_id, item.id, context)
                if isinstance(current, Unfinished):
                    stored.append(current)
        return stored

    async def take_back(self, thread_id: str, context: RequestContext) -> None:
        """Discard the new thread of a request that was refused later, or whose turn ended before it began."""
        first = await self._store.load_thread_items(thread_id, None, 1, "asc", context)
        uploads = [file.id for item in first.data if isinstance(item, UserMessageItem) for file in item.attachments]
        await discard_thread(self._store, thread_id, uploads, context)

    async def _add(self, item: ThreadItem, context: RequestContext) -> bool:
        try:
            await self._store.add_thread_item(item.thread_id, item, context=context)
        except ConflictError:
            return False  # stored by another process, or by the run, which ended normally after all: that one stays
        return True

    async def _pending_call(self, thread_id: str, context: RequestContext) -> ClientToolCallItem | None:
        newest = await self._store.load_thread_items(thread_id, None, 1, "desc", context)
        for item in newest.data:
            if isinstance(item, ClientToolCallItem) and item.status == "pending":
                return item
        return None


async def discard_thread(
    store: Store[RequestContext], thread_id: str, uploads: Iterable[str], context: RequestContext
) -> None:
    """Delete a new thread, but keep its message's uploads, which the user's next attempt refers to again."""
    for attachment_id in uploads:
        with suppress(NotFoundError):
            attachment = await store.load_attachment(attachment_id, context=context)
            if attachment.thread_id == thread_id:
                await store.save_attachment(attachment.model_copy(update={"thread_id": None}), context=context)
    await store.delete_thread(thread_id, context=context)


def _note(thread_id: str, turn_id: str, cut: InterruptReason) -> SDKHiddenContextItem:
    return SDKHiddenContextItem(
        id=f"shcx_{turn_id}", thread_id=thread_id, created_at=datetime.now(UTC), content=note_for(cut)
    )
