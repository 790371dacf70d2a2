"""A turn in flight: the one task that pulls its events, the one queue that hands them on, its lease and its journal.

Why a task of its own: a run is torn down well only when the generator is pumped in its own task and that task is
cancelled; errors thrown into the generator from the reader's side lose the partial answer. Why a queue without a bound:
with a bound a reader that stalls would stop the run, and the answer would be lost with it (it is at most some MB).
Knows no HTTP, no server and no model.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

from lambda_src.context import EndReason, RequestContext, Turn
from lambda_src.errors import ChatError, UnavailableError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.ports import TurnLedger, TurnRow
from lambda_src.turns import endings, journal, turn_ids
from lambda_src.turns.closing import Closing, log_fault
from lambda_src.turns.event_queue import Handing
from lambda_src.turns.journal import Journal, Links, NowMs, Sleep
from lambda_src.turns.persistence import AnswerStore, Cut

RENEW_S = 1.0  # how soon Stop and supersession are noticed, and how much of an answer a crash may cost
NOTICED_S = 1.5  # how long a turn that lost its lease may take to notice it and to write its last words
RENEW_WITHIN_S = 2.0  # a renewal that takes longer has failed; the next one tells
LEASE_MS = 10_000  # how long a dead turn looks alive: two renewals may fail, the third ends at 3 x (1 + 2) s
SETTLED_MS = 2_000  # what a turn wrote is read by who begins so long after its end, whatever their two clocks say
CLOSING_TIME_MS = 3_000  # before Lambda's time-out: cancel the run, keep the answer, end lease and stream, at p99
CLEAN_UP_S = 0.4  # how long stop() waits: the runtime gives a stopped app 0.5 s (runtime/stop.py), then looks away
OPENERS = frozenset({"stream_options", "error"})  # ChatKit sends one when all checks and the first write are done

Begin = Callable[[], Awaitable[AsyncIterable[bytes]]]


@dataclass(frozen=True, slots=True)
class TurnServices:
    """What every turn of a process shares; time is handed in."""

    ledger: TurnLedger
    answers: AnswerStore
    sleep: Sleep = asyncio.sleep
    clock: NowMs = journal.now_ms
    quotas: Quotas | None = None  # None: nobody counts
    links: Links | None = None  # None: no files, so no URLs


@dataclass(frozen=True, slots=True)
class TurnCallbacks:
    """What the request's guard wants to know. `began_ms`: when it came in; `begin_by_ms`: its key is ours until then,
    unless it is bound.
    """

    began_ms: int
    begin_by_ms: int
    check: Callable[[], Awaitable[None]] | None  # to be asked again right before the lease is taken
    removes: bool  # whether the request takes items away: those of a turn that still writes are not all there yet
    leased: Callable[[str], Awaitable[bool]]  # in this thread; whether somebody asked to stop before
    ended: Callable[[bool, bool], Awaitable[None]]  # whether it ran, and whether it still had its lease


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None = None
    cut: Cut | None = None


class RunningTurn:
    """One turn of this process: `await open(begin)`, then `async for event in turn`, then, always, `await stop()`."""

    def __init__(self, turn: Turn, context: RequestContext, services: TurnServices, hooks: TurnCallbacks) -> None:
        self.turn_id = turn.id
        self._turn, self._context, self._services, self._hooks = turn, context, services, hooks
        self._journal = Journal(services.ledger, turn.id, context, links=services.links)
        self._handed = Handing[bytes | _Ended]()
        self._held: list[bytes] = []
        self._thread_id: str | None = None
        self._made: str | None = None  # the new thread of a request that may still be refused
        self._stop_asked = False
        self._task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.Task[None]] = []
        self._closing: Closing | None = None  # once the lease is ours, and what its predecessors said is kept
        self._is_closing = False

    async def open(self, begin: Begin, *, thread_id: str | None) -> None:
        """Take the lease, begin, and return when the request has passed every check: the answer is 200 and a stream.

        `thread_id` is None for a new thread: its first event names it. What `begin` or its events (ChatKit's, encoded)
        raise before that point is raised here; NotFoundError when they end without a word, as retry does for an item
        that is not there; a ValueError, which is how ChatKit says "not in this state", as ConflictError.
        """
        self._task = asyncio.create_task(self._run(begin, thread_id), name=f"turn {self.turn_id}")
        try:
            while True:
                await self._handed.more()
                if isinstance(item := self._handed.take(), _Ended):
                    raise endings.refusal(item.error, item.cut)
                self._held.append(item)
                if json.loads(item.removeprefix(b"data: "))["type"] in OPENERS:
                    return
        except BaseException:  # a refused request leaves no task behind, whoever refused it
            await self.stop()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Every event from the first one on. Raises what the turn died of, after an event that says so."""
        for held in self._held:
            yield held
        while True:
            if self._handed.is_empty:
                await self._handed.more()
            if isinstance(item := self._handed.take(), _Ended):
                break
            yield item
        if item.error is not None:
            raise item.error  # the runtime's business: it counts as an error of the function

    def end(self, reason: EndReason) -> None:
        """End the turn before its time, once: the first reason counts. What was said is kept, the stream ends well."""
        if self._turn.end_reason is None and not self._is_closing and self._task is not None:
            self._turn.end_reason = reason
            self._task.cancel()

    async def finished(self) -> None:
        """Wait until the turn is over and cleaned up, whoever reads it."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Nobody reads any more: end the turn unless it is over, and wait for its clean-up, CLEAN_UP_S at most.

        The journal comes first: should the process have no more time than that, whoever finds the turn folds all of it.
        """
        if self._task is not None and not self._task.done() and self._thread_id is not None:
            self._journal.hurry(self._thread_id)
        self.end("shutdown")
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLEAN_UP_S)

    async def _run(self, begin: Begin, thread_id: str | None) -> None:
        """The turn's task: pull to the end, whatever that is, and close. Never raises: the reader is told instead."""
        error: Exception | None = None
        cut: Cut | None = None
        try:
            self._start(self._until_deadline())
            if thread_id is not None:
                if self._hooks.check is not None:
                    await self._hooks.check()
                cut = await self._take_lease(thread_id)
            cut = cut or await self._pull(await begin())
        except asyncio.CancelledError:
            cut = self._turn.end_reason or "shutdown"
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # this task lives on, to close
        except Exception as raised:  # noqa: BLE001 - handed to the reader, who raises it
            error, cut = raised, "failed"
        self._is_closing = True
        for timer in self._timers:
            timer.cancel()
        ran, held = self._is_open(), True
        try:
            if self._closing is not None:  # else whoever comes next finds all that its predecessors said
                if ran and await self._closing.is_superseded(cut):
                    error, cut = None, "superseded"  # whatever it met is of no concern any more
                held = await self._closing.close(cut if ran else None, failed=error is not None)
            if self._made is not None and not ran and not self._turn.is_retried_after(error):
                await self._services.answers.take_back(self._made, self._context)
        except Exception as fault:  # noqa: BLE001 - a fence: the reader must be told the end, whatever closing met
            log_fault("turn_close_failed", fault)
        finally:
            self._handed.put(_Ended(error, cut))
        try:
            await self._hooks.ended(ran, held)
        except Exception as fault:  # noqa: BLE001 - a fence: nobody awaits this task
            log_fault("turn_close_failed", fault)

    async def _pull(self, events: AsyncIterable[bytes]) -> Cut | None:
        leasing: asyncio.Task[object] | None = None
        try:
            async for event in events:
                if leasing is not None:
                    await leasing
                elif self._thread_id is None:  # nobody else knows the thread: its lease may come beside its message
                    self._made = json.loads(event.removeprefix(b"data: "))["thread"]["id"]
                    leasing = asyncio.create_task(self._take_lease(self._made))
                if (lost := await self._passed(event)) is not None:
                    return lost
            if leasing is not None:
                await leasing
        except Exception:
            if leasing is not None:  # the turn closes, for which it must know its lease
                await asyncio.gather(leasing, return_exceptions=True)
            raise
        finally:
            if leasing is not None:
                leasing.cancel()
        return None

    async def _passed(self, event: bytes) -> Cut | None:
        """Hand an event on; why the turn ends instead, if its lease is lost."""
        closing = self._closing if event.startswith(endings.ERROR) else None
        if closing is not None and (lost := await closing.before_error()) is not None:
            return lost
        self._emit(event)
        if self._stop_asked and event.startswith(endings.OPENING):
            self.end("stopped")  # the message is kept; no model was asked
        return None

    async def _take_lease(self, thread_id: str) -> Literal["superseded"] | None:
        """Take it from whoever has it, and keep what an older turn had said before anything of ours is written.

        "superseded" when a newer turn took the lease while this one paused: that one keeps what was said before.
        """
        services, context = self._services, self._context
        if services.clock() >= self._hooks.begin_by_ms:
            raise UnavailableError("It took too long to begin. Try again.")
        taking = services.ledger.take_lease(thread_id, self.turn_id, lease_ms=LEASE_MS, context=context)
        is_new = (
            thread_id == self._made
        )  # nobody else knows the thread, so its lease and its note may come in any order
        if is_new:
            taken, self._stop_asked = await asyncio.gather(taking, self._hooks.leased(thread_id))
        else:
            taken = await taking
        self._thread_id = thread_id
        before = taken.previous
        if before is not None and not (before.ended and 0 < before.expires_ms < self._hooks.began_ms - SETTLED_MS):
            self._turn.ahead = None
        if (
            self._hooks.removes
            and before is not None
            and not before.ended
            and before.expires_ms > services.clock() - journal.SKEW_MS
        ):
            await services.sleep(NOTICED_S)
            standing = await services.ledger.load_turn(thread_id, context=context)
            if standing is None or standing.turn_id != self.turn_id:
                return "superseded"
        await recover(services, thread_id, taken.previous, context)
        self._closing = Closing(
            services.ledger,
            services.answers,
            self._journal,
            emit=self._emit,
            renew=lambda: self._renew_lease(thread_id),
            thread_id=thread_id,
            turn_id=self.turn_id,
            context=context,
            sleep=services.sleep,
            clock=services.clock,
        )
        if not is_new:
            self._stop_asked = await self._hooks.leased(thread_id)
        self._start(self._renew(thread_id))  # only now: renewing says that what came before is kept
        self._start(self._write(thread_id))
        return None

    async def _renew(self, thread_id: str) -> None:
        """Every RENEW_S, text or not, prolong the lease; that failing is the signal to end."""
        while True:
            await self._services.sleep(RENEW_S)
            try:
                async with asyncio.timeout(RENEW_WITHIN_S):
                    held = await self._renew_lease(thread_id)
            except (ChatError, TimeoutError) as fault:  # the answer matters more than its bookkeeping
                log_fault("turn_renewal_failed", fault)
                continue
            if held != "held":
                self.end(held)

    async def _write(self, thread_id: str) -> None:
        """Every RENEW_S, journal what waits; beside the renewals, which must not wait for it."""
        while True:
            await self._services.sleep(RENEW_S)
            try:
                await self._journal.flush(thread_id)
            except ChatError as fault:  # as above
                log_fault("turn_journal_failed", fault)

    async def _renew_lease(self, thread_id: str) -> Literal["held", "stopped", "superseded"]:
        return await self._services.ledger.renew_lease(
            thread_id, self.turn_id, lease_ms=LEASE_MS, context=self._context
        )

    async def _until_deadline(self) -> None:
        """End the turn in time to keep what it said before Lambda kills us."""
        if self._context.deadline_ms is not None:
            await self._services.sleep(ms_to_run(self._context.deadline_ms - self._services.clock()) / 1000)
            self.end("deadline")

    def _emit(self, event: bytes) -> None:
        self._handed.put(event)
        if self._journal.add(event) and self._thread_id is not None:
            self._journal.hurry(self._thread_id)

    def _start(self, work: Coroutine[object, object, None]) -> None:
        self._timers.append(asyncio.create_task(work))

    def _is_open(self) -> bool:
        return any(event.startswith(endings.OPENING) for event in self._journal.events)


