"""Token ceilings against a hostile client (hypothesis state machine): the vendor never bills more than a ceiling.

The fake vendor bills each request when it is sent, with its whole input and the longest possible answer, since a
stopped answer costs what was generated unseen. We promise a ceiling plus one reservation; the ceiling itself holds.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambda_src.context import RequestContext, Turn, User
from lambda_src.errors import QuotaError, UnavailableError
from lambda_src.meter import Call
from lambda_src.quotas.turn_limits import TITLE_TOKENS
from lambda_src.quotas.turn_quota import ONE_GUEST, ONE_NETWORK, Quotas
from lambda_src.store.counters import DAY_S, MemoryCounters, day_of
from lambda_src.store.memory.store import MemoryStore
from tests.quotas.engine import OF_GUESTS, settings_with

STEPS = 100  # in each of EXAMPLES runs: 10,000
EXAMPLES = 100
STAGE, PERCENT = 60_000, 75  # about ten turns, so that a hundred steps reach it repeatedly
GUESTS = STAGE * PERCENT // 100
ADDRESSES, TOKENS = 200, 1_000
PROCESSES = 3
MAX_INPUT = 4_000


@dataclass(eq=False)
class Attack:
    """A turn that a hostile client began, and its model calls in progress."""

    context: RequestContext
    process: Quotas
    open: list[Call] = field(default_factory=list)

    @property
    def turn(self) -> Turn:
        assert self.context.turn is not None
        return self.context.turn


class Unreliable(MemoryCounters):
    """Counters that fail when `fault` is set, before or after counting."""

    fault: Literal["before", "after"] | None = None

    async def add(self, *args: Any, **more: Any) -> bool:
        """Add, or fail."""
        return bool(await self._with_fault(super().add(*args, **more)))

    async def correct(self, *args: Any, **more: Any) -> None:
        """Correct, or fail."""
        await self._with_fault(super().correct(*args, **more))

    async def _with_fault(self, work: Coroutine[Any, Any, object]) -> object:
        fault, self.fault = self.fault, None
        if fault == "before":
            work.close()
            raise UnavailableError("Not counted.")
        done = await work
        if fault == "after":
            raise UnavailableError("Counted, and the answer was lost.")
        return done


SIZES = st.integers(1, MAX_INPUT)
PICKS = st.integers(0, 10**6)


class Hostile(RuleBasedStateMachine):
    """Many guests from many addresses, with several processes on one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now_ns = 1_800_000_000 * 10**9
        self.counters = Unreliable(clock=self._clock)
        ledger = MemoryStore(clock=self._clock).ledger
        settings = settings_with(stage_tokens_per_day=STAGE, guest_tokens_percent=PERCENT, guest_messages_per_day=20)
        self.processes = [Quotas(ledger, self.counters, settings, clock=self._clock) for _ in range(PROCESSES)]
        self.turns: list[Attack] = []
        self.turn_count = 0
        self.sent: Counter[tuple[int, str]] = Counter()

    def _clock(self) -> int:
        return self.now_ns

    def teardown(self) -> None:
        """Close the event loop."""
        self.loop.close()

    def run(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run all concurrently; return refusals and faults as results."""

        async def together() -> list[Any]:
            return await asyncio.gather(*work, return_exceptions=True)

        results = self.loop.run_until_complete(together())
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, QuotaError | UnavailableError):
                raise result
        return results

    def send(self, context: RequestContext, day: int, tokens: int) -> None:
        """Bill a request."""
        names = ["stage", context.user.id, *(["guests", context.source] if context.user.is_guest else [])]
        self.sent.update({(day, name): tokens for name in names})

    def caller(self, guest: int, address: int, *, signed_in: bool = False) -> RequestContext:
        """Return the context of a new turn for a guest or a user."""
        self.turn_count += 1
        user = User(f"user-{guest}") if signed_in else User(f"guest-{guest}", is_guest=True)
        return RequestContext(user, "r", turn=Turn(f"turn-{self.turn_count:016d}"), source=f"net-{address}")

    @rule(
        guests=st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=12),
        address=st.integers(0, ADDRESSES - 1),
        expected=SIZES,
        process=st.integers(0, PROCESSES - 1),
        signed_in=st.booleans(),
    )
    def begin_at_once(self, guests: list[int], address: int, expected: int, process: int, signed_in: bool) -> None:
        """Send concurrent requests, some from the same guest; any estimate is possible before the agent is loaded."""
        attacks = [
            Attack(
                self.caller(guest, address, signed_in=signed_in and n == 0), self.processes[(process + n) % PROCESSES]
            )
            for n, guest in enumerate(guests)
        ]
        for attack in attacks:
            attack.turn.input_tokens = expected
        results = self.run(*(attack.process.admit(attack.context) for attack in attacks))
        self.turns += [attack for attack, result in zip(attacks, results, strict=True) if result is None]

    @precondition(lambda self: self.turns)
    @rule(pick=PICKS, size=SIZES, title=st.booleans(), no_limit=st.booleans())
    def ask(self, pick: int, size: int, title: bool, no_limit: bool) -> None:
        """Call the model: first, after a tool, for a title, or with an agent whose answers have no limit."""
        attack = self.turns[pick % len(self.turns)]
        meter = attack.turn.meter
        assert meter is not None
        output = TITLE_TOKENS if title else OF_GUESTS.output_tokens
        [call] = self.run(meter.begin(input_tokens=size, output_tokens=output))
        if not isinstance(call, Call):
            return
        self.send(attack.context, meter.day, size + output)
        attack.open.append(call)
        if no_limit:
            [refused] = self.run(meter.arrived(call, output + 1))
            if refused is None:
                self.send(attack.context, meter.day, output)

    @precondition(lambda self: any(attack.open for attack in self.turns))
    @rule(pick=PICKS, share=st.integers(1, 100), counted=st.booleans())
    def answer(self, pick: int, share: int, counted: bool) -> None:
        """Finish an answer; the vendor reports less than the bound, or no usage."""
        asking = [attack for attack in self.turns if attack.open]
        attack = asking[pick % len(asking)]
        call, meter = attack.open.pop(), attack.turn.meter
        assert meter is not None
        used = max(1, call.bound * share // 100) if counted else 0
        if counted:
            self.send(attack.context, meter.day, used - call.bound)
            attack.turn.used(used, 0)
        meter.end(call, used)

    @precondition(lambda self: self.turns)
    @rule(pick=PICKS, fault=st.sampled_from([None, None, None, "before", "after"]))
    def end(self, pick: int, fault: Literal["before", "after"] | None) -> None:
        """End a turn (finished, stopped or superseded) at any point; the store may fail."""
        attack = self.turns.pop(pick % len(self.turns))
        self.counters.fault = fault
        self.run(attack.process.settle(attack.context))
        self.counters.fault = None

    @precondition(lambda self: len(self.turns) > 2)
    @rule()
    def end_all_after_midnight(self) -> None:
        """End turns that ran past the end of a day."""
        self.now_ns += DAY_S * 10**9
        self.run(*(attack.process.settle(attack.context) for attack in self.turns))
        self.turns.clear()

    @precondition(lambda self: self.turns)
    @rule(pick=PICKS)
    def crash(self, pick: int) -> None:
        """Kill a turn's process, so that it is never settled."""
        self.turns.pop(pick % len(self.turns))

    @rule(guest=st.integers(0, TOKENS - 1), address=st.integers(0, ADDRESSES - 1), tokens=st.integers(1, 15_000))
    def dictate(self, guest: int, address: int, tokens: int) -> None:
        """Send a recording."""
        context = self.caller(guest, address)
        [refused] = self.run(self.processes[0].spend(context, tokens=tokens))
        if refused is None:
            self.send(context, day_of(self.now_ns), tokens)

    @rule(fault=st.sampled_from(["before", "after"]))
    def break_the_store(self, fault: Literal["before", "after"]) -> None:
        """Make the next count fail."""
        self.counters.fault = fault

    @rule(seconds=st.sampled_from([1, 10, 60, 60, 60, 600, 600, DAY_S // 2]))
    def wait(self, seconds: int) -> None:
        """Let time pass, sometimes past midnight."""
        self.now_ns += seconds * 10**9

    @invariant()
    def no_ceiling_is_exceeded(self) -> None:
        """Tokens count for the day on which their turn began."""
        for (_, name), tokens in self.sent.items():
            match name.split("-")[0]:
                case "stage":
                    ceiling = STAGE
                case "guests":
                    ceiling = GUESTS
                case "guest":
                    ceiling = int(GUESTS * ONE_GUEST)
                case "net":
                    ceiling = int(GUESTS * ONE_NETWORK)
                case _:
                    ceiling = STAGE
            assert tokens <= ceiling, (name, tokens)


Hostile.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class TestHostile(Hostile.TestCase):  # type: ignore[misc, valid-type]  # hypothesis creates it
    """Runs ten thousand steps."""
