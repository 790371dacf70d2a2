"""Rules of the turn state machine: everything that can happen to ann's turns in two processes with slow connections.

The invariants are in test_machine.py.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis.strategies as st
from chatkit.store import NotFoundError
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lambda_src.errors import QuotaError
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import LeaseTaken
from lambda_src.turns import turn_ids
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.journal import UNRENEWED_S
from lambda_src.turns.lease import LEASE_MS
from tests.turns.machine import RUNNING, Attempt, Editing, ObservedModel, Regenerating, SeparateStores, Worker
from tests.turns.turn_fixture import Reader, as_user, sse, thread_at
from tests.turns.virtual_time import VirtualTime

ROUNDS = 60  # event loop rounds: enough for every chain of calls, since this store answers at once
ANN = as_user("ann")
LATENCIES_S = [0.0, 0.003, 0.04, 0.2]
NAMED_FOR_S = 900  # after this time, the same name is a new request
STEPS_S = [0.001, 0.01, 0.25, 0.7, 1.0, 1.3, 4.9, 11.0, 61.0]

workers = st.integers(0, 1)
picks = st.integers(0, 99)  # an index modulo the number of choices
R = TypeVar("R")


class TurnRules(RuleBasedStateMachine):
    """Ann's thread and two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time = VirtualTime(rounds=ROUNDS)
        self.rows: Any = MemoryStore(clock=self.time.now_ns)
        self.attempts: list[Attempt] = []
        self.others: list[asyncio.Task[Any]] = []
        self.resumed: list[tuple[Worker, Reader]] = []
        self.deleted: set[str] = set()
        self.leases: list[Attempt] = []  # in the order in which they took the lease
        self.wrongly_refused: list[Attempt] = []
        self.threads = 0

    @initialize(
        first_s=st.sampled_from(LATENCIES_S),
        second_s=st.sampled_from(LATENCIES_S),
        ahead_s=st.sampled_from([0, 0, 0, -60, -2, 60]),
        apart=st.sampled_from([False, False, True]),
    )
    def begin(self, first_s: float, second_s: float, ahead_s: int, *, apart: bool) -> None:
        self.is_apart, self.skew_s = apart, abs(ahead_s)
        if apart:
            self.rows = SeparateStores(self.rows, MemoryStore(clock=self.time.now_ns))
        self.workers = [self.worker(first_s, 0), self.worker(second_s, ahead_s)]
        self.new_thread()
        self.ask(0, "the first words", None, None)
        self.run(self.time.advance(2))

    def worker(self, latency_s: float, ahead_s: int) -> Worker:
        return Worker.create(self.rows, self.time, latency_s=latency_s, ahead_s=ahead_s, taken=self.taken)

    def new_thread(self) -> None:
        self.threads += 1
        self.run(self.rows.save_thread(thread_at(self.thread_id), ANN))

    @property
    def thread_id(self) -> str:
        return f"thr_{self.threads}"

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        return self.loop.run_until_complete(work)

    def start(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """Start a task and run it as far as possible without time passing."""
        task = self.loop.create_task(work)
        self.run(self.time.settle())
        return task

    def taken(self, thread_id: str, turn_id: str, lease: LeaseTaken) -> None:
        """Note that a lease was taken: the previous holder must end."""
        self.leases += [attempt for attempt in self.attempts if attempt.turn_id == turn_id]
        for attempt in self.attempts:
            if lease.previous is not None and attempt.turn_id == lease.previous.turn_id and not lease.previous.ended:
                self.lose(attempt)

    def lose(self, attempt: Attempt) -> None:
        """Note that a turn can no longer store anything itself."""
        attempt.due.append(self.time.now_s)
        attempt.lost_s = self.time.now_s if attempt.lost_s is None else attempt.lost_s

    def may_run(self, other: Attempt, attempt: Attempt) -> bool:
        """Whether a turn may count as running while `attempt` is admitted: it runs, or ended a moment ago."""
        travel_s = 30 * max(other.worker.connection.latency_s, attempt.worker.connection.latency_s)
        if other.worker.died_s is not None:
            skew_s = max(0, other.worker.clock.ahead_s - attempt.worker.clock.ahead_s)
            return attempt.sent_s <= other.worker.died_s + LEASE_MS / 1000 + UNRENEWED_S + skew_s + travel_s
        return other.over_s is None or attempt.sent_s <= other.over_s + UNRENEWED_S + travel_s

    @property
    def speaking(self) -> list[Attempt]:
        """The turns whose model runs in a live process."""
        return [
            attempt for attempt in self.attempts if attempt.model.is_running and not attempt.worker.connection.is_cut
        ]

    # Rules

    @rule(
        at=workers,
        text=st.sampled_from(["hi", "continue", None, None]),
        named=st.booleans(),
        deadline_s=st.sampled_from([None, None, None, 2, 9]),
    )
    def send(self, at: int, text: str | None, *, named: bool, deadline_s: int | None) -> None:
        text = text or f"unique words {len(self.attempts)}"
        self.ask(at, text, f"turn-named-{len(self.attempts):06}" if named else None, deadline_s)

    @precondition(lambda self: any(attempt.named for attempt in self.attempts))
    @rule(at=workers, pick=picks)
    def repeat_by_name(self, at: int, pick: int) -> None:
        recently_s = self.time.now_s - NAMED_FOR_S
        named = [
            attempt
            for attempt in self.attempts
            if attempt.named and attempt.thread_id == self.thread_id and attempt.sent_s > recently_s
        ]
        if named:
            self.ask(at, named[pick % len(named)].text, named[pick % len(named)].named, None)

    @rule(at=workers, waits_s=st.sampled_from([0.0, 0.3, 0.8, 1.3, 3.0]), pick=picks)
    def regenerate(self, at: int, pick: int, *, waits_s: float) -> None:
        """Regenerate an answer; another message may follow during the pause."""
        own = [
            attempt
            for attempt in self.attempts
            if attempt.is_own and not attempt.regenerates and attempt.thread_id == self.thread_id
        ]
        if own:
            message_id = own[pick % len(own)].model.user_item_id
            self.ask(at, f"regenerate {message_id}", None, None, regenerates=message_id)
            self.run(self.time.advance(waits_s))
            if pick % 2:
                self.ask(1 - at, f"words that follow {len(self.attempts)}", None, None)

    @rule(at=workers, waits_s=st.sampled_from([0.0, 0.3, 0.8, 1.3, 3.0]), pick=picks)
    def edit(self, at: int, pick: int, *, waits_s: float) -> None:
        """Edit the last message or, in a tab that missed it, an older one; another message may follow."""
        own = [
            attempt
            for attempt in self.attempts
            if attempt.is_own and not attempt.regenerates and attempt.thread_id == self.thread_id
        ]
        if own:
            message_id = own[-1 - pick % min(2, len(own))].model.user_item_id
            text = f"changed words {len(self.attempts)}"
            self.ask(at, text, None, None, regenerates=message_id, edits=True)
            self.run(self.time.advance(waits_s))
            if pick % 3 == 0:
                self.ask(1 - at, f"words that follow {len(self.attempts)}", None, None)

    @rule(at=workers)
    def lose_the_answer_to_the_next_message(self, at: int) -> None:
        self.workers[at].connection.loses_next_message = True

    def ask(
        self,
        at: int,
        text: str,
        named: str | None,
        deadline_s: int | None,
        *,
        regenerates: str | None = None,
        edits: bool = False,
    ) -> None:
        number, worker = len(self.attempts), self.workers[at]
        model = ObservedModel(f"msg_answer_{number}", self.time)
        operation = "threads.add_user_message"
        if regenerates is not None:
            kind = Editing if edits else Regenerating
            model = kind(f"msg_answer_{number}", self.time, regenerates)
            operation = operation if edits else "threads.retry_after_item"
        turn_id = turn_ids.mint(TurnRequest("", thread_id=None, body=text.encode(), named=named).key("ann"))
        deadline_ms = None if deadline_s is None else worker.clock.now_ms() + deadline_s * 1000
        attempt = Attempt(turn_id, text, named, self.thread_id, worker, model, self.time.now_s)

        def is_over(_: object = None) -> None:
            attempt.over_s = self.time.now_s

        async def asking() -> Reader:
            try:
                reader = await worker.process.ask(
                    model,
                    text,
                    named=named,
                    thread_id=attempt.thread_id,
                    turn_id=turn_id,
                    deadline_ms=deadline_ms,
                    operation=operation,
                    edits=edits,
                )
            except QuotaError:
                if (
                    len([other for other in self.attempts if other is not attempt and self.may_run(other, attempt)])
                    < RUNNING
                ):
                    self.wrongly_refused.append(attempt)
                raise
            finally:
                is_over()
            attempt.opened_s, attempt.over_s = self.time.now_s, None
            assert reader.task is not None
            reader.task.add_done_callback(is_over)
            return reader

        self.attempts.append(attempt)
        attempt.task = self.start(asking())

    @precondition(lambda self: self.speaking)
    @rule(pick=picks, words=st.integers(1, 5))
    def speak(self, pick: int, words: int) -> None:
        self.speaking[pick % len(self.speaking)].model.speak(words)
        self.run(self.time.settle())

    @precondition(lambda self: self.speaking)
    @rule(pick=picks, how=st.sampled_from(["finish", "finish", "raise", "error"]))
    def end_answer(self, pick: int, how: str) -> None:
        model = self.speaking[pick % len(self.speaking)].model
        if how == "raise":
            model.fail(ZeroDivisionError("the model"))
        elif how == "error":
            model.event(sse("error", code="custom", message="The model broke off.", allow_retry=True))
        model.finish()
        self.run(self.time.settle())

    @rule(seconds=st.sampled_from(STEPS_S))
    def wait(self, seconds: float) -> None:
        self.run(self.time.advance(seconds))

    @precondition(lambda self: self.attempts)
    @rule(at=workers, pick=picks, by_turn=st.booleans())
    def stop(self, at: int, pick: int, *, by_turn: bool) -> None:
        attempt = self.attempts[pick % len(self.attempts)]
        names = (
            {"turn_id": attempt.named or attempt.turn_id, "thread_id": None}
            if by_turn
            else {"turn_id": None, "thread_id": attempt.thread_id}
        )
        self.others.append(self.start(self.workers[at].process.turns.stop(ANN, **names)))

    @rule(at=workers)
    def crash(self, at: int) -> None:
        dead = self.workers[at]
        dead.connection.is_cut, dead.died_s = True, self.time.now_s
        for attempt in self.attempts:
            if attempt.worker is dead:
                if attempt.lost_s is None:
                    attempt.lost_s = self.time.now_s
                if attempt.reader is not None and attempt.reader.task is not None:
                    attempt.reader.task.cancel()
        self.workers[at] = self.worker(dead.connection.latency_s, dead.clock.ahead_s)
        self.run(self.time.settle())

    @rule(at=workers)
    def read(self, at: int) -> None:
        self.others.append(self.start(self.workers[at].process.turns.recover(self.thread_id, ANN)))

    @precondition(lambda self: self.attempts)
    @rule(at=workers, pick=picks)
    def resume(self, at: int, pick: int) -> None:
        worker = self.workers[at]

        async def follow(turn_id: str) -> None:
            try:
                reader = Reader(await worker.process.turns.resume(turn_id, ANN))
            except NotFoundError:
                return
            self.resumed.append((worker, reader))
            reader.task = asyncio.current_task()
            await reader.read()

        self.others.append(self.start(follow(self.attempts[pick % len(self.attempts)].turn_id)))

    @precondition(lambda self: any(attempt.reader for attempt in self.attempts))
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        open_attempts = [
            attempt for attempt in self.attempts if attempt.reader and not attempt.worker.connection.is_cut
        ]
        if open_attempts and (reader := open_attempts[pick % len(open_attempts)].reader) is not None:
            open_attempts[pick % len(open_attempts)].is_left = True
            self.others.append(self.start(reader.stream.stop()))

    @rule(at=workers, really=st.integers(0, 3))
    def delete(self, at: int, really: int) -> None:
        if really > self.is_apart:
            return  # once in four times, or in two with separate stores, so that threads also grow old
        self.deleted.add(self.thread_id)
        for attempt in self.attempts:
            if attempt.thread_id == self.thread_id:
                self.lose(attempt)
        self.run(self.rows.delete_thread(self.thread_id, ANN))
        self.new_thread()
