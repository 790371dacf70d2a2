"""The journal of a turn: write its events in batches, read them, follow them while the turn runs.

The journal has the bytes of the events, about one batch per second. Duplicates and reloads replay them, and the
answer of a crashed turn is recovered from them. There is no second copy. Presigned URLs of files are added for each
reader. Knows the ledger port, no store engine and no HTTP.
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

BATCH_BYTES = 100_000  # a batch is one row, and a row holds 400 KB: a burst does not wait for its second to end
TTL_S = 7 * 24 * 3600  # as long as the lease's row: what a crash left can be recovered for a week
FOLLOW_FAULTS = 5  # failed reads in a row before a follower gives up: half a minute without the store
NOTED_EVERY = 4  # polls, so every 2 s; a reader that only replays a turn that is over is not counted
FOLLOW_EVERY_S = 0.5  # two reads each: how far a follower is behind the journal, which is a second behind the turn
UNRENEWED_S = 2.0  # two renewals; expiry alone proves nothing, as the clock of the renewing process may be behind
SKEW_MS = 300_000  # five minutes: clocks of two machines do not differ by more


class Urls(Protocol):
    """Adds presigned URLs to events. They expire, so the journal has none."""

    def in_event(self, event: bytes, context: RequestContext) -> bytes:
        """The event with URLs that work now."""
        ...


Sleep = Callable[[float], Awaitable[object]]
NowMs = Callable[[], int]


def now_ms() -> int:
    """The wall clock in epoch milliseconds: leases are compared between processes."""
    return time.time_ns() // 1_000_000


class Journal:
    """The events of one turn. Several tasks may call `flush` at once; batches are written one after another."""

    def __init__(self, ledger: TurnLedger, turn_id: str, context: RequestContext) -> None:
        self._ledger, self._turn_id, self._context = ledger, turn_id, context
        self.events: list[bytes] = []
        self._taken = 0  # how many of self.events are in the batches so far
        self._pending = b""  # bytes for the next batches
        self._batch: JournalBatch | None = None  # being written: it may be stored even if the write failed
        self._waiting_bytes = 0
        self._number = 0
        self._writing = asyncio.Lock()
        self._early: asyncio.Task[None] | None = None

    def add(self, event: bytes) -> bool:
        """Add one event; True when so much waits that it should be flushed early."""
        self.events.append(event)
        self._waiting_bytes += len(event)
        return self._waiting_bytes >= BATCH_BYTES

    async def flush(self, thread_id: str) -> None:
        """Write the events that wait, in batches of up to BATCH_BYTES. After an error they wait for the next flush.

        A batch that failed is sent again unchanged: it may be stored, and then other bytes under its number would be
        ignored. A batch may end within an event: readers join them.
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
        """Write the events that wait, in a task of its own, unless one is running. Errors wait for the next flush."""
        if self._early is None or self._early.done():
            self._early = asyncio.create_task(self._flush_early(thread_id))

    async def _flush_early(self, thread_id: str) -> None:
        with suppress(ChatError):
            await self.flush(thread_id)


async def read(ledger: TurnLedger, thread_id: str, turn_id: str, context: RequestContext) -> list[bytes]:
    """The events that a turn's journal has now."""
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

    A final None means that too many followers came later, so that this one must leave. A read that fails does not end
    the stream: it is repeated a little later. UnavailableError: more than FOLLOW_FAULTS reads in a row failed.
    """
    turn_id = follower.turn_id
    number, rest, failures, polls = 0, b"", 0, 0
    seen_ms, unrenewed_s = 0, 0.0
    while True:
        try:
            if polls % NOTED_EVERY == 1 and not await ledger.note_follower(follower, context=context):
                yield None
                return
            row = await ledger.load_turn(thread_id, context=context)  # before the batches: none is added after the end
            async for batch in ledger.read_journal(thread_id, turn_id, first=number, context=context):
                number = batch.number + 1
                events = partial_answer.split(rest + batch.data)
                rest = (rest + batch.data)[sum(map(len, events)) :]
                for event in events:
                    yield event
        except UnavailableError:
            if (failures := failures + 1) > FOLLOW_FAULTS:
                raise
        else:
            failures = 0
            if row is None or row.turn_id != turn_id or row.ended:
                return
            unrenewed_s = unrenewed_s + FOLLOW_EVERY_S if row.expires_ms == seen_ms else 0.0
            seen_ms = row.expires_ms
            expired_ms = clock() - seen_ms
            if expired_ms > SKEW_MS or (expired_ms >= 0 and unrenewed_s >= UNRENEWED_S):
                return
        await sleep(FOLLOW_EVERY_S)
        polls += 1
