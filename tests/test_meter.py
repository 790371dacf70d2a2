"""What a turn reserves and what it costs, call by call."""

import pytest

from lambda_src.errors import QuotaError
from lambda_src.meter import Meter


class Purse:
    """Reserves until it is empty."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens

    async def reserve(self, tokens: int) -> None:
        if tokens > self.left:
            raise QuotaError("Nothing is left.", limit="user_tokens", retry_after_s=1)
        self.left -= tokens


def meter_with(purse: Purse, *, reserved: int = 0) -> Meter:
    return Meter(purse.reserve, day=1, reserved=reserved)


async def test_a_call_that_fits_into_what_is_reserved_reserves_nothing() -> None:
    purse = Purse(100)
    meter = meter_with(purse, reserved=50)
    await meter.begin(input_tokens=30, output_tokens=20)
    assert (purse.left, meter.reserved, meter.cost) == (100, 50, 50)


async def test_each_call_reserves_what_is_missing_before_it_is_sent() -> None:
    purse = Purse(100)
    meter = meter_with(purse, reserved=50)
    meter.end(await meter.begin(input_tokens=40, output_tokens=40), 70)
    assert (purse.left, meter.cost) == (70, 70)
    await meter.begin(input_tokens=40, output_tokens=20)
    assert (purse.left, meter.reserved, meter.cost) == (20, 130, 130)


async def test_calls_side_by_side_reserve_for_both() -> None:
    meter = meter_with(Purse(100))
    first = await meter.begin(input_tokens=10, output_tokens=10)
    await meter.begin(input_tokens=20, output_tokens=20)
    assert meter.reserved == 60
    meter.end(first, 5)
    assert meter.cost == 45


async def test_a_call_that_is_refused_costs_nothing() -> None:
    purse = Purse(10)
    meter = meter_with(purse, reserved=50)
    with pytest.raises(QuotaError):
        await meter.begin(input_tokens=40, output_tokens=40)
    assert (purse.left, meter.reserved, meter.cost) == (10, 50, 0)


async def test_a_call_that_nobody_counted_costs_what_was_reserved_for_it() -> None:
    meter = meter_with(Purse(100))
    meter.end(await meter.begin(input_tokens=40, output_tokens=20), 0)
    assert meter.cost == 60


async def test_an_answer_longer_than_expected_reserves_more_while_it_arrives() -> None:
    purse = Purse(100)
    meter = meter_with(purse)
    call = await meter.begin(input_tokens=10, output_tokens=20)
    await meter.arrived(call, 20)
    assert meter.cost == 30
    await meter.arrived(call, 1)
    assert (meter.cost, purse.left) == (50, 50)
    with pytest.raises(QuotaError):
        await meter.arrived(call, 60)
