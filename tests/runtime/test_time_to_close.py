"""The runtime's clean-up time is long enough for a turn to close: the two constants are defined independently."""

import pytest

from lambda_src.runtime import stop
from lambda_src.turns.turn_task import CLEAN_UP_S, ms_to_run

WRITES_S = 0.15  # minimum for closing: lease, answer and journal in parallel, about 10 ms each


def test_a_turn_needs_less_time_to_close_than_the_runtime_allows() -> None:
    assert CLEAN_UP_S < stop.CLEAN_UP_S


@pytest.mark.parametrize("timeout_s", range(1, 11))
def test_a_turn_that_reaches_its_deadline_closes_before_the_runtime_stops_it(timeout_s: int) -> None:
    assert stop.seconds_to_run(timeout_s) - ms_to_run(timeout_s * 1000) / 1000 > WRITES_S
