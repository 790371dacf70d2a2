"""The runtime leaves a turn the time that it takes to close: neither names the other, this holds them together."""

import pytest

from lambda_src.runtime import stop
from lambda_src.turns.turn_task import CLEAN_UP_S, ms_to_run

WRITES_S = 0.15  # lease, answer and journal side by side, each some 10 ms: what closing takes at least


def test_a_turn_asks_for_no_more_time_to_close_than_the_runtime_gives() -> None:
    assert CLEAN_UP_S < stop.CLEAN_UP_S


@pytest.mark.parametrize("timeout_s", range(1, 11))
def test_a_turn_that_meets_its_deadline_closes_before_the_runtime_stops_it(timeout_s: int) -> None:
    assert stop.seconds_to_run(timeout_s) - ms_to_run(timeout_s * 1000) / 1000 > WRITES_S
