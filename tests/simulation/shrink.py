"""Shortens a schedule that breaks a promise: removes steps, in ever smaller groups, while it still breaks the same."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.scenario import Scenario, Step

MAX_RUNS = 150


def shrunk(scenario: Scenario, breaks: Callable[[Scenario], bool], *, max_runs: int = MAX_RUNS) -> Scenario:
    """The shortest scenario found that still `breaks` (delta debugging)."""
    steps: Sequence[Step] = scenario.steps
    size = max(1, len(steps) // 2)
    runs = 0
    while steps:
        start = 0
        has_shrunk = False
        while start < len(steps) and runs < max_runs:
            fewer = [*steps[:start], *steps[start + size :]]
            runs += 1
            if breaks(replace(scenario, steps=tuple(fewer))):
                steps, has_shrunk = fewer, True
            else:
                start += size
        if (size == 1 and not has_shrunk) or runs >= max_runs:
            break
        size = max(1, size // 2)
    return replace(scenario, steps=tuple(steps))


def only(scenario: Scenario, numbers: str) -> Scenario:
    """The scenario with these of its steps: "3,7,12"; "-" for none, "all" for all."""
    if numbers == "all":
        return scenario
    wanted = set() if numbers == "-" else {int(number) for number in numbers.split(",")}
    return replace(scenario, steps=tuple(step for step in scenario.steps if step.number in wanted))


def listed(scenario: Scenario) -> str:
    """The numbers of a scenario's steps, for `only`."""
    return ",".join(str(step.number) for step in scenario.steps) or "-"
