"""Two concurrent hand-overs of one guest, killed at every request, on the strict engine."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.store.dying import DyingProcess
from tests.store.handover_races import RIVALS, race
from tests.store.interleaved import HeldExecutor, interleave
from tests.store.local import Local

Process = Callable[[], Awaitable[None]]

REQUESTS_MAX = 200  # more requests than a hand-over needs
SCHEDULES = {
    "alternating": [0, 1] * REQUESTS_MAX,
    "second process first": [1] * REQUESTS_MAX,
    "alternating in pairs": [0, 0, 1, 1] * REQUESTS_MAX,
}


async def run_interleaved(
    schedule: list[int], executors: tuple[HeldExecutor, HeldExecutor], first: Process, second: Process
) -> None:
    """Run both processes, interleaving their requests by `schedule`."""
    await interleave(schedule, (executors[0], first), (executors[1], second))


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_after_a_kill_at_any_request_each_thread_has_one_owner(rivals: str, schedule: str) -> None:
    requests = 0
    while True:
        local, executors = Local(), (HeldExecutor(), HeldExecutor())
        dying = DyingProcess(requests)
        engine, objects = dying.client(local.engine), dying.client(local.objects)
        first = Local(engine=engine, objects=objects, now=local.now).store(executor=executors[0])
        second = local.store(executor=executors[1])

        await race(local.store, first, second, RIVALS[rivals], partial(run_interleaved, SCHEDULES[schedule], executors))
        if not dying.died:
            return
        requests += 1
        assert requests < REQUESTS_MAX
