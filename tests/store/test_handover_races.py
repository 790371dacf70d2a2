"""Two hand-overs of one guest at the same time, killed at every request, on the engine of this process."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.store.dying import Dying
from tests.store.handover_races import RIVALS, race
from tests.store.interleaved import Held, interleave
from tests.store.local import Local

Process = Callable[[], Awaitable[None]]

MOST = 200  # requests of one hand-over: more than it needs
SCHEDULES = {"in turns": [0, 1] * MOST, "the other one first": [1] * MOST, "two by two": [0, 0, 1, 1] * MOST}


async def interleaved(schedule: list[int], held: tuple[Held, Held], one: Process, two: Process) -> None:
    """Both processes, whose requests take turns."""
    await interleave(schedule, (held[0], one), (held[1], two))


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_whoever_is_killed_at_any_request_each_thread_has_one_owner(rivals: str, schedule: str) -> None:
    requests = 0
    while True:
        local, held = Local(), (Held(), Held())
        dying = Dying(requests)
        engine, objects = dying.client(local.engine), dying.client(local.objects)
        one = Local(engine=engine, objects=objects, now=local.now).store(executor=held[0])
        two = local.store(executor=held[1])

        await race(local.store, one, two, RIVALS[rivals], partial(interleaved, SCHEDULES[schedule], held))
        if not dying.died:
            return
        requests += 1
        assert requests < MOST
