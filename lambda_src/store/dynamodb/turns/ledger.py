"""The TurnLedger on the store's DynamoDB table, joined from its parts. Knows no HTTP, no event, no model.

Each part implements its methods of ports.TurnLedger: it validates ids, applies the time budget and owns its rows.
"""

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.store import bounds
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb.table import Update
from lambda_src.store.dynamodb.turns.followers import Followers
from lambda_src.store.dynamodb.turns.idempotency import IdempotencyKeys
from lambda_src.store.dynamodb.turns.journal import Journals
from lambda_src.store.dynamodb.turns.leases import Leases
from lambda_src.store.dynamodb.turns.quotas import Quotas


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
        """Replace the thread's lease by a tombstone, and delete the journals of its turns."""
        if bounds.are_ids(context.user.id, thread_id):
            await self._delete_lease(context.user.id, thread_id)
            await self._delete_journal(context.user.id, thread_id)
