"""What must happen in time for operators' matters: events that failed are sent again, waiting users get a message,
threads of operators whose role has expired return to the inbox, and holds end whose thread retention has removed.

`look` runs every minute. Each step can be repeated: if a process dies after any of them, or a user or an operator
changes the matter meanwhile, the next look does the rest. Knows no HTTP and no engine.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from chatkit.store import NotFoundError
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItem, ThreadMetadata

from lambda_src.context import RequestContext, User
from lambda_src.errors import ChatError, ConflictError, UnavailableError
from lambda_src.observability.faults import log_fault
from lambda_src.store.inbox import Inbox, Matter
from lambda_src.store.ports import Hold
from lambda_src.support.events import UNANSWERED, EventType, Publish, event_of

RETRY_MS = 60_000  # before an event that was not accepted is sent again: the next look
CHECK_MS = 86_400_000  # between two looks at a held thread for which nothing else is due: retention may have removed it
MISSING_MS = 3_600_000  # between two looks at a matter whose thread or hold is missing: it may be moving
MOVING_MS = 2 * 86_400_000  # account linking moves a thread's matters before the thread, and ends within hours
INFORMED = "user.informed"  # recorded like an accepted event, once the user has the message

log = logging.getLogger(__name__)


class Threads(Protocol):
    """The part of ChatKit's Store that the clock uses."""

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        """As in ChatKit's Store."""
        ...

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """As in ChatKit's Store; adding the same item again changes nothing."""
        ...


class OperatorClock:
    """`assistants` are those that have operators. `clock` returns nanoseconds since 1970."""

    def __init__(
        self,
        inbox: Inbox,
        threads: Threads,
        publish: Publish,
        *,
        assistants: Sequence[str],
        wait_minutes: int,
        unanswered_message: str,
        clock: Callable[[], int],
    ) -> None:
        self._inbox, self._threads, self._publish = inbox, threads, publish
        self._assistants, self._clock = assistants, clock
        self._wait_ms, self._text = wait_minutes * 60_000, unanswered_message

    async def look(self, *, stop: Callable[[], bool]) -> int:
        """Do what is due, until `stop()` returns True; return how many matters were looked at.

        One query for each assistant if nothing is due. A matter that fails does not keep the others waiting.
        """
        looked_at, is_up = 0, True
        for assistant in self._assistants:
            for matter in await self._inbox.due(assistant, now_ms=self._now_ms()):
                if stop():
                    return looked_at
                looked_at += 1
                try:  # once an event has failed, no other one waits for the topic in this look
                    is_up = await self._handle(matter, is_up=is_up) and is_up
                except ChatError as error:
                    log_fault("matter_not_handled", error, kind=matter.kind)
        return looked_at

    async def _handle(self, matter: Matter, *, is_up: bool) -> bool:
        """Do what is due for one matter; False if an event was not accepted. `is_up`: whether the topic is."""
        is_sent = await self._send(event_of(matter), matter, is_up=is_up)
        due: list[int] = []
        if matter.is_kept:
            if not await self._has_thread(matter):
                await self._miss(matter)
                return is_sent
            due.append(self._now_ms() + CHECK_MS)
        match matter.state:
            case "taken" if matter.until_ms:
                if matter.until_ms <= self._now_ms():
                    await self._take_back(matter)
                    return is_sent
                due.append(matter.until_ms)
            case "open" if (waits_until_ms := self._waits_until_ms(matter)) is not None:
                if waits_until_ms <= self._now_ms():
                    if not await self._is_as_read(matter):  # others of this look may have taken long
                        return is_sent
                    await self._inform(matter)
                    is_sent = await self._send(UNANSWERED, matter, is_up=is_sent) and is_sent
                else:
                    due.append(waits_until_ms)
            case _:
                pass
        if not is_sent:  # behind the others that are due, so that a topic that is down does not keep them waiting
            due.append(self._now_ms() + RETRY_MS)
        await self._inbox.settle(matter, accepted=None, due_ms=min(due, default=None))
        return is_sent

    def _waits_until_ms(self, matter: Matter) -> int | None:
        """When somebody must have come for a matter that waits; None if nobody must, or the user was informed."""
        if matter.kind != "handoff" or UNANSWERED in matter.accepted:
            return None
        return max(matter.opened_ns // 1_000_000, matter.changed_ms) + self._wait_ms

    async def _has_thread(self, matter: Matter) -> bool:
        try:
            await self._threads.load_thread(matter.thread_id, context_of(matter))
        except NotFoundError:
            return False
        return True

    async def _is_as_read(self, matter: Matter) -> bool:
        return await self._inbox.settle(matter, accepted=None, due_ms=matter.due_ms)

    async def _miss(self, matter: Matter) -> None:
        """The thread of a hold is missing. Unless account linking may be moving it, release what is left of it."""
        if matter.changed_ms >= self._now_ms() - MOVING_MS:
            await self._inbox.settle(matter, accepted=None, due_ms=self._now_ms() + MISSING_MS)
        else:
            await end_hold(self._inbox, matter, context_of(matter))

    async def _send(self, event: EventType, matter: Matter, *, is_up: bool) -> bool:
        """Publish an event that was not accepted yet; False if it is not accepted now either."""
        if event in matter.accepted:
            return True
        if not is_up:
            return False
        try:
            await self._publish(event, matter)
        except UnavailableError:
            return False  # the topic has logged it
        await self._inbox.settle(matter, accepted=event, due_ms=matter.due_ms)
        return True

    async def _inform(self, matter: Matter) -> None:
        """Nobody came in time: the user gets one message, and the alarm rings."""
        if INFORMED in matter.accepted:
            return
        try:
            await self._threads.add_thread_item(matter.thread_id, self._message(matter), context_of(matter))
        except (NotFoundError, ConflictError):
            log.info("handoff_gone")  # the thread is deleted, and the matter with it
        log.warning("handoff_unanswered", extra={"user": matter.user_id})
        await self._inbox.settle(matter, accepted=INFORMED, due_ms=matter.due_ms)

    async def _take_back(self, matter: Matter) -> None:
        """The operator's role has expired: the thread returns to the inbox, where it waits anew.

        It is due at once, so that the next look computes how long. Nothing changes if somebody was faster.
        """
        hold, owner = hold_in(matter), context_of(matter)
        if await self._inbox.pass_on(matter.thread_id, hold, operator="", seen=matter, context=owner):
            log.info("handoff_returned", extra={"user": matter.user_id})
        else:  # one whose lease lacks the hold must not keep others waiting in every look
            await self._inbox.settle(matter, accepted=None, due_ms=self._now_ms() + MISSING_MS)

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


async def end_hold(inbox: Inbox, matter: Matter, owner: RequestContext) -> None:
    """Release the hold of a thread that is gone, and close its matter. No-op if the matter has changed since."""
    if not await inbox.release(matter.thread_id, hold_in(matter), operator="", context=owner):
        await inbox.close_matter(matter, operator="")  # the lease is gone


def hold_in(matter: Matter) -> Hold:
    """The hold whose reason is this matter, without its time."""
    return Hold(matter.operator, 0, matter.id)


def context_of(matter: Matter) -> RequestContext:
    """The context of the thread's owner, for the store."""
    user = User(matter.user_id, is_guest=matter.is_guest, assistant=matter.assistant)
    return RequestContext(user, request_id="clock")
