"""A turn's lease on its thread: take it, renew it every second, notice that it is lost, end it.

Only the turn that holds the lease writes to the thread. A newer turn takes the lease at any time; a lease that nobody
renews expires after LEASE_MS. Knows the ledger port, no store engine and no HTTP.
"""

import asyncio
from typing import Literal

from lambda_src.context import RequestContext
from lambda_src.errors import ChatError
from lambda_src.observability.faults import log_fault
from lambda_src.store.ports import TurnLedger, TurnRow
from lambda_src.turns.journal import Sleep

RENEW_S = 1.0  # how soon a stop or a newer turn is noticed, and how much of an answer a crash may cost
RENEW_WITHIN_S = 2.0  # a renewal that takes longer counts as failed; the next one tries again
LEASE_MS = 10_000  # how long a dead turn looks alive: two renewals may fail, the third ends at 3 x (1 + 2) s

Renewal = Literal["held", "stopped", "superseded"]


class Lease:
    """The lease of one turn. `thread_id` is None until the lease is taken.

    `hold` renews it, and sets `lost` once it is no longer this turn's or the user pressed Stop; `lost_because` has the
    reason. Only the turn that owns the lease decides what to do then.
    """

    def __init__(self, ledger: TurnLedger, turn_id: str, context: RequestContext, *, sleep: Sleep) -> None:
        self._ledger, self.turn_id, self._context, self._sleep = ledger, turn_id, context, sleep
        self.thread_id: str | None = None
        self.lost = asyncio.Event()
        self.lost_because: Literal["stopped", "superseded"] = "superseded"

    async def take(self, thread_id: str) -> TurnRow | None:
        """Take the lease from whoever holds it, expired or not, and return the row of that turn, if there was one.

        NotFoundError: the thread is being deleted.
        """
        taken = await self._ledger.take_lease(thread_id, self.turn_id, lease_ms=LEASE_MS, context=self._context)
        self.thread_id = thread_id
        return taken.previous

    async def is_current(self) -> bool:
        """Whether no newer turn has taken the lease. Reads the row, without renewing anything."""
        row = await self._ledger.load_turn(self._taken_in(), context=self._context)
        return row is not None and row.turn_id == self.turn_id

    async def renew(self) -> Renewal:
        """Extend the lease by LEASE_MS, if it is still this turn's and nobody asked the turn to stop."""
        return await self._ledger.renew_lease(self._taken_in(), self.turn_id, lease_ms=LEASE_MS, context=self._context)

    async def hold(self) -> None:
        """Renew the lease every RENEW_S until it is lost. A store that fails does not end the turn."""
        while not self.lost.is_set():
            await self._sleep(RENEW_S)
            try:
                async with asyncio.timeout(RENEW_WITHIN_S):
                    renewal = await self.renew()
            except (ChatError, TimeoutError) as error:
                log_fault("turn_renewal_failed", error)
                continue
            if renewal != "held":
                self.lost_because = renewal
                self.lost.set()

    async def end(self) -> bool:
        """End the lease, so that the thread is free at once. False: a newer turn had taken it."""
        return await self._ledger.end_lease(self._taken_in(), self.turn_id, context=self._context)

    def _taken_in(self) -> str:
        assert self.thread_id is not None, "the lease is taken before it is used"
        return self.thread_id
