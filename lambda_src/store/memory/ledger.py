"""The TurnLedger in memory, behind MemoryStore.ledger. It has no network, so no response is ever lost.

Stores that share their rows (MemoryStore's `beside`) simulate two processes.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.errors import ThreadHeldError
from lambda_src.store import bounds, codec, followers, keys, quota_windows
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.followers import Follower
from lambda_src.store.memory.rows import ClaimRow, LedgerRows, UserRows
from lambda_src.store.ports import (
    Bound,
    Count,
    IdempotencyConflict,
    JournalBatch,
    LeaseTaken,
    QuotaLimits,
    QuotaRefused,
    TurnRow,
)

if TYPE_CHECKING:
    from lambda_src.store.memory.inbox import MemoryInbox

SWEEP_MS = 60_000  # a sweep checks every row: a few milliseconds for ten thousand


class MemoryLedger:
    """ports.TurnLedger. `users` has every user's rows, `clocks` are the store's; `clock` in nanoseconds since 1970.

    Expired rows are removed once a minute, so that a server's memory does not grow with the number of turns.
    """

    def __init__(
        self,
        users: dict[str, UserRows],
        clocks: ThreadClocks,
        *,
        clock: Callable[[], int],
        count: Count,
    ) -> None:
        self._users = users
        self._swept_ms = 0
        self._clocks = clocks
        self._clock = clock
        self._count = count

    async def take_lease(self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext) -> LeaseTaken:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        self._sweep()
        user = self._user(context)
        if self._is_deleted(thread_id, context):
            raise NotFoundError("This thread has been deleted.")
        previous = user.ledger.turns.get(thread_id)
        if previous is not None and previous.hold is not None:
            raise ThreadHeldError
        if previous is not None:
            self._clocks.follow(_name(context, thread_id), previous.last_order)
        first = self._clocks.first(_name(context, thread_id))
        unrecovered = () if previous is None or previous.ended else (*previous.unrecovered, previous.turn_id)
        user.ledger.turns[thread_id] = TurnRow(
            turn_id, self._now_ms() + lease_ms, stop=False, ended=False, last_order=first, unrecovered=unrecovered
        )
        user.ledger.touched[thread_id] = self._now_ms()
        self._clocks.hold(_name(context, thread_id), turn_id, first)
        return LeaseTaken(previous)

    async def renew_lease(
        self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext
    ) -> Literal["held", "stopped", "superseded"]:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        row = self._rows(context).turns.get(thread_id)
        if row is None or row.turn_id != turn_id or row.ended:
            return "superseded"
        if row.stop:
            return "stopped"
        name = _name(context, thread_id)
        ahead = self._clocks.ahead(name)
        expires_ms = self._now_ms() + lease_ms
        turns = self._rows(context).turns
        turns[thread_id] = replace(row, expires_ms=expires_ms, unrecovered=(), last_order=ahead)
        self._rows(context).touched[thread_id] = self._now_ms()
        self._clocks.hold(name, turn_id, ahead)
        return "held"

    def catch_up(self, thread_id: str, context: RequestContext) -> None:
        """Call before a turn writes or deletes: store a later time if it has read an item past its window (clock.py).

        No-op if another turn has the lease.
        """
        name, turn_id = _name(context, thread_id), context.turn_id
        if turn_id is None or not self._clocks.needs_new_window(name, turn_id):
            return
        turns = self._rows(context).turns
        row = turns.get(thread_id)
        if row is None or row.turn_id != turn_id or row.ended:
            self._clocks.lose(name, turn_id)
        else:
            ahead = self._clocks.ahead(name)
            turns[thread_id] = replace(row, last_order=ahead)
            self._clocks.hold(name, turn_id, ahead)

    async def end_lease(self, thread_id: str, turn_id: str, *, died: bool = False, context: RequestContext) -> bool:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        if self._is_deleted(thread_id, context):  # while the turn ran: delete what it has journaled since
            self._rows(context).delete_thread(thread_id)
            return False
        row = self._rows(context).turns.get(thread_id)
        if row is None or row.turn_id != turn_id:
            return False
        if not row.ended:
            ended_ms = 0 if died else self._now_ms()
            ahead = self._clocks.ahead(_name(context, thread_id))
            turns = self._rows(context).turns
            turns[thread_id] = replace(row, ended=True, expires_ms=ended_ms, unrecovered=(), last_order=ahead)
            self._rows(context).touched[thread_id] = self._now_ms()
            self._clocks.release(_name(context, thread_id), turn_id)
        return True

    async def ask_to_stop(self, thread_id: str, turn_id: str | None, *, context: RequestContext) -> TurnRow | None:
        """ports.TurnLedger."""
        row = self._rows(context).turns.get(thread_id)
        if row is None or row.ended or row.expires_ms <= self._now_ms() or turn_id not in (None, row.turn_id):
            return None
        stopped = self._rows(context).turns[thread_id] = replace(row, stop=True)
        return stopped

    async def load_turn(self, thread_id: str, *, context: RequestContext) -> TurnRow | None:
        """ports.TurnLedger."""
        return self._rows(context).turns.get(thread_id)

    async def delete_thread(self, thread_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        if bounds.are_ids(context.user.id, thread_id):
            self._rows(context).delete_thread(thread_id)
            self._rows(context).deleted[thread_id] = self._now_ms()

    async def threads_of(self, context: RequestContext) -> AsyncIterator[str]:
        """ports.TurnLedger."""
        rows = self._rows(context)
        threads = [*rows.turns, *(key[0] for key in rows.journals), *(m.thread_id for m in rows.matters.values())]
        for thread_id in dict.fromkeys(threads):
            yield thread_id

    async def hand_over_turns(self, thread_id: str, guest_id: str, *, context: RequestContext) -> bool:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, guest_id, thread_id)
        guest = self._users.setdefault(guest_id, UserRows()).ledger
        row = guest.turns.get(thread_id)
        if row is not None and not row.ended:
            return False
        guest.hand_over(thread_id, self._rows(context), user_id=context.user.id)
        guest.deleted[thread_id] = self._now_ms()
        return True

    async def append_journal(
        self, thread_id: str, turn_id: str, batch: JournalBatch, *, ttl_s: int, context: RequestContext
    ) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        packed = codec.pack_batch(batch)
        batches = self._rows(context).journals.setdefault((thread_id, turn_id), {})
        batches.setdefault(batch.number, (packed, self._now_ms() + ttl_s * 1000))
        self._rows(context).touched[thread_id, turn_id] = self._now_ms()

    async def read_journal(
        self, thread_id: str, turn_id: str, *, first: int, context: RequestContext
    ) -> AsyncIterator[JournalBatch]:
        """ports.TurnLedger."""
        batches = self._rows(context).journals.get((thread_id, turn_id), {})
        for number, (packed, expires_ms) in sorted(batches.items()):
            if number < first or expires_ms <= self._now_ms():
                continue
            try:
                batch = JournalBatch(number, codec.unpack(packed))
            except codec.UnreadableError:
                self._count("unreadable_row")
                return
            yield batch

    async def claim_request(
        self,
        key: str,
        turn_id: str,
        *,
        body_hash: bytes,
        ttl_s: int,
        instead_of: str | None = None,
        context: RequestContext,
    ) -> IdempotencyConflict | None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id)
        claim = self._claim(key, context)
        if claim is not None and claim.refusal is None and not (claim.turn_id == instead_of and claim.thread_id):
            return _conflict(claim, body_hash)
        expires_ms = self._now_ms() + ttl_s * 1000
        self._rows(context).claims[key] = ClaimRow(turn_id, None, body_hash, expires_ms)
        return None

    async def load_request(
        self, key: str, *, body_hash: bytes | None = None, context: RequestContext
    ) -> IdempotencyConflict | None:
        """ports.TurnLedger."""
        claim = self._claim(key, context)
        return None if claim is None else _conflict(claim, body_hash)

    async def bind_request(
        self, key: str, turn_id: str, *, thread_id: str, ttl_s: int, context: RequestContext
    ) -> Bound | None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id, thread_id)
        claim = self._own(key, turn_id, context)
        if claim is None:
            return None
        claim.thread_id, claim.expires_ms = thread_id, self._now_ms() + ttl_s * 1000
        stop_of, until_ms = self._rows(context).stops.get(key, (None, 0))
        return Bound(stop_of if until_ms > self._now_ms() else None)

    async def refuse_request(self, key: str, turn_id: str, refusal: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id)
        if (claim := self._own(key, turn_id, context)) is not None:
            claim.refusal = refusal

    async def end_request(self, key: str, turn_id: str, *, ttl_s: int, context: RequestContext) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id)
        if (claim := self._own(key, turn_id, context)) is not None:
            claim.ended, claim.expires_ms = True, self._now_ms() + ttl_s * 1000

    async def stop_request(
        self, key: str, stop_of: str, *, turn_id: str | None, ttl_s: int, context: RequestContext
    ) -> IdempotencyConflict | None:
        """ports.TurnLedger."""
        if not bounds.are_ids(context.user.id, key, stop_of, *([] if turn_id is None else [turn_id])):
            return None
        row = self._rows(context).claims.get(key)
        if (row is None or row.thread_id is None) and (turn_id is None or (row is not None and row.turn_id == turn_id)):
            self._rows(context).stops[key] = stop_of, self._now_ms() + ttl_s * 1000
        claim = self._claim(key, context)
        return _conflict(claim, None) if claim is not None and turn_id in (None, claim.turn_id) else None

    async def release_request(self, key: str, turn_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        if self._own(key, turn_id, context) is not None:
            del self._rows(context).claims[key]

    async def note_follower(self, follower: Follower, *, context: RequestContext) -> bool:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, follower.turn_id)
        rows, now_ms = self._rows(context), self._now_ms()
        for entry in followers.expired(rows.followers, now_ms=now_ms):
            del rows.followers[entry]
        rows.followers[follower.entry] = now_ms + followers.EXPIRES_MS
        return followers.may_stay(follower, rows.followers, now_ms=now_ms)

    async def spend_quota(self, turn_id: str, limits: QuotaLimits, *, context: RequestContext) -> QuotaRefused | None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, turn_id)
        rows, now_ms = self._rows(context), self._now_ms()
        minute, day = quota_windows.windows(now_ms)
        spent = quota_windows.Spending(rows.spent[minute], rows.spent[day], rows.runs)
        if turn_id in spent.runs:
            return None
        refused = quota_windows.refusal(spent, limits, now_ms=now_ms)
        if refused is not None:
            return refused
        for dead in spent.dead(now_ms=now_ms):
            del rows.runs[dead]
        for past in [name for name in rows.spent if quota_windows.is_past(name, now_ms=now_ms)]:
            del rows.spent[past]
        rows.spent.update((minute, day))
        rows.runs[turn_id] = quota_windows.run_expires_ms(now_ms=now_ms, deadline_ms=context.deadline_ms)
        return None

    async def end_quota(self, turn_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        self._rows(context).runs.pop(turn_id, None)

    def inbox(self) -> "MemoryInbox":
        """The operators' inbox of the same users. Imported only where a stage has operators."""
        from lambda_src.store.memory.inbox import MemoryInbox  # noqa: PLC0415 - see above

        return MemoryInbox(self._users, self._clocks, clock=self._clock)

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000

    def _sweep(self) -> None:
        """Remove rows that have expired, and users without rows."""
        now_ms = self._now_ms()
        if now_ms < self._swept_ms + SWEEP_MS:
            return
        self._swept_ms = now_ms
        for user_id, user in list(self._users.items()):
            user.ledger.sweep(now_ms=now_ms)
            if user == UserRows():
                del self._users[user_id]

    def _user(self, context: RequestContext) -> UserRows:
        return self._users.setdefault(context.user.id, UserRows())

    def _rows(self, context: RequestContext) -> LedgerRows:
        return self._user(context).ledger

    def _is_deleted(self, thread_id: str, context: RequestContext) -> bool:
        user = self._user(context)
        return thread_id in user.gone or thread_id in user.ledger.deleted

    def _own(self, key: str, turn_id: str, context: RequestContext) -> ClaimRow | None:
        """The turn's claim, expired or not."""
        claim = self._rows(context).claims.get(key)
        return claim if claim is not None and claim.turn_id == turn_id else None

    def _claim(self, key: str, context: RequestContext) -> ClaimRow | None:
        """The claim on the key, unless it has expired."""
        claim = self._rows(context).claims.get(key)
        return claim if claim is not None and claim.expires_ms > self._now_ms() else None


def _conflict(claim: ClaimRow, body_hash: bytes | None) -> IdempotencyConflict:
    same_body = body_hash in (None, claim.body_hash)
    return IdempotencyConflict(claim.turn_id, claim.thread_id, same_body, refusal=claim.refusal, ended=claim.ended)


def _name(context: RequestContext, thread_id: str) -> str:
    return keys.thread_partition(context.user.id, thread_id)
