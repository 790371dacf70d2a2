"""One running turn: the task that pulls its events, hands them to the reader, and closes it.

A task of its own, because a run is torn down well only when its generator is pumped in one task and that task is
cancelled: errors thrown into the generator from the reader's side lose the partial answer. An unbounded queue, because
a reader that stalls would otherwise stop the run and lose the answer (some MB at most). Knows no HTTP, no server and no
model.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

from lambda_src.context import EndReason, RequestContext
from lambda_src.errors import ChatError
from lambda_src.observability.faults import log_fault
from lambda_src.quotas.turn_quota import Outcome, Quotas
from lambda_src.store.ports import TurnLedger, TurnRow
from lambda_src.turns import closing, journal, turn_ids
from lambda_src.turns.closing import Closing
from lambda_src.turns.duplicates import IdempotencyKey
from lambda_src.turns.event_queue import TurnEnd, TurnOutput
from lambda_src.turns.journal import Journal, NowMs, Sleep, Urls
from lambda_src.turns.lease import RENEW_S, Lease
from lambda_src.turns.persistence import AnswerStore, InterruptReason

NOTICED_S = 1.5  # how long a turn that lost its lease may take to notice it and to write its last events
SETTLED_MS = 2_000  # a turn that begins so long after another one's end reads all its writes, whatever the clocks say
CLOSING_TIME_MS = 3_000  # before Lambda's time-out: cancel the run, store the answer, end lease and stream, at p99
CLEAN_UP_S = 0.4  # how long stop() waits: the runtime gives a stopped app 0.5 s (runtime/stop.py)
OPENERS = frozenset({"stream_options", "error"})  # ChatKit sends one when all checks and the first write are done

Begin = Callable[[], Awaitable[AsyncIterable[bytes]]]
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TurnServices:
    """What all turns of a process share, time included."""

    ledger: TurnLedger
    answers: AnswerStore
    sleep: Sleep = asyncio.sleep
    clock: NowMs = journal.now_ms
    quotas: Quotas | None = None  # None: no limits
    urls: Urls | None = None  # None: no files, so no URLs
    has_operators: bool = False  # a thread may wait for a person, or have one

    def with_urls(self, event: bytes, context: RequestContext) -> bytes:
        """The event as it is sent to the user."""
        return event if self.urls is None else self.urls.in_event(event, context)


class RunningTurn:
    """One turn of this process: `await open(begin)`, then `async for event in turn`, then, always, `await stop()`.

    `context.turn` is the turn, `key` the claimed key of its request.
    """

    def __init__(self, key: IdempotencyKey, context: RequestContext, services: TurnServices) -> None:
        assert context.turn is not None, "the app gives every streaming request a turn"
        self._turn, self._key, self._context, self._services = context.turn, key, context, services
        self.turn_id = self._turn.id
        self._lease = Lease(services.ledger, self.turn_id, context, sleep=services.sleep)
        self._journal = Journal(services.ledger, self.turn_id, context)
        self._output = TurnOutput(self._journal, self._lease)
        self._closing = Closing(
            self._lease,
            self._journal,
            self._output,
            services.answers,
            context,
            sleep=services.sleep,
            clock=services.clock,
        )
        self._opening_events: list[bytes] = []  # held back until the request has passed every check
        self._new_thread_id: str | None = None  # of a request that may still be refused
        self._stop_requested = False
        self._has_failed = False  # the stream has an error event
        self._is_recovered = False  # the lease is taken, and the answers of earlier turns are stored
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.Task[None]] = []

    async def open(self, begin: Begin, *, thread_id: str | None, check: Check | None = None) -> None:
        """Take the lease, begin, and return when the request has passed every check: the answer is 200 and a stream.

        `thread_id` is None for a new thread: its first event names it. `check` runs right before the lease is taken.
        What `begin` or its events (ChatKit's, encoded) raise before that point is raised here; NotFoundError when they
        end without any, as retry does for an item that is not there; ConflictError for a ValueError, by which ChatKit
        means "not in this state".
        """
        self._task = asyncio.create_task(self._run(begin, thread_id, check), name=f"turn {self.turn_id}")
        try:
            while True:
                await self._output.queue.more()
                if isinstance(item := self._output.queue.take(), TurnEnd):
                    raise closing.refusal(item.error, item.cut)
                self._opening_events.append(item)
                if json.loads(item.removeprefix(b"data: "))["type"] in OPENERS:
                    return
        except BaseException:  # a refused request leaves no task behind, whoever refused it
            await self.stop()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Every event from the first one on. Raises the error that ended the turn, after an event about it."""
        for event in self._opening_events:
            yield self._services.with_urls(event, self._context)
        queue = self._output.queue
        while True:
            if queue.is_empty:
                await queue.more()
            if isinstance(item := queue.take(), TurnEnd):
                break
            yield self._services.with_urls(item, self._context)
        if item.error is not None:
            raise item.error  # for the runtime, which counts it as an error of the function

    def end(self, reason: EndReason) -> None:
        """End the turn early, once: the first reason counts. Its answer so far is stored, and the stream ends well."""
        if self._turn.end_reason is None and not self._is_closing and self._task is not None:
            self._turn.end_reason = reason
            self._key.note_expiry()  # before what is canceled cleans up
            self._task.cancel()

    async def finished(self) -> None:
        """Wait until the turn is over and cleaned up, whoever reads it."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """The reader has left: end the turn unless it is over, and wait for its clean-up, CLEAN_UP_S at most.

        The journal is written first: if the process has no more time than that, the whole answer can be recovered.
        """
        if self._task is not None and not self._task.done() and self._lease.thread_id is not None:
            self._journal.hurry(self._lease.thread_id)
        self.end("shutdown")
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLEAN_UP_S)

    async def _run(self, begin: Begin, thread_id: str | None, check: Check | None) -> None:
        """The turn's task: pull events to the end, whatever that is, and close. Never raises: the reader does."""
        error: Exception | None = None
        cut: InterruptReason | None = None
        try:
            self._start(self._end_at_deadline())
            if thread_id is not None:
                if check is not None:
                    await check()
                cut = await self._take_lease(thread_id)
            cut = cut or await self._pull(await begin())
        except asyncio.CancelledError:
            cut = self._turn.end_reason or "shutdown"
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # the task continues, to close the turn
        except Exception as raised:  # noqa: BLE001 - handed to the reader, who raises it
            error, cut = raised, "failed"
        self._is_closing = True
        for timer in self._timers:
            timer.cancel()
        has_begun, had_lease = self._has_begun(), True
        try:
            if self._is_recovered:  # else whoever comes next recovers what earlier turns left
                if has_begun and await self._closing.is_superseded(cut):
                    error, cut = None, "superseded"  # an error no longer matters
                had_lease = await self._closing.close(cut if has_begun else None, failed=error is not None)
            if self._new_thread_id is not None and not has_begun and not self._turn.is_retried_after(error):
                await self._services.answers.take_back(self._new_thread_id, self._context)
        except Exception as fault:  # noqa: BLE001 - a fence: the reader must get an end, whatever closing met
            log_fault("turn_close_failed", fault)
        finally:
            self._output.queue.put(TurnEnd(error, cut))
        try:
            await self._settle(self._outcome(cut), superseded=has_begun and not had_lease)
        except Exception as fault:  # noqa: BLE001 - a fence: nobody awaits this task
            log_fault("turn_close_failed", fault)

    def _outcome(self, cut: InterruptReason | None) -> Outcome:
        if not self._has_begun():
            return "refused"
        if cut is not None and cut != "failed":
            return "cut"
        return "failed" if cut is not None or self._has_failed else "whole"

    async def _settle(self, outcome: Outcome, *, superseded: bool) -> None:
        try:
            if self._services.quotas is not None:
                await self._services.quotas.settle(self._context, outcome)
        finally:
            if superseded:
                await self._key.end()

    async def _pull(self, events: AsyncIterable[bytes]) -> InterruptReason | None:
        taking_lease: asyncio.Task[object] | None = None
        try:
            async for event in events:
                if taking_lease is not None:
                    await taking_lease
                elif self._lease.thread_id is None:  # a new thread: its lease is taken while its message is stored
                    self._new_thread_id = json.loads(event.removeprefix(b"data: "))["thread"]["id"]
                    taking_lease = asyncio.create_task(self._take_lease(self._new_thread_id))
                if (cut := await self._pass_on(event)) is not None:
                    return cut
            if taking_lease is not None:
                await taking_lease
        except Exception:
            if taking_lease is not None:  # closing depends on whether the lease was taken
                await asyncio.gather(taking_lease, return_exceptions=True)
            raise
        finally:
            if taking_lease is not None:
                taking_lease.cancel()
        return None

    async def _pass_on(self, event: bytes) -> InterruptReason | None:
        """Emit an event; or return why the turn ends instead, if its lease is lost."""
        is_error = event.startswith(closing.ERROR)
        self._has_failed = self._has_failed or is_error
        if is_error and self._is_recovered and (cut := await self._closing.before_error()) is not None:
            return cut
        self._output.emit(event)
        if self._stop_requested and event.startswith(closing.OPENING):
            self.end("stopped")  # the message is stored; no model was called
        return None

    async def _take_lease(self, thread_id: str) -> Literal["superseded"] | None:
        """Take the lease from whoever holds it, and store an older turn's answer before this turn writes anything.

        "superseded": a newer turn took the lease during the pause for `removes_items`; that one stores the answer.
        """
        services, context, key = self._services, self._context, self._key
        is_new = thread_id == self._new_thread_id  # nobody else knows the thread, so its key may be bound meanwhile
        if is_new and self._turn.is_registered:
            self._lease.thread_id = thread_id  # the store took the lease when it created the thread
            self._is_recovered = True
            self._hold_lease(thread_id)
            return None
        key.check_claim()
        if is_new:
            previous, self._stop_requested = await asyncio.gather(self._lease.take(thread_id), key.bind(thread_id))
        else:
            previous = await self._lease.take(thread_id)
        if previous is not None and not _is_settled(previous, before_ms=key.received_ms):
            self._turn.ahead = None
        if (
            key.request.removes_items
            and previous is not None
            and not previous.ended
            and previous.expires_ms > services.clock() - journal.SKEW_MS
        ):
            await services.sleep(NOTICED_S)  # the other turn notices, and stores the items that are to be removed
            if not await self._lease.is_current():
                return "superseded"
        await recover(services, thread_id, previous, context)
        self._is_recovered = True
        if not is_new:
            self._stop_requested = await key.bind(thread_id)
        self._hold_lease(thread_id)
        return None

    def _hold_lease(self, thread_id: str) -> None:
        """Start the tasks that keep the lease. A renewal tells others that earlier answers are stored."""
        self._start(self._lease.hold())
        self._start(self._write_journal(thread_id))
        self._start(self._end_when_lease_is_lost())

    async def _write_journal(self, thread_id: str) -> None:
        """Write the journal every RENEW_S, in a task of its own, so that renewals do not wait for it."""
        while True:
            await self._services.sleep(RENEW_S)
            try:
                await self._journal.flush(thread_id)
            except ChatError as error:  # the answer continues; its journal is written a second later
                log_fault("turn_journal_failed", error)

    async def _end_when_lease_is_lost(self) -> None:
        await self._lease.lost.wait()
        self.end(self._lease.lost_because)

    async def _end_at_deadline(self) -> None:
        """End the turn while there is time to store its answer, before Lambda kills the process."""
        if self._context.deadline_ms is not None:
            await self._services.sleep(ms_to_run(self._context.deadline_ms - self._services.clock()) / 1000)
            self.end("deadline")

    def _start(self, timer: Coroutine[object, object, None]) -> None:
        self._timers.append(asyncio.create_task(timer))

    def _has_begun(self) -> bool:
        """Whether the reader got the 200."""
        return any(event.startswith(closing.OPENING) for event in self._journal.events)


def _is_settled(row: TurnRow, *, before_ms: int) -> bool:
    """Whether the turn ended so long before that a request of that time has read all of its writes."""
    return row.ended and 0 < row.expires_ms < before_ms - SETTLED_MS


def ms_to_run(left_ms: int) -> int:
    """How long a turn may run in the time that is left; a third of it if there is little."""
    return max(0, left_ms - min(CLOSING_TIME_MS, left_ms * 2 // 3))


async def recover(services: TurnServices, thread_id: str, row: TurnRow | None, context: RequestContext) -> None:
    """Store the answer that the unfinished turn of `row` left in its journal. Nothing for None or a turn that ended."""
    if row is None or row.ended:
        return
    turns = await _unrecovered(services, thread_id, row, context)
    journals = await asyncio.gather(*(journal.read(services.ledger, thread_id, turn, context) for turn in turns))
    cut: InterruptReason = "stopped" if row.stop else "superseded" if row.expires_ms > services.clock() else "crashed"
    for turn_id, events in zip(turns, journals, strict=True):
        reason = cut if turn_id == row.turn_id else "crashed"
        await services.answers.keep(thread_id, turn_id, events, cut=reason, context=context)


async def _unrecovered(services: TurnServices, thread_id: str, row: TurnRow, context: RequestContext) -> list[str]:
    """The turn of `row`, after those that it superseded and that died before they stored each other's answers.

    One that is bound to the thread had stored the earlier ones: what these journaled since would follow its message.
    """
    turns = [row.turn_id]
    for earlier in reversed(row.unrecovered):
        key = turn_ids.key_in(turns[0])
        request = None if key is None else await services.ledger.load_request(key, context=context)
        if request is not None and (request.turn_id, request.thread_id) == (turns[0], thread_id):
            break
        turns.insert(0, earlier)
    return turns
