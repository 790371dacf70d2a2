"""The parts of the simulation: virtual time, freezing and killing at an await, the weather, schedules, mutants."""

import ast
import asyncio
import random
import signal
from dataclasses import replace
from functools import partial

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.simulation import shrink
from tests.simulation.aws import Aws
from tests.simulation.changes import changes, mutants_of, tree_without
from tests.simulation.faults import HICCUP_S, Fate, Weather, Window
from tests.simulation.loop import SimulatedLoop, new_loop
from tests.simulation.promises import PROMISES
from tests.simulation.reverts import REVERTS, ROOT, Revert
from tests.simulation.scenario import BAD, OF_THE_DAY, Scenario, scenario_of
from tests.simulation.sources import MACHINE, SECOND, Machine, Sources
from tests.simulation.trace import Trace


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


def test_a_machine_that_gets_sigterm_runs_its_own_handler() -> None:
    sources = Sources()
    loop = new_loop(sources)
    machine, handled = Machine("a"), list[Machine | None]()
    context = loop.world.copy()
    context.run(MACHINE.set, machine)

    async def listen() -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: handled.append(MACHINE.get()))

    loop.create_task(listen(), context=context)
    run(loop, sources, 0)
    callback, own = loop.signals[machine]
    loop.call_soon(callback, context=own)
    run(loop, sources, 0)
    assert handled == [machine]


def counted(fate: Fate | None) -> tuple[int, float, type[BaseException] | None]:
    """How often a write was applied that met this fate, how long it took, and its error."""
    sources = Sources()
    loop = new_loop(sources)
    weather = Weather(random.Random(1), random.Random(2), latency_s=0.001)
    if fate is not None:
        weather.windows.append(Window(0, 1, {}, {fate: 1.0}))
    aws = Aws(loop, Trace(sources), weather)
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    adding = partial(
        aws.client("dynamodb").update_item,
        TableName="table",
        Key=key,
        UpdateExpression="SET #n = if_not_exists(#n, :zero) + :one",
        ExpressionAttributeNames={"#n": "n"},
        ExpressionAttributeValues={":zero": {"N": "0"}, ":one": {"N": "1"}},
    )
    future = loop.run_in_executor(None, adding)
    loop.run_until(future.done, until_ns=sources.now_ns + 60 * SECOND)
    error = future.exception()
    row = aws.engine.rows.get(("a", "b"), {})
    return int(row.get("n", {"N": "0"})["N"]), loop.time(), None if error is None else type(error)


def test_a_request_is_applied_once() -> None:
    applied, seconds, error = counted(None)
    assert (applied, error) == (1, None)
    assert seconds < 1


def test_after_a_hiccup_the_second_attempt_is_applied_too() -> None:
    applied, seconds, error = counted("hiccup")
    assert (applied, error) == (2, None)
    assert 2 <= seconds <= HICCUP_S


def test_an_unclear_request_is_applied_and_never_responded_to() -> None:
    applied, _, error = counted("unclear")
    assert applied == 4
    assert error is ReadTimeoutError


def test_a_refused_request_is_not_applied() -> None:
    applied, _, error = counted("refused")
    assert applied == 0
    assert error is ClientError


def test_after_hiccups_every_promise_holds() -> None:
    weather = Weather(random.Random(1), random.Random(2), latency_s=0.001)
    weather.windows.append(Window(0, 10, {}, {"hiccup": 1.0}))
    assert not weather.is_bad(0, 10)
    assert weather.has_hiccups(5, 20)
    weather.windows.append(Window(0, 10, {}, {"unclear": 1.0}))
    assert weather.is_bad(0, 10)


def test_what_is_bad_may_be_over_in_time() -> None:
    weather = Weather(random.Random(1), random.Random(2), latency_s=0.001)
    weather.windows.append(Window(0, 10, {"lost": 1.0}))
    assert weather.ends_before(5, 12, 40)
    assert not weather.ends_before(5, 9, 40)
    weather.windows.append(Window(30, 31, {"lost": 1.0}))
    assert not weather.ends_before(5, 12, 40)


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


def test_the_other_steps_of_a_seed_do_not_depend_on_its_scenes() -> None:
    for seed in range(50):
        scenario = scenario_of(seed)
        kinds = [step.kind for step in scenario.steps]
        others = [kind for kind in kinds if not kind.startswith("scene ") and kind not in OF_THE_DAY]
        assert kinds[: len(others)] == others, seed


def test_in_a_calm_deployment_no_request_to_the_store_fails_for_good() -> None:
    trouble = {f"scene {kind}" for kind in BAD} | {"faults"}
    calm = [scenario for scenario in map(scenario_of, range(100)) if scenario.deployment.is_calm]
    assert not trouble & {step.kind for scenario in calm for step in scenario.steps}


def changed(text: str) -> list[str]:
    """Every change of the first statement or expression of a text."""
    statement = ast.parse(text).body[0]
    nodes = [statement, statement.value] if isinstance(statement, ast.Expr) else [statement]
    return [ast.unparse(ast.fix_missing_locations(new)) for node in nodes for new in changes(node)]


def test_the_mutants_are_flipped_comparisons_negated_conditions_numbers_and_missing_statements() -> None:
    assert changed("a < b") == ["a <= b"]
    assert changed("a is None") == ["a is not None"]
    assert changed("a and b") == ["a or b"]
    assert changed("a if b else c") == ["a if not b else c"]
    assert changed("if a:\n    b()") == ["if not a:\n    b()"]
    assert changed("3") == ["4", "2"]
    assert changed("True") == ["False"]
    assert changed("await a()") == ["pass"]
    assert changed("self.a = 1") == ["pass"]
    assert changed("log.info('a')") == []
    assert changed("a = 1") == []


def test_a_mutant_changes_one_function_and_names_it() -> None:
    mutants = [make() for make in mutants_of(ROOT / "lambda_src" / "turns" / "lease.py")]
    names = {mutant.function for mutant in mutants}
    assert {"Lease.take", "Lease.hold"} <= names
    removed = [mutant for mutant in mutants if mutant.change == "self.lost.set() -> pass"]
    assert [mutant.function for mutant in removed] == ["Lease.hold"]
    assert "self.lost.set()" not in ast.unparse(removed[0].tree)


@pytest.mark.parametrize("revert", REVERTS, ids=lambda revert: revert.name)
def test_a_fix_can_be_reverted(revert: Revert) -> None:
    assert ast.unparse(tree_without(revert)) != ast.unparse(ast.parse(revert.path.read_text(encoding="utf-8")))


def test_the_page_lists_every_promise() -> None:
    page = (ROOT / "docs" / "explanation" / "simulation.md").read_text(encoding="utf-8")
    assert [f"| `{name}` | {text} |" for name, text in PROMISES.items() if f"| `{name}` | {text} |" not in page] == []
