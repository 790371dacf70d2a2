"""The operators' inbox in memory: each user's matters, and the hold in a thread's lease."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.store import bounds, keys
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.inbox import (
    CLOSED_TTL_S,
    DUE_MATTERS,
    OPEN_TTL_S,
    PAGE_MATTERS,
    Kind,
    Matter,
    MatterPage,
    State,
    handoff_of,
    is_as_read,
)
from lambda_src.store.memory.rows import UserRows
from lambda_src.store.ports import Hold

_MS = 1_000_000


class MemoryInbox:
    """inbox.Inbox. `users` has every user's rows, `clocks` are the store's; `clock` in nanoseconds since 1970."""

    def __init__(self, users: dict[str, UserRows], clocks: ThreadClocks, *, clock: Callable[[], int]) -> None:
        self._users, self._clocks, self._clock = users, clocks, clock

    async def open_matter(self, matter: Matter) -> bool:
        """inbox.Inbox."""
        bounds.writable(matter.user_id, matter.thread_id)
        is_known = any(
            other.id == matter.id
            or (other.thread_id, other.user_id, other.occasion) == (matter.thread_id, matter.user_id, matter.occasion)
            for other in self._living(matter.assistant)
        )
        if not is_known:
            self._put(replace(matter, due_ms=matter.opened_ns // _MS))
        return not is_known

    async def page(
        self, assistant: str, *, kind: Kind | None = None, state: State | None = None, after: str | None = None
    ) -> MatterPage:
        """inbox.Inbox."""
        wanted = [
            matter
            for matter in self._living(assistant)
            if kind in (None, matter.kind) and state in (None, matter.state) and (after is None or matter.id > after)
        ]
        page = wanted[:PAGE_MATTERS]
        return MatterPage(page, page[-1].id if len(wanted) > len(page) else None)

    async def matters_of(self, thread_id: str, *, context: RequestContext) -> list[Matter]:
        """inbox.Inbox."""
        matters = self._living(context.user.assistant)
        return [matter for matter in matters if (matter.user_id, matter.thread_id) == (context.user.id, thread_id)]

    async def close_matter(self, matter: Matter, *, operator: str) -> None:
        """inbox.Inbox."""
        stored = self._user(matter.user_id).ledger.matters.get(matter.id)
        if stored is not None and is_as_read(stored, matter):
            self._put(replace(stored, state="closed", operator=operator))

    async def due(self, assistant: str, *, now_ms: int) -> list[Matter]:
        """inbox.Inbox."""
        due = [matter for matter in self._living(assistant) if matter.due_ms is not None and matter.due_ms <= now_ms]
        return sorted(due, key=lambda matter: matter.due_ms or 0)[:DUE_MATTERS]

    async def settle(self, matter: Matter, *, accepted: str | None, due_ms: int | None) -> bool:
        """inbox.Inbox."""
        matters = self._user(matter.user_id).ledger.matters
        if (stored := matters.get(matter.id)) is None:
            return False
        events = {*stored.accepted, *([] if accepted is None else [accepted])}
        is_same = is_as_read(stored, matter) and stored.due_ms == matter.due_ms
        due_ms = due_ms if is_same else stored.due_ms
        matters[matter.id] = replace(stored, accepted=frozenset(events), due_ms=due_ms)
        return is_same

    async def hold(
        self, matter: Matter, *, turn_id: str, ends_turn: bool, context: RequestContext
    ) -> Literal["held", "lost"]:
        """inbox.Inbox."""
        bounds.writable(context.user.id, matter.thread_id, turn_id)
        user = self._user(context.user.id)
        if matter.thread_id in user.gone or matter.thread_id in user.ledger.deleted:
            raise NotFoundError("This thread has been deleted.")
        row = user.ledger.turns.get(matter.thread_id)
        if row is None or row.turn_id != turn_id or row.hold is not None:
            return "lost"
        now_ms = self._now_ms()
        row = replace(row, hold=Hold(matter.operator, now_ms, matter.id, matter.until_ms))
        if ends_turn:
            ahead = self._clocks.ahead(_name(context, matter.thread_id))
            row = replace(row, ended=True, expires_ms=now_ms, unrecovered=(), last_order=ahead)
            self._clocks.release(_name(context, matter.thread_id), turn_id)
        user.ledger.turns[matter.thread_id] = row
        state: State = "taken" if matter.operator else "open"
        self._put(replace(matter, state=state, due_ms=matter.opened_ns // _MS))
        return "held"

    async def pass_on(
        self,
        thread_id: str,
        hold: Hold,
        *,
        operator: str,
        until_ms: int | None = None,
        seen: Matter | None = None,
        context: RequestContext,
    ) -> bool:
        """inbox.Inbox."""
        now_ms, ledger = self._now_ms(), self._user(context.user.id).ledger
        row = ledger.turns.get(thread_id)
        if row is None or row.hold is None or not row.ended or not _is_same(row.hold, hold):
            return False
        lost = handoff_of(hold, thread_id, assistant=context.user.assistant, user_id=context.user.id)
        matter = ledger.matters.get(hold.matter, lost)
        if seen is not None and not is_as_read(matter, seen):
            return False
        if context.turn_id is not None:
            name = _name(context, thread_id)
            self._clocks.hold(name, context.turn_id, self._clocks.ahead(name))
        is_same = operator == hold.operator
        since_ms = row.hold.since_ms if is_same else now_ms
        until_ms = matter.until_ms if until_ms is None else until_ms
        ledger.turns[thread_id] = replace(row, hold=Hold(operator, since_ms, hold.matter, until_ms))
        due_ms = matter.due_ms if is_same and matter.due_ms is not None else now_ms
        state: State = "taken" if operator else "open"
        self._put(replace(matter, operator=operator, state=state, due_ms=due_ms, until_ms=until_ms))
        return True

    async def release(self, thread_id: str, hold: Hold, *, operator: str, context: RequestContext) -> bool:
        """inbox.Inbox."""
        ledger = self._user(context.user.id).ledger
        row = ledger.turns.get(thread_id)
        if row is None or not _is_same(row.hold, hold):
            return False
        ahead = self._clocks.ahead(_name(context, thread_id))
        ledger.turns[thread_id] = replace(row, hold=None, last_order=ahead)
        ledger.touched[thread_id] = self._now_ms()
        lost = handoff_of(hold, thread_id, assistant=context.user.assistant, user_id=context.user.id)
        self._put(replace(ledger.matters.get(hold.matter, lost), operator=operator, state="closed"))
        return True

    def _put(self, matter: Matter) -> None:
        self._user(matter.user_id).ledger.matters[matter.id] = replace(matter, changed_ms=self._now_ms())

    def _living(self, assistant: str) -> list[Matter]:
        """The matters of an assistant that have not expired, by id."""
        now_ms = self._now_ms()
        matters = [matter for user in self._users.values() for matter in user.ledger.matters.values()]
        living = [
            matter
            for matter in matters
            if matter.assistant == assistant and (matter.is_kept or now_ms < _expires_ms(matter))
        ]
        return sorted(living, key=lambda matter: matter.id)

    def _user(self, user_id: str) -> UserRows:
        return self._users.setdefault(user_id, UserRows())

    def _now_ms(self) -> int:
        return self._clock() // _MS


def _is_same(stored: Hold | None, hold: Hold) -> bool:
    return stored is not None and (stored.operator, stored.matter) == (hold.operator, hold.matter)


def _expires_ms(matter: Matter) -> int:
    return matter.changed_ms + (CLOSED_TTL_S if matter.state == "closed" else OPEN_TTL_S) * 1000


def _name(context: RequestContext, thread_id: str) -> str:
    return keys.thread_partition(context.user.id, thread_id)
