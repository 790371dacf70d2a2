"""Hands threads to people and back: users ask for a person, operators take threads, answer, return and close them.

Who has a thread stands in its lease (store/inbox.py), so a thread is given to a person like the lease to a newer turn:
the running turn ends, its answer so far is stored, and no turn begins until the thread is returned. An operator's
message is an assistant message that begins with the author's name. Knows no HTTP, no token, no model.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatkit.store import NotFoundError, Store
from chatkit.types import (
    ActiveStatus,
    AssistantMessageContent,
    AssistantMessageItem,
    ClosedStatus,
    HiddenContextItem,
    Page,
    ThreadItem,
    ThreadMetadata,
)

from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import ChatError, ConflictError, QuotaError, ThreadHeldError
from lambda_src.languages import Sentence
from lambda_src.observability.faults import log_fault
from lambda_src.store import bounds
from lambda_src.store.counters import Counters, seconds_left
from lambda_src.store.inbox import CAUSE_CHARS, Inbox, Kind, Matter, MatterPage, State
from lambda_src.store.ports import Hold
from lambda_src.support.clock import MOVING_MS, end_hold
from lambda_src.support.events import REQUESTED
from lambda_src.turns import journal, turn_ids
from lambda_src.turns.lease import LEASE_MS
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.turn_task import NOTICED_S, recover

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

PER_DAY = 3  # requests of one user for a person: a forgotten tab must not page the team all day
OPEN_GUESTS = 20  # open requests of guests together: anybody can be many guests
WITHDRAWALS = 10  # a day for each user without the role: anybody can call the operators' routes
TRIES = 5  # a lost race means that somebody wrote, took or returned the thread meanwhile
ENDING_S = 0.5  # between two looks at a turn that ends in a waiting thread
LEAVING = "~"  # before the operator of a hold that is being returned: no message of another tab may follow the note
ID_DIGITS = 24  # 96 bits
LEFT = (
    "Members of the support team answered here instead of you: the assistant messages above that begin with a name in "
    "bold are theirs, not yours. They have left. Answer the user again, and keep to what they have said."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldThread:
    """A thread, and who has it: None for the assistant."""

    thread: ThreadMetadata
    hold: Hold | None


class Desk:
    """The support side of the assistants named by `assistants`. `clock` is in nanoseconds since 1970; `files` has the
    files of threads.

    In methods with `owner`, that is the context of the thread's user; `operator` is the id of the person who acts.
    ConflictError: the thread's state does not allow it. NotFoundError: there is no such thread.
    """

    def __init__(
        self,
        store: Store[RequestContext],
        inbox: Inbox,
        turns: Turns,
        counters: Counters,
        *,
        assistants: Collection[str],
        clock: Callable[[], int],
        files: "Files | None" = None,
    ) -> None:
        self._store, self.inbox, self._turns, self._counters = store, inbox, turns, counters
        self.assistants, self._clock, self._files = assistants, clock, files

    async def hold_of(self, thread_id: str, context: RequestContext) -> Hold | None:
        """Who has a thread, or that it waits; None if the assistant has it, or there is no such thread."""
        row = await self._turns.services.ledger.load_turn(thread_id, context=context)
        return None if row is None else row.hold

    async def ask(self, thread_id: str, context: RequestContext, *, turn_id: str | None = None) -> Hold:
        """Make a thread wait for a person. `turn_id`: the turn that asks, which then ends by itself.

        Nothing changes in a thread that waits or has a person already. QuotaError: the user has asked too often today,
        or too many guests wait.
        """
        thread = await self._store.load_thread(thread_id, context=context)
        if (hold := await self.hold_of(thread_id, context)) is not None:
            return hold
        if not isinstance(thread.status, ActiveStatus):
            raise ConflictError("This conversation is closed.")
        await self._admit(context)
        user = context.user
        matter = Matter("handoff", user.assistant, user.id, thread_id, self._clock(), is_guest=user.is_guest)
        if turn_id is None:
            hold = await self._seize(matter, context)
        elif await self.inbox.hold(matter, turn_id=turn_id, ends_turn=False, context=context) == "held":
            hold = Hold("", self._clock() // 1_000_000, matter.id)
        else:
            hold = await self.hold_of(thread_id, context)
        if hold is None:
            raise ConflictError("Another message came in meanwhile. Ask for a person again.")
        log.info("handoff_requested", extra={"user": user.id, "assistant": user.assistant})
        return hold

    async def note_thumbs_down(self, thread_id: str, item_ids: Collection[str], context: RequestContext) -> None:
        """Open a matter for the answer that was rated down, once: for the first of the items that is a message of the
        assistant. None for other ids, which are the client's to choose. Never raises: the feedback itself is stored.
        """
        try:
            for item_id in item_ids:
                if await self._written(thread_id, item_id, context) is not None:
                    await self._note("thumbs-down", thread_id, item_id, context)
                    return
        except ChatError as error:
            log_fault("matter_not_opened", error, kind="thumbs-down")

    async def note_failure(self, thread_id: str, error: Exception, context: RequestContext) -> None:
        """Open a matter for a failed turn, once for each type of error within five minutes. Never raises."""
        await self._note("failed-turn", thread_id, type(error).__qualname__[:CAUSE_CHARS], context)

    async def page(self, assistant: str, *, kind: Kind | None, state: State | None, after: str | None) -> MatterPage:
        """A page of an assistant's inbox."""
        return await self.inbox.page(assistant, kind=kind, state=state, after=after)

    async def thread(self, thread_id: str, owner: RequestContext, *, operator: str, until_s: int = 0) -> HeldThread:
        """A thread and who has it. Stores the answer of a turn that crashed in it first.

        If the operator who reads it has it, and their role expires later than was known, the hold is extended.
        """
        await self._turns.recover(thread_id, owner)
        held = HeldThread(await self._load(thread_id, owner), await self.hold_of(thread_id, owner))
        hold, until_ms = held.hold, until_s * 1000
        if hold is not None and hold.operator == operator and 0 < hold.until_ms < until_ms:
            await self.inbox.pass_on(thread_id, hold, operator=operator, until_ms=until_ms, context=owner)
        return held

    async def items(
        self, thread_id: str, owner: RequestContext, *, after: str | None, limit: int, order: str
    ) -> Page[ThreadItem]:
        """A page of the thread's items, hidden ones included."""
        return await self._store.load_thread_items(thread_id, after, limit, order, owner)

    async def file_url(self, thread_id: str, owner: RequestContext, *, attachment_id: str) -> str:
        """A short-lived URL that opens a file of the thread. NotFoundError if it is missing, or not in this thread."""
        _, attachment = await asyncio.gather(
            self._load(thread_id, owner), self._store.load_attachment(attachment_id, context=owner)
        )
        if self._files is None or attachment.thread_id != thread_id:
            raise NotFoundError("There is no such file.")
        return self._files.open_url(attachment, owner)

    async def take(
        self, thread_id: str, owner: RequestContext, *, operator: str, matter_id: str | None, until_s: int = 0
    ) -> Hold:
        """Give the thread to the operator. Of several who try, one succeeds. `matter_id`: what the operator takes it
        for; ConflictError if that is closed by now. The clock takes the thread back at `until_s`, when the operator's
        role expires; 0: that is not known.
        """
        thread = await self._load(thread_id, owner)
        if isinstance(thread.status, ClosedStatus):
            raise ConflictError("This conversation is closed.")
        if matter_id is not None:
            await self._refuse_closed(thread_id, owner, matter_id)
        until_ms = until_s * 1000
        for _ in range(TRIES):
            hold = await self.hold_of(thread_id, owner)
            if hold is None:
                opened = self._unrequested(thread_id, owner, operator=operator, until_ms=until_ms)
                hold = await self._seize(opened, owner)
                if (hold.operator, hold.matter) == (operator, opened.id):
                    return hold
            if hold.operator not in ("", operator, LEAVING + operator):
                raise ConflictError("Somebody else has this conversation.")
            if await self.inbox.pass_on(thread_id, hold, operator=operator, until_ms=until_ms, context=owner):
                is_same = hold.operator == operator
                return hold if is_same else replace(hold, operator=operator, since_ms=self._clock() // 1_000_000)
            if not await self._turns.recover(thread_id, owner):
                await self._turns.services.sleep(ENDING_S)
        raise ConflictError("This conversation is changing at the moment. Try again.")

    async def write(
        self,
        thread_id: str,
        owner: RequestContext,
        *,
        operator: str,
        author: str,
        text: str,
        name: str | None,
        until_s: int = 0,
    ) -> AssistantMessageItem:
        """Add the operator's message. With the same `name`, which the client chose, it is added once. `until_s`: as in
        `take`.
        """
        item_id = turn_ids.PERSON + (
            _digest(operator, owner.user.id, thread_id, name) if name else secrets.token_hex(12)
        )
        content = [AssistantMessageContent(text=f"**{author}:** {text}")]
        if name is not None and (existing := await self._written(thread_id, item_id, owner)) is not None:
            if existing.content != content:
                raise ConflictError("This turn id (x-chat-turn) was used for another request. Mint a new one.")
            return existing
        hold = await self._own(thread_id, owner, operator)
        await self._store.load_thread_items(thread_id, None, 1, "desc", owner)  # the message comes after the newest
        writing = _at_once(owner)
        until_ms = until_s * 1000
        if not await self.inbox.pass_on(thread_id, hold, operator=operator, until_ms=until_ms, context=writing):
            raise _not_yours()
        item = AssistantMessageItem(id=item_id, thread_id=thread_id, created_at=self._now(), content=content)
        try:
            await self._store.add_thread_item(thread_id, item, context=writing)
        except ConflictError:  # the same request twice at once
            if (existing := await self._written(thread_id, item_id, owner)) is not None:
                return existing
            raise
        return item

    async def give_back(self, thread_id: str, owner: RequestContext, *, operator: str) -> None:
        """Return the thread to the assistant, with a note for it. Repeating it changes nothing."""
        await self._load(thread_id, owner)
        hold = await self.hold_of(thread_id, owner)
        if hold is None and await self._was_closed_by(operator, thread_id, owner):
            return
        if hold is None or hold.operator not in (operator, LEAVING + operator):
            raise _not_yours()
        if not await self.inbox.pass_on(thread_id, hold, operator=LEAVING + operator, context=owner):
            raise _not_yours()
        hold = await self._own(thread_id, owner, LEAVING + operator)
        await self._leave_note(thread_id, hold, owner)
        if not await self.inbox.release(thread_id, hold, operator=operator, context=owner):
            raise _not_yours()

    async def close(self, thread_id: str, owner: RequestContext, *, operator: str) -> None:
        """Close every matter of the thread, and the thread itself if the operator has it. Repeating it changes nothing.

        A thread that only waits goes back to the assistant.
        """
        thread = await self._load(thread_id, owner)
        hold = await self.hold_of(thread_id, owner)
        if hold is not None:
            if hold.operator not in ("", operator, LEAVING + operator):
                raise _not_yours()
            if hold.operator:
                thread.status = ClosedStatus()  # without a reason, which would be in one language for good
                await self._store.save_thread(thread, context=owner)
            elif await self._has_written(thread_id, owner):  # a person whose role was lost
                await self._leave_note(thread_id, hold, owner)
            if not await self.inbox.release(thread_id, hold, operator=operator, context=owner):
                raise _not_yours()
        for matter in await self.inbox.matters_of(thread_id, context=owner):
            if matter.state != "closed" and matter.kind != "handoff":  # those are closed when they are released
                await self.inbox.close_matter(matter, operator=operator)

    async def withdraw(self, operator: str, request_id: str) -> None:
        """Put back into the inbox what somebody has who is no operator any more.

        Looks a few times a day, since it reads every handoff. The clock does the same once the last token has expired.
        """
        if not await self._counters.add("withdrawals", 1, ceiling=WITHDRAWALS, user_id=operator):
            return
        for assistant in self.assistants:
            async for matter in self._handoffs(assistant):
                if matter.state == "taken" and matter.operator in (operator, LEAVING + operator):
                    owner = RequestContext(User(matter.user_id, assistant=assistant), request_id)
                    await self.hand_back(matter.thread_id, owner, operator=operator)

    async def hand_back(self, thread_id: str, owner: RequestContext, *, operator: str) -> None:
        """Let a thread wait for another person. No-op unless the operator has it."""
        hold = await self.hold_of(thread_id, owner)
        if hold is None or hold.operator not in (operator, LEAVING + operator):
            return
        await self.inbox.pass_on(thread_id, hold, operator="", context=owner)

    def _unrequested(self, thread_id: str, owner: RequestContext, *, operator: str, until_ms: int) -> Matter:
        """The matter of a thread that an operator takes without a request: subscribers get no event about it."""
        user, accepted = owner.user, frozenset({REQUESTED})
        return Matter(
            "handoff",
            user.assistant,
            user.id,
            thread_id,
            self._clock(),
            operator=operator,
            until_ms=until_ms,
            accepted=accepted,
        )

    async def _seize(self, matter: Matter, context: RequestContext) -> Hold:
        """Take the thread's lease from whoever has it, store what was answered so far, and hold the thread."""
        services, thread_id = self._turns.services, matter.thread_id
        for _ in range(TRIES):
            turn_id = turn_ids.mint(secrets.token_hex(turn_ids.KEY_DIGITS // 2))
            try:
                taken = await services.ledger.take_lease(thread_id, turn_id, lease_ms=LEASE_MS, context=context)
            except ThreadHeldError:
                if (hold := await self.hold_of(thread_id, context)) is not None:
                    return hold
                continue
            previous = taken.previous
            if previous is not None and not previous.ended:
                if previous.expires_ms > services.clock() - journal.SKEW_MS:
                    await services.sleep(NOTICED_S)  # the turn notices, and writes nothing more
                await recover(services, thread_id, previous, context)
            if await self.inbox.hold(matter, turn_id=turn_id, ends_turn=True, context=context) == "held":
                return Hold(matter.operator, services.clock(), matter.id)
        raise ConflictError("This conversation is changing at the moment. Try again.")

    async def _admit(self, context: RequestContext) -> None:
        user, left_s = context.user, seconds_left(self._clock())
        if user.is_guest:
            handoffs = [matter async for matter in self._handoffs(user.assistant)]
            waiting = sum(matter.is_guest and matter.state != "closed" for matter in handoffs)
            if waiting >= OPEN_GUESTS:
                text = "Too many people are waiting at the moment. Try again later."
                raise QuotaError(text, limit="handoffs", retry_after_s=300)
        if not await self._counters.add("handoffs", 1, ceiling=PER_DAY, user_id=user.person):
            text = Sentence(
                "You have asked for a person {count} times today. Continue with the assistant.", count=PER_DAY
            )
            raise QuotaError(text, limit="handoffs", retry_after_s=left_s)

    async def _handoffs(self, assistant: str) -> AsyncIterator[Matter]:
        """Every request for a person at an assistant, closed ones included: one query, unless there are thousands."""
        after: str | None = None
        while True:
            page = await self.inbox.page(assistant, kind="handoff", after=after)
            for matter in page.matters:
                yield matter
            if (after := page.after) is None:
                return

    async def _note(self, kind: Kind, thread_id: str, cause: str, context: RequestContext) -> None:
        user = context.user
        if user.assistant not in self.assistants:
            return
        matter = Matter(kind, user.assistant, user.id, thread_id, self._clock(), cause, is_guest=user.is_guest)
        try:
            await self.inbox.open_matter(matter)
        except Exception as error:  # noqa: BLE001 - a fence: the user's request has succeeded, or has its own error
            log_fault("matter_not_opened", error, kind=kind)

    async def _load(self, thread_id: str, owner: RequestContext) -> ThreadMetadata:
        """The thread. NotFoundError if it is gone, perhaps by retention: then its old matters are closed."""
        try:
            return await self._store.load_thread(thread_id, context=owner)
        except NotFoundError:
            old_ms = self._clock() // 1_000_000 - MOVING_MS
            for matter in await self.inbox.matters_of(thread_id, context=owner):
                if matter.state == "closed" or matter.changed_ms >= old_ms:
                    continue
                if matter.is_kept:
                    await end_hold(self.inbox, matter, owner)
                else:
                    await self.inbox.close_matter(matter, operator="")
            raise

    async def _own(self, thread_id: str, owner: RequestContext, operator: str) -> Hold:
        """The operator's hold of a thread."""
        await self._load(thread_id, owner)
        hold = await self.hold_of(thread_id, owner)
        if hold is None or hold.operator != operator:
            raise _not_yours()
        return hold

    async def _refuse_closed(self, thread_id: str, owner: RequestContext, matter_id: str) -> None:
        matters = {matter.id: matter for matter in await self.inbox.matters_of(thread_id, context=owner)}
        if matter_id not in matters:
            raise NotFoundError("There is no such matter.")
        if matters[matter_id].state == "closed":
            raise ConflictError("This is closed already.")

    async def _was_closed_by(self, operator: str, thread_id: str, owner: RequestContext) -> bool:
        matters = await self.inbox.matters_of(thread_id, context=owner)
        return any(
            (matter.kind, matter.state, matter.operator) == ("handoff", "closed", operator) for matter in matters
        )

    async def _written(self, thread_id: str, item_id: str, owner: RequestContext) -> AssistantMessageItem | None:
        with suppress(NotFoundError):
            item = await self._store.load_item(thread_id, item_id, context=owner)
            return item if isinstance(item, AssistantMessageItem) else None
        return None

    async def _has_written(self, thread_id: str, owner: RequestContext) -> bool:
        """Whether the newest items, all that a model gets, have a message of a person who has not left a note."""
        newest = await self._store.load_thread_items(thread_id, None, bounds.MAX_LIMIT, "desc", owner)
        for item in newest.data:
            if item.id.startswith(turn_ids.PERSON):
                return True
            if isinstance(item, HiddenContextItem) and item.content == LEFT:
                return False
        return False

    async def _leave_note(self, thread_id: str, hold: Hold, owner: RequestContext) -> None:
        await self._store.load_thread_items(thread_id, None, 1, "desc", owner)
        note = HiddenContextItem(
            id=f"shcx_{_digest(owner.user.id, thread_id, hold.matter, str(hold.since_ms))}",
            thread_id=thread_id,
            created_at=self._now(),
            content=LEFT,
        )
        with suppress(ConflictError):  # an earlier attempt wrote it
            await self._store.add_thread_item(thread_id, note, context=owner)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 10**9, UTC)


def _at_once(owner: RequestContext) -> RequestContext:
    """A context whose writes are ordered at the moment of its `pass_on`, however late they arrive."""
    return replace(owner, turn=Turn(turn_ids.mint(secrets.token_hex(turn_ids.KEY_DIGITS // 2))))


def _not_yours() -> ConflictError:
    return ConflictError("You do not have this conversation: take it first.")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:ID_DIGITS]
