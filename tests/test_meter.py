"""The token meter: what a turn reserves and costs with each model call."""

import pytest

from lambda_src.errors import QuotaError
from lambda_src.meter import Meter


class Budget:
    """A token budget that reserves until it is used up."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens

    async def reserve(self, tokens: int) -> None:
        if tokens > self.left:
            raise QuotaError("Nothing is left.", limit="user_tokens", retry_after_s=1)
        self.left -= tokens


def meter_with(budget: Budget, *, reserved: int = 0) -> Meter:
    return Meter(budget.reserve, day=1, reserved=reserved)


async def test_a_call_within_the_reservation_reserves_nothing() -> None:
    budget = Budget(100)
    meter = meter_with(budget, reserved=50)
    await meter.begin(input_tokens=30, output_tokens=20)
    assert (budget.left, meter.reserved, meter.cost) == (100, 50, 50)


async def test_each_call_reserves_the_missing_tokens_before_it_is_sent() -> None:
    budget = Budget(100)
    meter = meter_with(budget, reserved=50)
    meter.end(await meter.begin(input_tokens=40, output_tokens=40), 70)
    assert (budget.left, meter.cost) == (70, 70)
    await meter.begin(input_tokens=40, output_tokens=20)
    assert (budget.left, meter.reserved, meter.cost) == (20, 130, 130)


async def test_concurrent_calls_reserve_for_both() -> None:
    meter = meter_with(Budget(100))
    first = await meter.begin(input_tokens=10, output_tokens=10)
    await meter.begin(input_tokens=20, output_tokens=20)
    assert meter.reserved == 60
    meter.end(first, 5)
    assert meter.cost == 45


async def test_a_refused_call_costs_nothing() -> None:
    budget = Budget(10)
    meter = meter_with(budget, reserved=50)
    with pytest.raises(QuotaError):
        await meter.begin(input_tokens=40, output_tokens=40)
    assert (budget.left, meter.reserved, meter.cost) == (10, 50, 0)


async def test_a_call_without_a_token_count_costs_its_reservation() -> None:
    meter = meter_with(Budget(100))
    meter.end(await meter.begin(input_tokens=40, output_tokens=20), 0)
    assert meter.cost == 60


async def test_an_answer_longer_than_expected_reserves_more_while_it_arrives() -> None:
    budget = Budget(100)
    meter = meter_with(budget)
    call = await meter.begin(input_tokens=10, output_tokens=20)
    await meter.arrived(call, 20)
    assert meter.cost == 30
    await meter.arrived(call, 1)
    assert (meter.cost, budget.left) == (50, 50)
    with pytest.raises(QuotaError):
        await meter.arrived(call, 60)
