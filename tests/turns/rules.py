"""Everything that can happen to Ann's turns in two processes far enough from the store that all of it crosses.

Knows nothing of what must hold: that is test_machine.py.
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
from tests.turns.machine import RUNNING, Apart, Ask, Regenerating, Watched, Worker
from tests.turns.turn_fixture import Reader, as_user, sse, thread_at
from tests.turns.virtual_time import VirtualTime

ROUNDS = 60  # of the event loop: no chain of this store, which answers at once, is longer
ANN = as_user("ann")
LATENCIES_S = [0.0, 0.003, 0.04, 0.2]
NAMED_FOR_S = 900  # a name that is used again later is another request
STEPS_S = [0.001, 0.01, 0.25, 0.7, 1.0, 1.3, 4.9, 11.0, 61.0]

workers = st.integers(0, 1)
picks = st.integers(0, 99)  # one of however many there are
R = TypeVar("R")


class TurnRules(RuleBasedStateMachine):
    """Ann and her two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time = VirtualTime(rounds=ROUNDS)
        self.rows: Any = MemoryStore(clock=self.time.now_ns)
        self.asks: list[Ask] = []
        self.others: list[asyncio.Task[Any]] = []
        self.resumed: list[tuple[Worker, Reader]] = []
        self.deleted: set[str] = set()
        self.leases: list[Ask] = []  # in the order in which they had one
        self.wrongly_refused: list[Ask] = []
        self.threads = 0

    @initialize(
        one=st.sampled_from(LATENCIES_S),
        two=st.sampled_from(LATENCIES_S),
        ahead_s=st.sampled_from([0, 0, 0, -60, -2, 60]),
        apart=st.sampled_from([False, False, True]),
    )
    def begin(self, one: float, two: float, ahead_s: int, *, apart: bool) -> None:
        self.is_apart, self.skew_s = apart, abs(ahead_s)
        if apart:
            self.rows = Apart(self.rows, MemoryStore(clock=self.time.now_ns))
        self.workers = [self.worker(one, 0), self.worker(two, ahead_s)]
        self.new_thread()
        self.ask(0, "the first words", None, None)
        self.run(self.time.advance(2))

    def worker(self, latency_s: float, ahead_s: int) -> Worker:
        return Worker.built(self.rows, self.time, latency_s=latency_s, ahead_s=ahead_s, taken=self.taken)

    def new_thread(self) -> None:
        self.threads += 1
        self.run(self.rows.save_thread(thread_at(self.thread_id), ANN))

    @property
    def thread_id(self) -> str:
        return f"thr_{self.threads}"

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        return self.loop.run_until_complete(work)

    def start(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """Begin something and let it run as far as it comes without time."""
        task = self.loop.create_task(work)
        self.run(self.time.rest())
        return task

    def taken(self, thread_id: str, turn_id: str, lease: LeaseTaken) -> None:
        """A lease was taken: whoever had it is to end."""
        self.leases += [ask for ask in self.asks if ask.turn_id == turn_id]
        for ask in self.asks:
            if lease.previous is not None and ask.turn_id == lease.previous.turn_id and not lease.previous.ended:
                self.lose(ask)

    def lose(self, ask: Ask) -> None:
        """From now on a turn can keep nothing itself."""
        ask.due.append(self.time.now_s)
        ask.lost_s = self.time.now_s if ask.lost_s is None else ask.lost_s

    def may_run(self, other: Ask, ask: Ask) -> bool:
        """Whether a turn may have a place of Ann's while `ask` is admitted: it runs, or did a short while ago."""
        line_s = 30 * max(other.worker.line.latency_s, ask.worker.line.latency_s)
        if other.worker.died_s is not None:
            skew_s = max(0, other.worker.clock.ahead_s - ask.worker.clock.ahead_s)
            return ask.asked_s <= other.worker.died_s + LEASE_MS / 1000 + UNRENEWED_S + skew_s + line_s
        return other.over_s is None or ask.asked_s <= other.over_s + UNRENEWED_S + line_s

    @property
    def speaking(self) -> list[Ask]:
        """The turns whose model runs in a process that lives."""
        return [ask for ask in self.asks if ask.model.is_running and not ask.worker.line.is_cut]

    # What happens

    @rule(
        at=workers,
        text=st.sampled_from(["hi", "continue", None, None]),
        named=st.booleans(),
        deadline_s=st.sampled_from([None, None, None, 2, 9]),
    )
    def send(self, at: int, text: str | None, *, named: bool, deadline_s: int | None) -> None:
        text = text or f"words of their own {len(self.asks)}"
        self.ask(at, text, f"turn-named-{len(self.asks):06}" if named else None, deadline_s)

    @precondition(lambda self: any(ask.named for ask in self.asks))
    @rule(at=workers, pick=picks)
    def repeat_by_name(self, at: int, pick: int) -> None:
        recently_s = self.time.now_s - NAMED_FOR_S
        named = [ask for ask in self.asks if ask.named and ask.thread_id == self.thread_id and ask.asked_s > recently_s]
        if named:
            self.ask(at, named[pick % len(named)].text, named[pick % len(named)].named, None)

    @rule(at=workers, waits_s=st.sampled_from([0.0, 0.3, 0.8, 1.3, 3.0]), pick=picks)
    def regenerate(self, at: int, pick: int, *, waits_s: float) -> None:
        """Answer a message anew; another message may follow within the pause."""
        own = [ask for ask in self.asks if ask.is_own and not ask.regenerates and ask.thread_id == self.thread_id]
        if own:
            message_id = own[pick % len(own)].model.user_item_id
            self.ask(at, f"regenerate {message_id}", None, None, regenerates=message_id)
            self.run(self.time.advance(waits_s))
            if pick % 2:
                self.ask(1 - at, f"words that follow {len(self.asks)}", None, None)

    @rule(at=workers)
    def lose_the_answer_to_the_next_message(self, at: int) -> None:
        self.workers[at].line.loses_next_message = True

    def ask(
        self, at: int, text: str, named: str | None, deadline_s: int | None, *, regenerates: str | None = None
    ) -> None:
        number, worker = len(self.asks), self.workers[at]
        model = Watched(f"msg_answer_{number}", self.time)
        operation = "threads.add_user_message"
        if regenerates is not None:
            model = Regenerating(f"msg_answer_{number}", self.time, regenerates)
            operation = "threads.retry_after_item"
        turn_id = turn_ids.mint(TurnRequest("", thread_id=None, body=text.encode(), named=named).key("ann"))
        deadline_ms = None if deadline_s is None else worker.clock.now_ms() + deadline_s * 1000
        ask = Ask(turn_id, text, named, self.thread_id, worker, model, self.time.now_s)

        def is_over(_: object = None) -> None:
            ask.over_s = self.time.now_s

        async def asking() -> Reader:
            try:
                reader = await worker.process.ask(
                    model,
                    text,
                    named=named,
                    thread_id=ask.thread_id,
                    turn_id=turn_id,
                    deadline_ms=deadline_ms,
                    operation=operation,
                )
            except QuotaError:
                if len([other for other in self.asks if other is not ask and self.may_run(other, ask)]) < RUNNING:
                    self.wrongly_refused.append(ask)
                raise
            finally:
                is_over()
            ask.opened_s, ask.over_s = self.time.now_s, None
            assert reader.task is not None
            reader.task.add_done_callback(is_over)
            return reader

        self.asks.append(ask)
        ask.task = self.start(asking())

    @precondition(lambda self: self.speaking)
    @rule(pick=picks, words=st.integers(1, 5))
    def speak(self, pick: int, words: int) -> None:
        self.speaking[pick % len(self.speaking)].model.speak(words)
        self.run(self.time.rest())

    @precondition(lambda self: self.speaking)
    @rule(pick=picks, how=st.sampled_from(["finish", "finish", "raise", "error"]))
    def end_answer(self, pick: int, how: str) -> None:
        model = self.speaking[pick % len(self.speaking)].model
        if how == "raise":
            model.fail(ZeroDivisionError("the model"))
        elif how == "error":
            model.event(sse("error", code="custom", message="The model broke off.", allow_retry=True))
        model.finish()
        self.run(self.time.rest())

    @rule(seconds=st.sampled_from(STEPS_S))
    def wait(self, seconds: float) -> None:
        self.run(self.time.advance(seconds))

    @precondition(lambda self: self.asks)
    @rule(at=workers, pick=picks, by_turn=st.booleans())
    def stop(self, at: int, pick: int, *, by_turn: bool) -> None:
        ask = self.asks[pick % len(self.asks)]
        names = (
            {"turn_id": ask.named or ask.turn_id, "thread_id": None}
            if by_turn
            else {"turn_id": None, "thread_id": ask.thread_id}
        )
        self.others.append(self.start(self.workers[at].process.turns.stop(ANN, **names)))

    @rule(at=workers)
    def crash(self, at: int) -> None:
        dead = self.workers[at]
        dead.line.is_cut, dead.died_s = True, self.time.now_s
        for ask in self.asks:
            if ask.worker is dead:
                if ask.lost_s is None:
                    ask.lost_s = self.time.now_s
                if ask.reader is not None and ask.reader.task is not None:
                    ask.reader.task.cancel()
        self.workers[at] = self.worker(dead.line.latency_s, dead.clock.ahead_s)
        self.run(self.time.rest())

    @rule(at=workers)
    def read(self, at: int) -> None:
        self.others.append(self.start(self.workers[at].process.turns.recover(self.thread_id, ANN)))

    @precondition(lambda self: self.asks)
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

        self.others.append(self.start(follow(self.asks[pick % len(self.asks)].turn_id)))

    @precondition(lambda self: any(ask.reader for ask in self.asks))
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        open_asks = [ask for ask in self.asks if ask.reader and not ask.worker.line.is_cut]
        if open_asks and (reader := open_asks[pick % len(open_asks)].reader) is not None:
            open_asks[pick % len(open_asks)].is_left = True
            self.others.append(self.start(reader.stream.stop()))

    @rule(at=workers, really=st.integers(0, 3))
    def delete(self, at: int, really: int) -> None:
        if really > self.is_apart:
            return  # one in four, or in two where two stores must agree: a thread is to grow old as well
        self.deleted.add(self.thread_id)
        for ask in self.asks:
            if ask.thread_id == self.thread_id:
                self.lose(ask)
        self.run(self.rows.delete_thread(self.thread_id, ANN))
        self.new_thread()
