"""Turn ledger contract for quotas: limits per minute, per day and of running turns, under concurrency and crashes."""

import asyncio

import pytest

from lambda_src.context import RequestContext
from lambda_src.store.ports import QuotaLimits, QuotaRefused, TurnLedger
from tests.store.ledger_case import ADA, BOB, DAY_LEFT_S, Clock, LedgerCase, until

ONE_A_MINUTE = QuotaLimits(per_minute=1, per_day=0, running=0)
ONE_A_DAY = QuotaLimits(per_minute=0, per_day=1, running=0)
ONE_RUNNING = QuotaLimits(per_minute=0, per_day=0, running=1)
NO_LIMITS = QuotaLimits(per_minute=0, per_day=0, running=0)
CRASHED_MS = 900_000  # Lambda's longest invocation

LIMITS_OF_50 = {
    "minute": QuotaLimits(per_minute=50, per_day=0, running=0),
    "day": QuotaLimits(per_minute=0, per_day=50, running=0),
    "running": QuotaLimits(per_minute=0, per_day=0, running=50),
    "all": QuotaLimits(per_minute=50, per_day=50, running=50),
}


async def spend(
    ledger: TurnLedger, turn_id: str, limits: QuotaLimits, context: RequestContext = ADA
) -> QuotaRefused | None:
    """Spend quota for a turn, as ada by default."""
    return await ledger.spend_quota(turn_id, limits, context=context)


