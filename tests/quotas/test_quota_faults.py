"""Quota faults: a request whose writes fail or that is cancelled spends nothing."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from lambda_src.errors import QuotaError, UnavailableError
from lambda_src.quotas.turn_limits import RESERVED_TOKENS
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.settings import Settings
from tests.quotas.engine import QuotaEngine, admitted, begin_model_call, settings_with, turn_of


class Fault:
    """Makes watched write number `at` fail once (UnavailableError), or hang forever if `waits`."""

    def __init__(self, at: int, *, waits: bool) -> None:
        self._left, self.waits = at, waits
        self.reached = asyncio.Event()

    def watch(self, engine: object) -> Any:
        """Wrap an engine so that its writes count."""
        return Watched(engine, self)

    async def count_write(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            if self.waits:
                await asyncio.Event().wait()
            raise UnavailableError("Too much at once.")


class Watched:
    """An engine whose methods in `names` may fail with the fault."""

    def __init__(self, engine: object, fault: Fault, *, names: Sequence[str] = ("spend_quota", "add")) -> None:
        self._engine, self._fault, self._names = engine, fault, names

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        if name not in self._names:
            return method

        async def watched(*args: Any, **kwargs: Any) -> Any:
            await self._fault.count_write()
            return await method(*args, **kwargs)

        return watched


async def run_until_fault(fault: Fault, work: Awaitable[None]) -> None:
    """Run `work` until the fault; if the write hangs, cancel the work."""
    task = asyncio.ensure_future(work)
    await fault.reached.wait()
    if fault.waits:
        task.cancel()
    with pytest.raises((UnavailableError, asyncio.CancelledError)):
        await task


ONE_OF_EACH = {
    "guest_messages_per_day": 20,
    "stage_tokens_per_day": 5 * RESERVED_TOKENS,  # one guest may use a third
    "guest_tokens_percent": 99,  # at 100 percent, only the stage's ceiling would limit guests
}


@pytest.mark.parametrize("waits", [False, True], ids=["fails", "is cancelled"])
@pytest.mark.parametrize("at", range(1, 5), ids=["message", "user", "guests", "stage"])
async def test_an_admission_that_fails_at_any_write_spends_nothing(
    quota_engine: QuotaEngine, at: int, waits: bool
) -> None:
    fault = Fault(at, waits=waits)
    faulty = Quotas(
        fault.watch(quota_engine.ledger),
        fault.watch(quota_engine.counters),
        settings_with(**ONE_OF_EACH),
        clock=lambda: quota_engine.local.now,
    )
    await run_until_fault(fault, faulty.admit(turn_of("ann", guest=True)))
    assert await admitted(faulty, turn_of("ann", 1, guest=True), turn_of("ann", 2, guest=True)) == 1


@pytest.mark.parametrize("waits", [False, True], ids=["fails", "is cancelled"])
@pytest.mark.parametrize("at", range(1, 3), ids=["user", "stage"])
async def test_a_turn_that_fails_to_reserve_more_keeps_its_reservation(
    quota_engine: QuotaEngine, at: int, waits: bool
) -> None:
    fault = Fault(at + 2, waits=waits)
    faulty = Quotas(
        quota_engine.ledger,
        fault.watch(quota_engine.counters),
        settings_with(tokens_per_day=2 * RESERVED_TOKENS, stage_tokens_per_day=2 * RESERVED_TOKENS),
        clock=lambda: quota_engine.local.now,
    )
    turn = turn_of("ann")
    await faulty.admit(turn)
    await run_until_fault(fault, begin_model_call(turn, RESERVED_TOKENS))
    await begin_model_call(turn, RESERVED_TOKENS)
    with pytest.raises(QuotaError):
        await begin_model_call(turn, RESERVED_TOKENS + 1)


# In the middle of a turn


@pytest.mark.parametrize("name", ["end_quota", "correct"])
async def test_settling_a_turn_completes_the_other_writes_when_one_fails(quota_engine: QuotaEngine, name: str) -> None:
    fault = Fault(1, waits=False)
    ledger, counters = (
        Watched(engine, fault, names=(name,)) for engine in (quota_engine.ledger, quota_engine.counters)
    )
    settings = settings_with(
        running_turns=1, tokens_per_day=9 * RESERVED_TOKENS, stage_tokens_per_day=4 * RESERVED_TOKENS
    )
    quotas = Quotas(ledger, counters, settings, clock=lambda: quota_engine.local.now)
    ann = turn_of("ann")
    await quotas.admit(ann)
    assert ann.turn is not None
    ann.turn.used(4 * RESERVED_TOKENS, 0)
    with pytest.raises(UnavailableError):
        await quotas.settle(ann)
    with pytest.raises(QuotaError) as caught:
        await quotas.admit(turn_of("bob"))
    assert caught.value.limit == "stage_tokens", "ann's tokens must be counted"
    assert await admitted(quota_engine.quotas(running_turns=1), turn_of("ann", 1)) == (name == "correct")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_paid_request_whose_cleanup_fails_does_not_block_a_turn(quota_engine: QuotaEngine, waits: bool) -> None:
    """A guest may have one running turn, and presses a button while sending a message."""
    fault = Fault(1, waits=waits)
    ledger = Watched(quota_engine.ledger, fault, names=("end_quota",))
    quotas = Quotas(ledger, quota_engine.counters, Settings(), clock=lambda: quota_engine.local.now)
    pressed = asyncio.create_task(quotas.spend(turn_of("eve", guest=True), tokens=0))
    await fault.reached.wait()
    turns = [turn_of("eve", number, guest=True) for number in (1, 2)]
    assert await admitted(quota_engine.quotas(), turns[0]) == 1
    assert await admitted(quota_engine.quotas(), turns[1]) == 0
    pressed.cancel()
