"""Turn ledger state machine test (hypothesis): two processes compared with a plain model, on any engine.

Any request may be sent twice, as botocore does after a lost answer, without a visible difference. Expired rows may be
forgotten at any moment by the faster clock, so the rules skip what no caller may rely on then.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from chatkit.store import NotFoundError
from hypothesis.stateful import RuleBasedStateMachine, rule

from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import message_of, thread_of
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.memory.rows import ENDED_KEPT_MS
from lambda_src.store.ports import Bound, JournalBatch, QuotaLimits, TurnLedger, TurnRow
from tests.store.ledger_case import ADA, BOB, LEASE_MS, START_NS, until, without_order
from tests.store.ledger_model import ModelClaim, ModelThread, ModelUser

TTL_S = 20
STEP_MS = (1, 999, 5_000, LEASE_MS, TTL_S * 1000, 60_000, 86_400_000)
RUN_MS = 30_000
SWEPT_MS = (LATE_WRITES_S - 10) * 1000  # minus the difference of the clocks
SKEW_NS = 7_000 * 1_000_000  # between two machines: less than a lease, and sometimes across the end of a minute

processes = st.integers(0, 1)
users = st.sampled_from([ADA, BOB])
threads = st.sampled_from(["thr_a", "thr_b"])
turns = st.sampled_from(["one", "two", "three"])
numbers = st.integers(0, 3)
bodies = st.sampled_from([b"a", b"b"])
limits = st.builds(
    QuotaLimits, per_minute=st.sampled_from([0, 2]), per_day=st.sampled_from([0, 4]), running=st.sampled_from([0, 2])
)

R = TypeVar("R")


class LedgerMachine(RuleBasedStateMachine):
    """Two processes, two users, two threads per user, three turns. Subclasses define `open`."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = START_NS
        self.repeats = False
        self.model = {ADA.user.id: ModelUser(), BOB.user.id: ModelUser()}
        self.stores = self.open()

    def open(self) -> list[Any]:
        """Return two stores on the same new rows, with clocks from `self.clock`; repeat writes if `self.repeats`."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the event loop."""
        self.loop.close()

    def clock(self, process: int) -> int:
        """Return a process's time in nanoseconds; the second process is ahead."""
        return self.now + process * SKEW_NS

    def now_ms(self, process: int) -> int:
        """Return a process's time in milliseconds."""
        return self.clock(process) // 1_000_000

    def run(self, operation: Coroutine[Any, Any, R]) -> R:
        """Run an operation and return its result."""
        return self.loop.run_until_complete(operation)

    @property
    def latest_ms(self) -> int:
        """The time of the process that is ahead; what has expired by then may be forgotten for both."""
        return self.now_ms(1)

    def ledger(self, process: int) -> TurnLedger:
        """Return a process's ledger."""
        ledger: TurnLedger = self.stores[process].ledger
        return ledger

    def thread(self, user: RequestContext, thread: str) -> ModelThread:
        """Return the model of a thread."""
        return self.model[user.user.id].threads.setdefault(thread, ModelThread())

    @rule(ms=st.sampled_from(STEP_MS))
    def wait(self, ms: int) -> None:
        self.now += ms * 1_000_000

    @rule(repeats=st.booleans())
    def lose_answers(self, repeats: bool) -> None:
        self.repeats = repeats

    @rule(process=processes, user=users, thread=threads, turn=turns)
    def take(self, process: int, user: RequestContext, thread: str, turn: str) -> None:
        deleted_ms = self.model[user.user.id].gone.get(thread)
        if deleted_ms is not None and self.now_ms(process) >= deleted_ms + SWEPT_MS:
            return  # deleted threads may be forgotten after that time: no turn lives that long
        taking = self.ledger(process).take_lease(thread, turn, lease_ms=LEASE_MS, context=user)
        if deleted_ms is not None:
            try:
                self.run(taking)
            except NotFoundError:
                return
            raise AssertionError("the lease of a deleted thread was taken")
        held = self.thread(user, thread)
        previous = without_order(self.run(taking).previous)
        if previous is None and self.may_be_forgotten(held):
            held.turn = None
        assert previous == held.turn
        unrecovered = (*held.turn.unrecovered, held.turn.turn_id) if held.turn and not held.turn.ended else ()
        held.turn = TurnRow(turn, self.now_ms(process) + LEASE_MS, False, False, 0, unrecovered)
        held.touched_ms = self.now_ms(process)

    def may_be_forgotten(self, held: ModelThread) -> bool:
        """Whether the thread's last turn is so old that it may be forgotten."""
        return held.turn is not None and held.touched_ms + ENDED_KEPT_MS <= self.latest_ms

    @rule(process=processes, user=users, thread=threads, turn=turns)
    def renew(self, process: int, user: RequestContext, thread: str, turn: str) -> None:
        held = self.thread(user, thread)
        if self.may_be_forgotten(held):
            return
        result = self.run(self.ledger(process).renew_lease(thread, turn, lease_ms=LEASE_MS, context=user))
        if held.turn is None or held.turn.turn_id != turn or held.turn.ended:
            assert result == "superseded"
        elif held.turn.stop:
            assert result == "stopped"
        else:
            assert result == "held"
            held.turn = held.renewed(expires_ms=self.now_ms(process) + LEASE_MS)
            held.touched_ms = self.now_ms(process)

    @rule(process=processes, user=users, thread=threads, turn=turns, died=st.booleans())
    def end(self, process: int, user: RequestContext, thread: str, turn: str, *, died: bool) -> None:
        held = self.thread(user, thread)
        if self.may_be_forgotten(held):
            return
        ended = self.run(self.ledger(process).end_lease(thread, turn, died=died, context=user))
        assert ended == (held.turn is not None and held.turn.turn_id == turn)
        if held.turn is not None and ended and not held.turn.ended:
            held.turn = held.renewed(ended=True, expires_ms=0 if died else self.now_ms(process))
            held.touched_ms = self.now_ms(process)

    @rule(process=processes, user=users, thread=threads, turn=st.none() | turns)
    def stop(self, process: int, user: RequestContext, thread: str, turn: str | None) -> None:
        held = self.thread(user, thread)
        if self.may_be_forgotten(held):
            return
        stopped = self.run(self.ledger(process).ask_to_stop(thread, turn, context=user))
        running = held.turn is not None and not held.turn.ended and held.turn.expires_ms > self.now_ms(process)
        if held.turn is None or not running or turn not in (None, held.turn.turn_id):
            assert stopped is None
        else:
            held.turn = replace(held.turn, stop=True)
            assert without_order(stopped) == held.turn

    @rule(process=processes, user=users, thread=threads)
    def look(self, process: int, user: RequestContext, thread: str) -> None:
        held = self.thread(user, thread)
        if not self.may_be_forgotten(held):
            assert without_order(self.run(self.ledger(process).load_turn(thread, context=user))) == held.turn

    @rule(process=processes, user=users, thread=threads)
    def say(self, process: int, user: RequestContext, thread: str) -> None:
        """Add an item that is newer than everything this process knows of the thread."""
        if thread in self.model[user.user.id].gone:
            return
        self.now += 1_000_000  # the item's id
        self.run(self.stores[process].add_thread_item(thread, message_of(f"msg_{self.now}", thread_id=thread), user))

    @rule(process=processes, user=users, thread=threads)
    def delete(self, process: int, user: RequestContext, thread: str) -> None:
        owner = self.model[user.user.id]
        if thread in owner.gone:
            if self.latest_ms >= owner.gone[thread] + SWEPT_MS:
                return  # a sweep may have freed the id
            with pytest.raises(NotFoundError):  # a deleted thread stays deleted
                self.run(self.stores[process].save_thread(thread_of(thread), user))
            return
        self.run(self.stores[process].save_thread(thread_of(thread), user))
        self.run(self.stores[process].delete_thread(thread, user))
        self.run(self.stores[process].sweep(stop=lambda: False))
        owner.gone[thread] = self.now_ms(process)
        owner.threads[thread] = ModelThread()

    @rule(process=processes, user=users, thread=threads, turn=turns, number=numbers, data=st.binary(max_size=8))
    def append(self, process: int, user: RequestContext, thread: str, turn: str, number: int, data: bytes) -> None:
        if thread in self.model[user.user.id].gone:
            return  # late writes to a deleted thread are swept
        journal = self.thread(user, thread).journals.setdefault(turn, {})
        batch = JournalBatch(number, data)
        self.run(self.ledger(process).append_journal(thread, turn, batch, ttl_s=TTL_S, context=user))
        journal.setdefault(number, (data, self.now_ms(process) + TTL_S * 1000))

    @rule(process=processes, user=users, thread=threads, turn=turns, first=numbers)
    def read(self, process: int, user: RequestContext, thread: str, turn: str, first: int) -> None:
        async def read_all() -> list[JournalBatch]:
            batches = self.ledger(process).read_journal(thread, turn, first=first, context=user)
            return [batch async for batch in batches]

        journal = self.thread(user, thread).journals.get(turn, {})
        living = {number: data for number, (data, expires_ms) in journal.items() if expires_ms > self.now_ms(process)}
        assert self.run(read_all()) == [JournalBatch(n, living[n]) for n in sorted(living) if n >= first]

    @rule(process=processes, user=users, key=turns, turn=turns, body=bodies, instead_of=st.none() | turns)
    def claim(
        self, process: int, user: RequestContext, key: str, turn: str, body: bytes, instead_of: str | None
    ) -> None:
        claims = self.model[user.user.id].claims
        if self.is_expired_elsewhere(process, user, key):
            return
        claiming = self.ledger(process).claim_request(
            key, turn, body_hash=body, ttl_s=TTL_S, instead_of=instead_of, context=user
        )
        conflict = self.run(claiming)
        held = self.active_claim(process, user, key)
        if held is None or held.refusal or (held.turn_id == instead_of and held.thread_id):
            assert conflict is None
            claims[key] = ModelClaim(turn, None, body, self.now_ms(process) + TTL_S * 1000)
        else:
            assert conflict == held.conflict(body)

    def active_claim(self, process: int, user: RequestContext, key: str) -> ModelClaim | None:
        """Return the claim that is active by this process's clock."""
        held = self.model[user.user.id].claims.get(key)
        return held if held is not None and held.expires_ms > self.now_ms(process) else None

    def is_expired_elsewhere(self, process: int, user: RequestContext, key: str) -> bool:
        """Whether the claim or its stop is active for this process but expired for the process that is ahead."""
        owner = self.model[user.user.id]
        ends = [owner.stops[key][1]] if key in owner.stops else []
        ends += [owner.claims[key].expires_ms] if key in owner.claims else []
        return any(self.now_ms(process) < end_ms <= self.latest_ms for end_ms in ends)

    def may_claim_be_forgotten(self, process: int, user: RequestContext, key: str) -> bool:
        """Whether the claim may be forgotten for its own turn."""
        held = self.model[user.user.id].claims.get(key)
        is_over = held is not None and held.expires_ms <= self.latest_ms
        return is_over or self.is_expired_elsewhere(process, user, key)

    def own(self, user: RequestContext, key: str, turn: str) -> ModelClaim | None:
        """Return the turn's claim, expired or not."""
        held = self.model[user.user.id].claims.get(key)
        return held if held is not None and held.turn_id == turn else None

    @rule(process=processes, user=users, key=turns, body=st.none() | bodies)
    def look_up(self, process: int, user: RequestContext, key: str, body: bytes | None) -> None:
        if self.is_expired_elsewhere(process, user, key):
            return
        conflict = self.run(self.ledger(process).load_request(key, body_hash=body, context=user))
        held = self.active_claim(process, user, key)
        assert conflict == (held.conflict(body) if held else None)

    @rule(process=processes, user=users, key=turns, turn=turns, thread=threads)
    def bind(self, process: int, user: RequestContext, key: str, turn: str, thread: str) -> None:
        if self.may_claim_be_forgotten(process, user, key):
            return
        bound = self.run(self.ledger(process).bind_request(key, turn, thread_id=thread, ttl_s=TTL_S, context=user))
        held = self.own(user, key, turn)
        stop_of, until_ms = self.model[user.user.id].stops.get(key, ("", 0))
        assert bound == (Bound(stop_of if until_ms > self.now_ms(process) else None) if held else None)
        if held:
            held.thread_id, held.expires_ms = thread, self.now_ms(process) + TTL_S * 1000

    @rule(process=processes, user=users, key=turns, turn=turns)
    def refuse(self, process: int, user: RequestContext, key: str, turn: str) -> None:
        if self.may_claim_be_forgotten(process, user, key):
            return
        self.run(self.ledger(process).refuse_request(key, turn, f"not {turn}", context=user))
        if held := self.own(user, key, turn):
            held.refusal = f"not {turn}"

    @rule(process=processes, user=users, key=turns, turn=turns)
    def end_key(self, process: int, user: RequestContext, key: str, turn: str) -> None:
        if self.may_claim_be_forgotten(process, user, key):
            return
        self.run(self.ledger(process).end_request(key, turn, ttl_s=TTL_S, context=user))
        if held := self.own(user, key, turn):
            held.ended, held.expires_ms = True, self.now_ms(process) + TTL_S * 1000

    @rule(process=processes, user=users, key=turns, turn=st.none() | turns)
    def stop_key(self, process: int, user: RequestContext, key: str, turn: str | None) -> None:
        if self.may_claim_be_forgotten(process, user, key):
            return
        owner = self.model[user.user.id]
        stopping = self.ledger(process).stop_request(key, f"{turn}!", turn_id=turn, ttl_s=TTL_S, context=user)
        conflict = self.run(stopping)
        claim, held = owner.claims.get(key), self.active_claim(process, user, key)
        assert conflict == (held.conflict(None) if held and turn in (None, held.turn_id) else None)
        unbound = claim is None or claim.thread_id is None
        if unbound and (turn is None or (claim is not None and claim.turn_id == turn)):
            owner.stops[key] = f"{turn}!", self.now_ms(process) + TTL_S * 1000

    @rule(process=processes, user=users, key=turns, turn=turns)
    def release(self, process: int, user: RequestContext, key: str, turn: str) -> None:
        if self.may_claim_be_forgotten(process, user, key):
            return
        self.run(self.ledger(process).release_request(key, turn, context=user))
        if self.own(user, key, turn):
            del self.model[user.user.id].claims[key]

    @rule(process=processes, user=users, turn=st.integers(0, 7), limit=limits)
    def spend(self, process: int, user: RequestContext, turn: int, limit: QuotaLimits) -> None:
        owner, name = self.model[user.user.id], f"turn-{turn}"
        if owner.runs.get(name, self.latest_ms + 1) <= self.latest_ms:
            return  # a crashed turn may be forgotten
        if any(self.now_ms(process) < end_ms <= self.latest_ms for end_ms in owner.runs.values()):
            return  # it counts as running for this process, but not for the one that is ahead
        if self.now_ms(process) // 60_000 != self.latest_ms // 60_000:
            return  # the minute has passed for the process that is ahead
        context = until(user, self.now_ms(process) + RUN_MS)
        refused = self.run(self.ledger(process).spend_quota(name, limit, context=context))
        windows = {"minute": self.now_ms(process) // 60_000, "day": self.now_ms(process) // 86_400_000}
        live = sum(expires_ms > self.now_ms(process) for expires_ms in owner.runs.values())
        full = {
            "day": 0 < limit.per_day <= owner.spent["day", windows["day"]],
            "minute": 0 < limit.per_minute <= owner.spent["minute", windows["minute"]],
            "running": 0 < limit.running <= live,
        }
        if name in owner.runs or not any(full.values()):
            assert refused is None
            if name not in owner.runs:
                owner.spent.update(windows.items())
                owner.runs[name] = self.now_ms(process) + RUN_MS
        else:
            assert refused is not None
            assert refused.limit == next(name for name, is_full in full.items() if is_full)
            assert refused.retry_after_s > 0

    @rule(process=processes, user=users, turn=st.integers(0, 7))
    def end_quota(self, process: int, user: RequestContext, turn: int) -> None:
        self.run(self.ledger(process).end_quota(f"turn-{turn}", context=user))
        self.model[user.user.id].runs.pop(f"turn-{turn}", None)