class QuotaContract(LedgerCase):
    """spend_quota, end_quota."""

    async def test_the_limit_per_minute_resets_with_the_minute(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        clock.later(ms=12_345)
        assert await spend(ledger, "one", ONE_A_MINUTE) is None
        assert await spend(other, "two", ONE_A_MINUTE) == QuotaRefused("minute", 48)
        clock.later(ms=48_000)
        assert await spend(other, "two", ONE_A_MINUTE) is None
        assert await spend(ledger, "three", ONE_A_MINUTE) == QuotaRefused("minute", 60)

    async def test_the_limit_per_day_resets_with_the_day(self, ledger: TurnLedger, clock: Clock) -> None:
        assert await spend(ledger, "one", ONE_A_DAY) is None
        clock.later(ms=DAY_LEFT_S * 1000 - 1)
        assert await spend(ledger, "two", ONE_A_DAY) == QuotaRefused("day", 1)
        clock.later(ms=1)
        assert await spend(ledger, "two", ONE_A_DAY) is None

    async def test_the_number_of_running_turns_is_limited(self, ledger: TurnLedger, other: TurnLedger) -> None:
        assert await spend(ledger, "one", ONE_RUNNING) is None
        refused = await spend(other, "two", ONE_RUNNING)
        assert refused is not None
        assert (refused.limit, refused.retry_after_s > 0) == ("running", True)
        await ledger.end_quota("one", context=ADA)
        assert await spend(other, "two", ONE_RUNNING) is None

    async def test_a_turn_that_ended_stays_spent(self, ledger: TurnLedger) -> None:
        limits = QuotaLimits(per_minute=1, per_day=0, running=1)
        await spend(ledger, "one", limits)
        await ledger.end_quota("one", context=ADA)
        assert await spend(ledger, "two", limits) == QuotaRefused("minute", 60)

    async def test_of_several_exceeded_limits_the_longest_is_reported(self, ledger: TurnLedger) -> None:
        limits = QuotaLimits(per_minute=1, per_day=1, running=1)
        await spend(ledger, "one", limits)
        assert await spend(ledger, "two", limits) == QuotaRefused("day", DAY_LEFT_S)

    async def test_refused_turns_are_not_spent(self, ledger: TurnLedger, clock: Clock) -> None:
        limits = QuotaLimits(per_minute=1, per_day=2, running=2)
        await spend(ledger, "one", limits)
        for number in range(5):
            assert await spend(ledger, f"refused-{number}", limits) is not None
        clock.later(ms=60_000)
        assert await spend(ledger, "two", limits) is None

    async def test_zero_means_no_limit(self, ledger: TurnLedger) -> None:
        for number in range(60):
            assert await spend(ledger, f"turn-{number}", NO_LIMITS) is None

    async def test_turns_spent_without_a_limit_count_once_there_is_one(self, ledger: TurnLedger) -> None:
        await spend(ledger, "one", NO_LIMITS)
        assert await spend(ledger, "two", ONE_A_DAY) is not None
        assert await spend(ledger, "two", ONE_RUNNING) is not None

    async def test_the_same_turn_counts_once(self, ledger: TurnLedger, other: TurnLedger) -> None:
        limits = QuotaLimits(per_minute=2, per_day=2, running=2)
        for process in (ledger, other, ledger):
            assert await spend(process, "one", limits) is None
        assert await spend(ledger, "two", limits) is None
        assert await spend(ledger, "one", limits) is None
        assert await spend(ledger, "three", limits) is not None

    async def test_quotas_are_separate_per_user(self, ledger: TurnLedger) -> None:
        await spend(ledger, "one", ONE_A_DAY)
        assert await spend(ledger, "two", ONE_A_DAY, BOB) is None
        await ledger.end_quota("one", context=BOB)
        assert await spend(ledger, "three", ONE_RUNNING) is not None

    async def test_ending_a_turn_that_is_not_running_does_nothing(self, ledger: TurnLedger) -> None:
        await ledger.end_quota("none", context=ADA)
        await spend(ledger, "one", ONE_RUNNING)
        await ledger.end_quota("one", context=ADA)
        await ledger.end_quota("one", context=ADA)
        assert await spend(ledger, "two", ONE_RUNNING) is None
        assert await spend(ledger, "three", ONE_RUNNING) is not None

    async def test_a_crashed_turn_counts_as_running_until_its_invocations_deadline(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await spend(ledger, "one", ONE_RUNNING, until(ADA, clock.now_ms + 30_000))
        clock.later(ms=29_999)
        assert await spend(ledger, "two", ONE_RUNNING) is not None
        clock.later(ms=1)
        assert await spend(ledger, "two", ONE_RUNNING) is None
        assert await spend(ledger, "three", ONE_RUNNING) is not None

    @pytest.mark.parametrize("deadline_ms", [None, 10**15])
    async def test_a_crashed_turn_counts_as_running_for_at_most_fifteen_minutes(
        self, ledger: TurnLedger, clock: Clock, deadline_ms: int | None
    ) -> None:
        context = ADA if deadline_ms is None else until(ADA, deadline_ms)
        await spend(ledger, "one", ONE_RUNNING, context)
        clock.later(ms=CRASHED_MS - 1)
        assert await spend(ledger, "two", ONE_RUNNING) is not None
        clock.later(ms=1)
        assert await spend(ledger, "two", ONE_RUNNING) is None

    async def test_only_expired_crashed_turns_make_room(self, ledger: TurnLedger, clock: Clock) -> None:
        limits = QuotaLimits(per_minute=0, per_day=0, running=3)
        for number, left_ms in enumerate((10_000, 20_000, 30_000)):
            await spend(ledger, f"turn-{number}", limits, until(ADA, clock.now_ms + left_ms))
        clock.later(ms=20_000)
        assert await spend(ledger, "three", limits) is None
        assert await spend(ledger, "four", limits) is None
        assert await spend(ledger, "five", limits) is not None

    @pytest.mark.usefixtures("crowd")
    @pytest.mark.parametrize("limit", LIMITS_OF_50)
    async def test_of_200_concurrent_turns_50_may_run(self, ledger: TurnLedger, other: TurnLedger, limit: str) -> None:
        turns = (spend((ledger, other)[n % 2], f"turn-{n}", LIMITS_OF_50[limit]) for n in range(200))
        assert (await asyncio.gather(*turns)).count(None) == 50

    @pytest.mark.usefixtures("crowd")
    async def test_of_60_concurrent_turns_10_may_run_after_10_crashed(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        limits = QuotaLimits(per_minute=0, per_day=0, running=10)
        for number in range(10):
            await spend(ledger, f"crashed-{number}", limits)
        clock.later(ms=CRASHED_MS)
        turns = (spend((ledger, other)[n % 2], f"turn-{n}", limits) for n in range(60))
        assert (await asyncio.gather(*turns)).count(None) == 10

    async def test_months_of_crashed_turns_do_not_use_up_the_quota(self, ledger: TurnLedger, clock: Clock) -> None:
        """The worst case: no turn is ever ended, and no two fall into the same minute."""
        limits = QuotaLimits(per_minute=1, per_day=3, running=2)
        for number in range(120):
            clock.later(ms=86_400_000 // 2)
            assert await spend(ledger, f"turn-{number}", limits) is None
        assert await spend(ledger, "one more", limits) == QuotaRefused("minute", 60)
