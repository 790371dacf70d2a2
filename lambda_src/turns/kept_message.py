"""A message in a thread that waits for a person or has one: it is stored, no model answers it, and no lease is taken.

Its journal has the few events of the request, so that a duplicate replays them like those of a turn. Knows no HTTP.
"""

from collections.abc import AsyncIterator, Sequence

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.errors import ChatError
from lambda_src.observability.faults import log_fault
from lambda_src.store.ports import JournalBatch
from lambda_src.turns import journal
from lambda_src.turns.duplicates import IdempotencyKey
from lambda_src.turns.turn_task import Begin, TurnServices


class KeptMessage:
    """The stream of a stored message: a TurnStream. The person reads the message in the thread."""

    def __init__(self, turn_id: str, events: Sequence[bytes], services: TurnServices, context: RequestContext) -> None:
        self.turn_id = turn_id
        self._events, self._services, self._context = events, services, context

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            yield self._services.with_urls(event, self._context)

    async def finished(self) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """Nothing to stop."""


async def keep(key: IdempotencyKey, begin: Begin, services: TurnServices, context: RequestContext) -> KeptMessage:
    """Store the message of a request whose key is claimed. What `begin` or its events raise is raised here.

    The message is stored before the key is bound: if the process dies in between, a retry finds the message by its id.
    What fails after that is logged only, because the message is stored.
    """
    turn, thread_id = context.turn, key.request.thread_id
    assert turn is not None
    assert thread_id is not None, "a new thread is never held"
    turn.is_held = True
    key.check_claim()
    events = [event async for event in await begin()]
    if not events:
        raise NotFoundError("nothing was stored")
    try:
        batch = JournalBatch(0, b"".join(events))
        await services.ledger.append_journal(thread_id, turn.id, batch, ttl_s=journal.TTL_S, context=context)
        await key.bind(thread_id)
        await key.end()
    except ChatError as error:
        log_fault("kept_message_not_bound", error)
    return KeptMessage(turn.id, events, services, context)
