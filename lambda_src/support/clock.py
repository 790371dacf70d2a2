"""What must happen in time for operators' matters: events that failed are sent again, waiting users get a message, and
threads of operators whose role has expired return to the inbox.

`look` runs every minute. Each step can be repeated: if a process dies after any of them, the next look does the rest.
Knows no HTTP and no engine.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from chatkit.store import NotFoundError
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItem

from lambda_src.context import RequestContext, User
from lambda_src.errors import ChatError, ConflictError
from lambda_src.observability.faults import log_fault
from lambda_src.store.inbox import Inbox, Matter
from lambda_src.store.ports import Hold
from lambda_src.support.events import UNANSWERED, Publish, event_of

INFORMED = "user.informed"  # recorded like an accepted event, once the user has the message

log = logging.getLogger(__name__)


class Messages(Protocol):
    """The part of ChatKit's Store that adds a message to a thread."""

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """As in ChatKit's Store; adding the same item again changes nothing."""
        ...


class OperatorClock:
    """`assistants` are those that have operators. `clock` returns nanoseconds since 1970."""

    def __init__(
        self,
        inbox: Inbox,
        messages: Messages,
        publish: Publish,
        *,
        assistants: Sequence[str],
        wait_minutes: int,
        unanswered_message: str,
        clock: Callable[[], int],
    ) -> None:
        self._inbox, self._messages, self._publish = inbox, messages, publish
        self._assistants, self._clock = assistants, clock
        self._wait_ms, self._text = wait_minutes * 60_000, unanswered_message

    async def look(self, *, stop: Callable[[], bool]) -> int:
        """Do what is due, until `stop()` returns True; return how many matters were looked at.

        One query for each assistant if nothing is due. A matter that fails does not keep the others waiting.
        """
        looked_at = 0
        for assistant in self._assistants:
            for matter in await self._inbox.due(assistant, now_ms=self._now_ms()):
                if stop():
                    return looked_at
                looked_at += 1
                try:
                    await self._handle(matter)
                except ChatError as error:
                    log_fault("matter_not_handled", error, kind=matter.kind)
        return looked_at

    async def _handle(self, matter: Matter) -> None:
        if (event := event_of(matter)) not in matter.accepted:
            await self._publish(event, matter)
            await self._inbox.settle(matter, accepted=event, due_ms=self.due_ms(matter))
        match matter.state:
            case "taken":
                await self._take_back(matter)
            case "open" if matter.kind == "handoff":
                if (due_ms := self.due_ms(matter)) is not None and due_ms <= self._now_ms():
                    await self._inform(matter)
                else:
                    await self._inbox.settle(matter, accepted=None, due_ms=due_ms)
            case _:
                await self._inbox.settle(matter, accepted=None, due_ms=None)

    def due_ms(self, matter: Matter) -> int | None:
        """When somebody must have come for a matter that waits; None if nothing must happen."""
        if matter.kind != "handoff" or matter.state != "open" or UNANSWERED in matter.accepted:
            return None
        return max(matter.opened_ns // 1_000_000, matter.changed_ms) + self._wait_ms

    async def _inform(self, matter: Matter) -> None:
        """Nobody came in time: the user gets one message, the operators an event and an alarm."""
        context = context_of(matter)
        if INFORMED not in matter.accepted:
            try:
                await self._messages.add_thread_item(matter.thread_id, self._message(matter), context)
            except (NotFoundError, ConflictError):
                log.info("handoff_gone")  # the thread is deleted, and the matter with it
            log.warning("handoff_unanswered", extra={"user": matter.user_id})
            await self._inbox.settle(matter, accepted=INFORMED, due_ms=matter.due_ms)
        await self._publish(UNANSWERED, matter)
        await self._inbox.settle(matter, accepted=UNANSWERED, due_ms=None)

    async def _take_back(self, matter: Matter) -> None:
        """The operator's role has expired: the thread returns to the inbox, where it waits anew."""
        hold = Hold(matter.operator, 0, matter.id)
        if await self._inbox.pass_on(matter.thread_id, hold, operator="", context=context_of(matter)):
            log.info("handoff_returned", extra={"user": matter.user_id})
            await self._inbox.settle(matter, accepted=None, due_ms=self._now_ms())  # the next look computes the wait
        else:
            await self._inbox.settle(matter, accepted=None, due_ms=None)

    def _message(self, matter: Matter) -> AssistantMessageItem:
        """The same item however often it is made."""
        digest = hashlib.sha256(f"{matter.assistant}\0{matter.id}\0{matter.user_id}".encode()).hexdigest()
        opened = datetime.fromtimestamp(matter.opened_ns // 10**9, UTC)
        return AssistantMessageItem(
            id=f"msg_{digest[:32]}",
            thread_id=matter.thread_id,
            created_at=opened + timedelta(milliseconds=self._wait_ms),
            content=[AssistantMessageContent(text=self._text)],
        )

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000


def context_of(matter: Matter) -> RequestContext:
    """The context of the thread's owner, for the store."""
    user = User(matter.user_id, is_guest=matter.is_guest, assistant=matter.assistant)
    return RequestContext(user, request_id="clock")
