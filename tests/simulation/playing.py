"""Plays one scenario, in this process or in a fork, and returns how it ended."""

import gc
import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass, field

from tests.simulation.promises import BrokenPromise
from tests.simulation.scenario import Scenario, scenario_of
from tests.simulation.world import World

WARM_UP_SEED = -1


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


@dataclass(frozen=True, slots=True)
class Child:
    """A fork that plays a scenario."""

    pid: int
    pipe: int


def forked(scenario: Scenario, *, whole_trace: bool = False) -> Child:
    """Play a scenario in a fork."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            os.close(reading)
            gc.disable()  # a collection would come at moments that depend on memory
            data = json.dumps(asdict(played(scenario, whole_trace=whole_trace))).encode()
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(data)
        except BaseException:  # noqa: BLE001 - the fork ends here, whatever happens
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return Child(pid, reading)


def result_of(child: Child, seed: int) -> Result:
    """Wait for a fork's result."""
    with os.fdopen(child.pipe, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child.pid, 0)
    return Result(**json.loads(data)) if data else Result(seed, "", "simulation-error", "the process died")


def warm_up() -> None:
    """Play one scenario here, so that no fork has to import or to build pydantic's validators."""
    played(scenario_of(WARM_UP_SEED))
