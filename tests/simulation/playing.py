"""Plays one scenario and says how it ended."""

import traceback
from dataclasses import dataclass, field

from tests.simulation.promises import BrokenPromise
from tests.simulation.scenario import Scenario
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Result:
    """`broken` is the promise that did not hold, "" if all did. `turns` began at a model; `events` reached clients."""

    seed: int
    digest: str
    broken: str = ""
    text: str = ""
    turns: int = 0
    events: int = 0
    callbacks: int = 0
    lines: list[str] = field(default_factory=list)


def played(scenario: Scenario, *, whole_trace: bool = False) -> Result:
    """Play it in this process, which must play no other one."""
    world = World(scenario, whole_trace=whole_trace)
    broken = text = ""
    try:
        world.run()
    except BrokenPromise as promise:
        broken, text = promise.name, promise.text
    except Exception:  # noqa: BLE001 - an error of the simulation itself is reported like a broken promise
        broken, text = "simulation-error", traceback.format_exc()
    return Result(
        scenario.seed,
        world.trace.digest,
        broken,
        text,
        turns=sum(run.kind != "title" for run in world.vendor.runs),
        events=sum(len(stream.events) for stream in world.history.streams),
        callbacks=world.loop.callbacks,
        lines=list(world.trace.lines) if broken or whole_trace else [],
    )