def ms_to_run(left_ms: int) -> int:
    """How long a turn may run of the time that is left; a third of it, when that is little."""
    return max(0, left_ms - min(CLOSING_TIME_MS, left_ms * 2 // 3))


async def recover(services: TurnServices, thread_id: str, row: TurnRow | None, context: RequestContext) -> None:
    """Keep what the unfinished turn of `row` had journaled. Its lease must be ours; quiet when there is none."""
    if row is None or row.ended:
        return
    turns = await _unkept(services, thread_id, row, context)
    journals = await asyncio.gather(*(journal.read(services.ledger, thread_id, turn, context) for turn in turns))
    cut: Cut = "stopped" if row.stop else "superseded" if row.expires_ms > services.clock() else "crashed"
    for turn_id, events in zip(turns, journals, strict=True):
        why = cut if turn_id == row.turn_id else "crashed"
        await services.answers.keep(thread_id, turn_id, events, cut=why, context=context)


async def _unkept(services: TurnServices, thread_id: str, row: TurnRow, context: RequestContext) -> list[str]:
    """The turn of `row`, and before it those that it superseded and died before it could keep what they had said.

    One that is bound to the thread had kept it: what those journaled since would stand behind its message.
    """
    turns = [row.turn_id]
    for before in reversed(row.unrecovered):
        key = turn_ids.key_in(turns[0])
        found = None if key is None else await services.ledger.load_request(key, context=context)
        if found is not None and (found.turn_id, found.thread_id) == (turns[0], thread_id):
            break
        turns.insert(0, before)
    return turns
