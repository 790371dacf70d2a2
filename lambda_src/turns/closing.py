"""The end of a turn that had its lease: what it said is kept, why it ends is told, the lease is given back.

Each step stands by itself, since a store that fails now must cost as little as it can: the journal is written beside
the keeping, the reader is told whatever the store says, and what could not be kept leaves the lease unended, so that
whoever comes next keeps it, from the journal. Knows no HTTP, no server and no model.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from lambda_src.context import RequestContext
from lambda_src.errors import ChatError
from lambda_src.store.ports import TurnLedger
from lambda_src.turns import endings, partial_answer
from lambda_src.turns.journal import Journal, NowMs, Sleep
from lambda_src.turns.persistence import AnswerStore, Cut

HURRIED_S = 1.0  # at a deadline: what lease, keeping and journal may take each, so that the notice goes out in time
KEEP_AGAIN_S = 1.0  # between two attempts to keep an answer that ended while the store did not answer
KEEP_TRIES = 30  # a brown-out lasts seconds; after that the journal's part is kept by the next reader
LAST_TRY_MS = 1_500  # before Lambda's time-out: the pause before the last attempt, and the attempt

log = logging.getLogger(__name__)

Renew = Callable[[], Awaitable[Literal["held", "stopped", "superseded"]]]


class Closing:
    """Of one turn. `emit` sends an event to the reader and into the journal, `renew` asks whether the lease is ours."""

    def __init__(
        self,
        ledger: TurnLedger,
        answers: AnswerStore,
        journal: Journal,
        *,
        emit: Callable[[bytes], None],
        renew: Renew,
        thread_id: str,
        turn_id: str,
        context: RequestContext,
        sleep: Sleep,
        clock: NowMs,
    ) -> None:
        self._ledger, self._answers, self._journal = ledger, answers, journal
        self._emit, self._renew = emit, renew
        self._thread_id, self._turn_id, self._context = thread_id, turn_id, context
        self._sleep, self._clock = sleep, clock
        self._is_kept = True  # all that was to be kept so far

    async def before_error(self) -> Cut | None:
        """Keep what was said before ChatKit's error event ends the answer; "superseded" when it is not ours to keep."""
        if not partial_answer.unfinished(self._journal.events):
            return None
        if await self.is_superseded("failed"):
            return "superseded"
        for _ in range(KEEP_TRIES):
            await self._keep("failed")
            if self._is_kept:
                break
            await self._sleep(KEEP_AGAIN_S)  # the lease is renewed meanwhile, and the deadline ends this as any turn
        return None

    async def is_superseded(self, cut: Cut | None) -> bool:
        """Whether a turn that ends before its time has lost its lease unnoticed: it may write nothing more then.

        A store that does not say so has not said so: the answer is kept, under ids that nobody else gives away.
        """
        if cut is None or cut in ("stopped", "superseded"):  # the lease itself has said so
            return False
        try:
            async with asyncio.timeout(_patience_s(cut)):
                held = await self._renew()
        except (ChatError, TimeoutError) as fault:
            log_fault("turn_renewal_failed", fault)
            return False
        return held == "superseded"

    async def close(self, cut: Cut | None, *, failed: bool) -> bool:
        """The last events, the last batch, then the end of the lease: a follower reads none after it.

        Whether the lease was still ours. ChatError: it could not be ended.
        """
        if cut is not None:
            _, shown = await asyncio.gather(self._flush(cut), self._keep(cut))
            self._end_items()
            for event in endings.last_words(cut, failed=failed, shown=shown):
                self._emit(event)
        await self._flush(cut)
        if cut is not None and cut != "shutdown":
            await self._keep_when_possible(cut)
        if not self._is_kept:
            return True
        return await self._ledger.end_lease(self._thread_id, self._turn_id, context=self._context)

    async def _keep_when_possible(self, cut: Cut) -> None:
        """Try again what could not be kept, until shortly before the deadline: this process has all of it."""
        for _ in range(KEEP_TRIES):
            if self._is_kept or self._is_due():
                return
            await self._sleep(KEEP_AGAIN_S)
            try:
                async with asyncio.timeout(_patience_s(cut)):
                    if await self._renew() == "superseded":  # whoever has the lease keeps what the journal has
                        return
            except (ChatError, TimeoutError):
                continue  # logged with the first attempt
            await self._keep(cut)
            await self._flush(cut)

    def _is_due(self) -> bool:
        deadline_ms = self._context.deadline_ms
        return deadline_ms is not None and self._clock() > deadline_ms - LAST_TRY_MS

    def _end_items(self) -> None:
        """Take what the turn left open from the reader's page; what is to be kept later stays there."""
        events = list(self._journal.events)
        kept = {item.id for item in partial_answer.unfinished(events)}
        for item_id in partial_answer.left_open(events):
            if item_id not in kept:
                self._emit(endings.removed(item_id))

    async def _keep(self, cut: Cut) -> bool:
        """What was said so far, stored (by the superseder, if there is one) and ended in the stream; was there any."""
        events = self._journal.events
        try:
            async with asyncio.timeout(_patience_s(cut)):
                if cut == "superseded":
                    items = await self._answers.kept(partial_answer.unfinished(events), self._context)
                else:
                    items = await self._answers.keep(
                        self._thread_id, self._turn_id, list(events), cut=cut, context=self._context
                    )
        except Exception as fault:  # noqa: BLE001 - a fence: what comes behind it matters whatever the store says
            self._is_kept = cut == "superseded"
            log_fault("turn_keep_failed", fault)
            return False
        self._is_kept = True
        for item in items:
            self._emit(endings.done(item))
        return bool(items)

    async def _flush(self, cut: Cut | None) -> None:
        try:
            async with asyncio.timeout(_patience_s(cut)):
                await self._journal.flush(self._thread_id)
        except (ChatError, TimeoutError) as fault:  # the answer itself is kept, or its lease stays
            log_fault("turn_journal_failed", fault)


def _patience_s(cut: Cut | None) -> float | None:
    return HURRIED_S if cut == "deadline" else None


def log_fault(event: str, fault: Exception) -> None:
    """What went wrong beside the answer, and does not end it."""
    log.warning(event, extra={"error_type": type(fault).__qualname__})
