"""A turn's events on their way into its journal, and back out of it. Knows the ledger port, no engine and no HTTP.

What is journaled is the exact bytes that were sent, in batches, about one a second: a duplicate or a reload replays
them, a crash is recovered from them, and the partial answer is their fold. There is no second copy. Only live URLs of
files are left out: each replay gets its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from lambda_src.context import RequestContext
from lambda_src.errors import ChatError, UnavailableError
from lambda_src.store.followers import Follower
from lambda_src.store.ports import JournalBatch, TurnLedger
from lambda_src.turns import partial_answer

BATCH_BYTES = 100_000  # a batch is one row, and a row holds 400 KB: a burst is written before its second is over
TTL_S = 7 * 24 * 3600  # as long as the lease's row: who returns within a week finds what a crash left
FOLLOW_FAULTS = 5  # in a row: half a minute of a store that does not answer, and the follower gives up
NOTED_EVERY = 4  # polls: every 2 s; whoever only replays a turn that is over is not counted
FOLLOW_EVERY_S = 0.5  # two reads each: a follower is at most this far behind the second that the journal is behind
UNRENEWED_S = 2.0  # two renewals: whoever renews a lease may have a clock behind ours, so expiry alone proves nothing
SKEW_MS = 300_000  # five minutes: no honest clock is further off


class Links(Protocol):
    """Whoever knows where files are: a live URL is nothing to keep."""

    def plain(self, event: bytes) -> bytes:
        """The event without live URLs."""
        ...

    def linked(self, event: bytes, context: RequestContext) -> bytes:
        """The same with URLs that work now."""
        ...


Sleep = Callable[[float], Awaitable[object]]
NowMs = Callable[[], int]


def now_ms() -> int:
    """The wall clock in epoch milliseconds: leases are compared between processes."""
    return time.time_ns() // 1_000_000


class Journal:
    """What one turn sent. `flush` may be called by several tasks at once; batches are written one after another."""

    def __init__(
        self, ledger: TurnLedger, turn_id: str, context: RequestContext, *, links: Links | None = None
    ) -> None:
        self._ledger, self._turn_id, self._context, self._links = ledger, turn_id, context, links
        self.events: list[bytes] = []
        self._taken = 0  # of self.events, into what follows
        self._pending = b""  # bytes on their way into the next batches
        self._batch: JournalBatch | None = None  # under way: it may have been kept although nobody said so
        self._waiting_bytes = 0
        self._number = 0
        self._writing = asyncio.Lock()
        self._early: asyncio.Task[None] | None = None

    def add(self, event: bytes) -> bool:
        """Note one event; True when so much waits that it should be flushed before its time."""
        if self._links is not None:
            event = self._links.plain(event)
        self.events.append(event)
        self._waiting_bytes += len(event)
        return self._waiting_bytes >= BATCH_BYTES

    async def flush(self, thread_id: str) -> None:
        """Write what waits, in batches of BATCH_BYTES at most. What could not be written waits for the next flush.

        A batch whose answer was lost is sent again as it was: another text under its number would be passed over. A
        batch may end within an event: readers put them together again.
        """
        async with self._writing:
            self._pending += b"".join(self.events[self._taken :])
            self._taken = len(self.events)
            while self._pending:
                if self._batch is None:
                    self._batch = JournalBatch(self._number, self._pending[:BATCH_BYTES])
                await self._ledger.append_journal(
                    thread_id, self._turn_id, self._batch, ttl_s=TTL_S, context=self._context
                )
                self._pending = self._pending[len(self._batch.data) :]
                self._number, self._batch = self._number + 1, None
            self._waiting_bytes = sum(map(len, self.events[self._taken :]))

    def hurry(self, thread_id: str) -> None:
        """Write what waits now, in a task of its own, unless one does already; what fails waits for the next flush."""
        if self._early is None or self._early.done():
            self._early = asyncio.create_task(self._flush_early(thread_id))

    async def _flush_early(self, thread_id: str) -> None:
        with suppress(ChatError):
            await self.flush(thread_id)


async def read(ledger: TurnLedger, thread_id: str, turn_id: str, context: RequestContext) -> list[bytes]:
    """Every event of a turn that its journal holds now."""
    batches = ledger.read_journal(thread_id, turn_id, first=0, context=context)
    return partial_answer.split(b"".join([batch.data async for batch in batches]))


async def follow(
    ledger: TurnLedger,
    thread_id: str,
    follower: Follower,
    *,
    context: RequestContext,
    sleep: Sleep = asyncio.sleep,
    clock: NowMs = now_ms,
) -> AsyncIterator[bytes | None]:
    """The turn's events from the first one, then as they are journaled, until it ends, is superseded or has died.

    None comes last when so many others follow by now that this follower must leave.

    A store that fails ends no stream by that: the turn goes on, and what was missed is read a little later.
    UnavailableError when it fails FOLLOW_FAULTS times in a row and once more.
    """
    turn_id = follower.turn_id
    number, rest, faults, polls = 0, b"", 0, 0
    seen_ms, unrenewed_s = 0, 0.0
    while True:
        try:
            if polls % NOTED_EVERY == 1 and not await ledger.note_follower(follower, context=context):
                yield None
                return
            row = await ledger.load_turn(thread_id, context=context)  # first: after its end no batch comes
            async for batch in ledger.read_journal(thread_id, turn_id, first=number, context=context):
                number = batch.number + 1
                events = partial_answer.split(rest + batch.data)
                rest = (rest + batch.data)[sum(map(len, events)) :]
                for event in events:
                    yield event
        except UnavailableError:
            if (faults := faults + 1) > FOLLOW_FAULTS:
                raise
        else:
            faults = 0
            if row is None or row.turn_id != turn_id or row.ended:
                return
            unrenewed_s = unrenewed_s + FOLLOW_EVERY_S if row.expires_ms == seen_ms else 0.0
            seen_ms = row.expires_ms
            expired_ms = clock() - seen_ms
            if expired_ms > SKEW_MS or (expired_ms >= 0 and unrenewed_s >= UNRENEWED_S):
                return
        await sleep(FOLLOW_EVERY_S)
        polls += 1
