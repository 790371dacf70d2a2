"""The parts of the simulation: virtual time, freezing and killing at an await, blocking calls, shorter schedules."""

import asyncio
from dataclasses import replace

from tests.simulation import shrink
from tests.simulation.loop import SimulatedLoop, new_loop
from tests.simulation.promises import PROMISES
from tests.simulation.reverts import ROOT
from tests.simulation.scenario import Scenario, scenario_of
from tests.simulation.sources import MACHINE, SECOND, Machine, Sources


def run(loop: SimulatedLoop, sources: Sources, seconds: float) -> None:
    """Let time pass."""
    loop.run_until(lambda: False, until_ns=sources.now_ns + round(seconds * SECOND))


def machine_on(loop: SimulatedLoop, name: str) -> tuple[Machine, list[float]]:
    """A machine that notes the time every second."""
    machine, ticks = Machine(name), list[float]()
    context = loop.world.copy()
    context.run(MACHINE.set, machine)

    async def tick() -> None:
        while True:
            ticks.append(loop.time())
            await asyncio.sleep(1)

    loop.create_task(tick(), context=context)
    return machine, ticks


def test_an_hour_passes_without_waiting() -> None:
    sources = Sources()
    loop = new_loop(sources)
    _, ticks = machine_on(loop, "a")
    run(loop, sources, 3600)
    assert ticks == [float(second) for second in range(3601)]


def test_a_frozen_machine_continues_where_it_was() -> None:
    sources = Sources()
    loop = new_loop(sources)
    machine, ticks = machine_on(loop, "a")
    run(loop, sources, 1.5)
    machine.state = "frozen"
    run(loop, sources, 10)
    assert ticks == [0, 1]
    loop.thaw(machine)
    run(loop, sources, 1.2)
    assert ticks == [0, 1, 11.5, 12.5]


def test_a_dead_machine_runs_nothing_not_even_its_clean_up() -> None:
    sources = Sources()
    loop = new_loop(sources)
    cleaned: list[str] = []
    machine = Machine("a")
    context = loop.world.copy()
    context.run(MACHINE.set, machine)

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            cleaned.append("up")

    loop.create_task(work(), context=context)
    run(loop, sources, 1)
    machine.state = "dead"
    run(loop, sources, 60)
    assert cleaned == []


def test_a_machine_can_be_killed_after_any_number_of_callbacks() -> None:
    sources = Sources()
    loop = new_loop(sources)
    machine, ticks = machine_on(loop, "a")
    loop.on_kill = lambda killed: setattr(killed, "state", "dead")
    machine.steps_left = 3
    run(loop, sources, 60)
    assert len(ticks) < 4


def test_a_blocking_call_runs_without_a_thread() -> None:
    sources = Sources()
    loop = new_loop(sources)
    task = loop.create_task(asyncio.to_thread(lambda: 42))
    run(loop, sources, 0)
    assert task.result() == 42


def test_a_seed_has_one_scenario() -> None:
    assert scenario_of(7) == scenario_of(7)
    assert scenario_of(7) != scenario_of(8)


def test_a_schedule_is_shortened_to_the_steps_that_matter() -> None:
    scenario = next(s for s in map(scenario_of, range(100)) if len(s.steps) >= 20)
    needed = {scenario.steps[4].number, scenario.steps[17].number}

    def breaks(fewer: Scenario) -> bool:
        return needed <= {step.number for step in fewer.steps}

    short = shrink.shrunk(scenario, breaks)
    assert {step.number for step in short.steps} == needed
    assert shrink.only(scenario, shrink.listed(short)) == short
    assert shrink.only(scenario, shrink.listed(replace(scenario, steps=()))).steps == ()


def test_the_page_lists_every_promise() -> None:
    page = (ROOT / "docs" / "explanation" / "simulation.md").read_text(encoding="utf-8")
    assert [f"| `{name}` | {text} |" for name, text in PROMISES.items() if f"| `{name}` | {text} |" not in page] == []
