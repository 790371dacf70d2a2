"""The TurnLedger on the store's DynamoDB table. Knows no HTTP, no event, no model.

Each method validates its ids, applies the time budget, and delegates to the class that owns the rows.
"""

from collections.abc import AsyncIterator, Callable
from typing import Literal

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.store import bounds
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb.table import Row, Table, Update
from lambda_src.store.dynamodb.turns.followers import Followers
from lambda_src.store.dynamodb.turns.idempotency import IdempotencyKeys
from lambda_src.store.dynamodb.turns.journal import Journal, JournalPage
from lambda_src.store.dynamodb.turns.leases import Leases
from lambda_src.store.dynamodb.turns.quotas import Quotas
from lambda_src.store.followers import Follower
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


class DynamoDBLedger:
    """ports.TurnLedger. `leases` uses the clocks of the store to which the turns write their items."""

    def __init__(self, table: Table, leases: Leases, *, clock: Callable[[], int], count: Count) -> None:
        self._leases = leases
        self._journal = Journal(table, clock=clock, count=count)
        self._idempotency_keys = IdempotencyKeys(table, clock=clock)
        self._quotas = Quotas(table, clock=clock)
        self._followers = Followers(table, clock=clock)

    def registration(self, thread_id: str, context: RequestContext) -> tuple[Update, Update]:
        """The two writes of a transaction that take a new thread's lease and bind the turn's key to the thread."""
        user_id, turn = context.user.id, context.turn
        registration = None if turn is None else turn.registration
        assert turn is not None
        assert registration is not None, "only the turn that begins a thread is registered with it"
        bounds.writable(turn.id, registration.key)
        lease = self._leases.first_of(user_id, thread_id, turn.id, lease_ms=registration.lease_ms)
        key, ttl_s = registration.key, registration.bound_s
        return lease, self._idempotency_keys.binding(user_id, key, turn.id, thread_id=thread_id, ttl_s=ttl_s)

    @within_budget
    async def take_lease(self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext) -> LeaseTaken:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        return await self._leases.take(context.user.id, thread_id, turn_id, lease_ms=lease_ms)

    @within_budget
    async def renew_lease(
        self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext
    ) -> Literal["held", "stopped", "superseded"]:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        return await self._leases.renew(context.user.id, thread_id, turn_id, lease_ms=lease_ms)

    @within_budget
    async def end_lease(self, thread_id: str, turn_id: str, *, died: bool = False, context: RequestContext) -> bool:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        try:
            return await self._leases.end(context.user.id, thread_id, turn_id, died=died)
        except NotFoundError:  # deleted while the turn ran: delete what the turn has journaled since then
            await self._journal.delete(context.user.id, thread_id, turn_id)
            return False

    @within_budget
    async def delete_thread(self, thread_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        if bounds.are_ids(context.user.id, thread_id):
            await self._leases.delete(context.user.id, thread_id)
            await self._journal.delete(context.user.id, thread_id)

    @within_budget
    async def ask_to_stop(self, thread_id: str, turn_id: str | None, *, context: RequestContext) -> TurnRow | None:
        """ports.TurnLedger."""
        if not bounds.are_ids(context.user.id, thread_id, *([] if turn_id is None else [turn_id])):
            return None
        return await self._leases.ask_to_stop(context.user.id, thread_id, turn_id)

    @within_budget
    async def load_turn(self, thread_id: str, *, context: RequestContext) -> TurnRow | None:
        """ports.TurnLedger."""
        if not bounds.are_ids(context.user.id, thread_id):
            return None
        return await self._leases.load(context.user.id, thread_id)

    @within_budget
    async def append_journal(
        self, thread_id: str, turn_id: str, batch: JournalBatch, *, ttl_s: int, context: RequestContext
    ) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, thread_id, turn_id)
        await self._journal.append(context.user.id, thread_id, turn_id, batch, ttl_s=ttl_s)

    async def read_journal(
        self, thread_id: str, turn_id: str, *, first: int, context: RequestContext
    ) -> AsyncIterator[JournalBatch]:
        """ports.TurnLedger. The time budget applies to each page, because the caller decides how long reading takes."""
        if not bounds.are_ids(context.user.id, thread_id, turn_id):
            return
        page = await self._journal_page(thread_id, turn_id, first, None, context)
        while True:
            for batch in page.batches:
                yield batch
            if page.start is None:
                return
            page = await self._journal_page(thread_id, turn_id, first, page.start, context)

    @within_budget
    async def _journal_page(
        self, thread_id: str, turn_id: str, first: int, start: Row | None, context: RequestContext
    ) -> JournalPage:
        return await self._journal.page(context.user.id, thread_id, turn_id, first=first, start=start)

    @within_budget
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
        return await self._idempotency_keys.claim(
            context.user.id, key, turn_id, body_hash=body_hash, ttl_s=ttl_s, instead_of=instead_of
        )

    @within_budget
    async def load_request(
        self, key: str, *, body_hash: bytes | None = None, context: RequestContext
    ) -> IdempotencyConflict | None:
        """ports.TurnLedger."""
        if not bounds.are_ids(context.user.id, key):
            return None
        return await self._idempotency_keys.load(context.user.id, key, body_hash=body_hash)

    @within_budget
    async def bind_request(
        self, key: str, turn_id: str, *, thread_id: str, ttl_s: int, context: RequestContext
    ) -> Bound | None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id, thread_id)
        return await self._idempotency_keys.bind(context.user.id, key, turn_id, thread_id=thread_id, ttl_s=ttl_s)

    @within_budget
    async def refuse_request(self, key: str, turn_id: str, refusal: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id)
        await self._idempotency_keys.refuse(context.user.id, key, turn_id, refusal)

    @within_budget
    async def end_request(self, key: str, turn_id: str, *, ttl_s: int, context: RequestContext) -> None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, key, turn_id)
        await self._idempotency_keys.end(context.user.id, key, turn_id, ttl_s=ttl_s)

    @within_budget
    async def stop_request(
        self, key: str, stop_of: str, *, turn_id: str | None, ttl_s: int, context: RequestContext
    ) -> IdempotencyConflict | None:
        """ports.TurnLedger."""
        if not bounds.are_ids(context.user.id, key, stop_of, *([] if turn_id is None else [turn_id])):
            return None
        return await self._idempotency_keys.stop(context.user.id, key, stop_of, turn_id=turn_id, ttl_s=ttl_s)

    @within_budget
    async def release_request(self, key: str, turn_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        if bounds.are_ids(context.user.id, key, turn_id):
            await self._idempotency_keys.release(context.user.id, key, turn_id)

    @within_budget
    async def note_follower(self, follower: Follower, *, context: RequestContext) -> bool:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, follower.turn_id)
        return await self._followers.note(context.user.id, follower)

    @within_budget
    async def spend_quota(self, turn_id: str, limits: QuotaLimits, *, context: RequestContext) -> QuotaRefused | None:
        """ports.TurnLedger."""
        bounds.writable(context.user.id, turn_id)
        return await self._quotas.spend(context.user.id, turn_id, limits, deadline_ms=context.deadline_ms)

    @within_budget
    async def end_quota(self, turn_id: str, *, context: RequestContext) -> None:
        """ports.TurnLedger."""
        if bounds.are_ids(context.user.id, turn_id):
            await self._quotas.end(context.user.id, turn_id)
