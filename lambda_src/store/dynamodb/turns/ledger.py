"""The TurnLedger on the store's DynamoDB table, joined from its parts. Knows no HTTP, no event, no model.

Each part implements its methods of ports.TurnLedger: it validates ids, applies the time budget and owns its rows.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.store import bounds, keys
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.maintenance.sweep import delete_matters, threads_left
from lambda_src.store.dynamodb.table import Update, key_of
from lambda_src.store.dynamodb.turns.followers import Followers
from lambda_src.store.dynamodb.turns.idempotency import IdempotencyKeys
from lambda_src.store.dynamodb.turns.journal import Journals
from lambda_src.store.dynamodb.turns.leases import Leases
from lambda_src.store.dynamodb.turns.quotas import Quotas

if TYPE_CHECKING:
    from lambda_src.store.dynamodb.inbox import TableInbox

_OF_TURNS = (keys.EVENTS_PREFIX, keys.MATTER_PREFIX)


class DynamoDBLedger(Leases, IdempotencyKeys, Journals, Quotas, Followers):
    """ports.TurnLedger. Adds the methods that need two of its parts."""

    def registration(self, thread_id: str, context: RequestContext) -> tuple[Update, Update]:
        """The two writes of a transaction that take a new thread's lease and bind the turn's key to the thread."""
        user_id, turn = context.user.id, context.turn
        registration = None if turn is None else turn.registration
        assert turn is not None
        assert registration is not None, "only the turn that begins a thread is registered with it"
        bounds.writable(turn.id, registration.key)
        lease = self._first_lease(user_id, thread_id, turn.id, lease_ms=registration.lease_ms)
        key, ttl_s = registration.key, registration.bound_s
        return lease, self._binding(user_id, key, turn.id, thread_id=thread_id, ttl_s=ttl_s)

    @within_budget
    async def end_lease(self, thread_id: str, turn_id: str, *, died: bool = False, context: RequestContext) -> bool:
        """Mark the turn as ended; False if another turn has the lease, or the thread is deleted."""
        bounds.writable(context.user.id, thread_id, turn_id)
        try:
            return await self._end_lease(context.user.id, thread_id, turn_id, died=died)
        except NotFoundError:  # deleted while the turn ran: delete what the turn has journaled since then
            await self._delete_journal(context.user.id, thread_id, turn_id)
            return False

    @within_budget
    async def delete_thread(self, thread_id: str, *, context: RequestContext) -> None:
        """Replace the thread's lease by a tombstone, and delete the journals of its turns and its matters."""
        user_id = context.user.id
        if bounds.are_ids(user_id, thread_id):
            await self._delete_lease(user_id, thread_id)
            partition, only = keys.thread_partition(user_id, thread_id), (rows.INBOX, rows.MATTER)
            async for page in self._table.pages(partition, only=only):
                await delete_matters(self._table, page, user_id)
                await self._table.write_many(deletes=[key for key in map(key_of, page) if key[1].startswith(_OF_TURNS)])

    async def threads_of(self, context: RequestContext) -> AsyncIterator[str]:
        """ports.TurnLedger."""
        async for thread_id in threads_left(self._table, context.user.id):
            yield thread_id

    async def hand_over_turns(self, thread_id: str, guest_id: str, *, context: RequestContext) -> bool:
        """ports.TurnLedger. No time budget, as for other handovers."""
        from lambda_src.store.dynamodb.maintenance.handover import TurnHandover  # noqa: PLC0415 - off the cold path

        bounds.writable(context.user.id, guest_id, thread_id)
        return await TurnHandover(self._table, clock=self._clock).hand_over(thread_id, guest_id, context.user.id)

    def inbox(self) -> "TableInbox":
        """The operators' inbox, on the same table. Imported only where a stage has operators."""
        from lambda_src.store.dynamodb.inbox import TableInbox  # noqa: PLC0415 - see above

        return TableInbox(self._table, self._clocks, clock=self._clock, count=self._count)
