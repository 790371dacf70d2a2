"""`make simulate SEEDS=1000`: play that many seeds, each in a process of its own, and report each broken promise.

    make simulate SEEDS=1000                 the seeds 0 to 999
    make simulate SEEDS=5000-5999            these
    make simulate SEED=17                    one, with its trace
    make simulate SEED=17 STEPS=3,8          one, with these steps of its schedule alone
    make simulate SEEDS=0 FLAGS=--regressions   the schedules of regressions.txt, each of which broke a promise once
    make simulate SEEDS=40 FLAGS=--reverts      earlier fixes, reverted one at a time: which seed notices it?
    make simulate SEEDS=10 FLAGS="--mutants 30" thirty small random changes of the product: as above

The parent imports everything once; each seed runs in a fork, so that nothing of one is left for the next.
"""

from tests.simulation import sources

sources.install()

import argparse  # noqa: E402 - the sources come first
import os  # noqa: E402 - as above
import sys  # noqa: E402 - as above
from collections import Counter  # noqa: E402 - as above
from collections.abc import Iterable, Iterator  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above

os.environ["CHAT_OPTIMIZATIONS_OFF"] = (
    "prewarm"  # it plays a canned turn at each cold start, on the real client library
)

from tests.simulation import mutants, promises, shrink  # noqa: E402 - as above
from tests.simulation.playing import Child, Result, forked, result_of, warm_up  # noqa: E402 - as above
from tests.simulation.scenario import Scenario, scenario_of  # noqa: E402 - as above

SHRINK_RUNS = 150
REGRESSIONS = Path(__file__).with_name("regressions.txt")


def play_all(scenarios: Iterable[Scenario], jobs: int) -> Iterator[tuple[Scenario, Result]]:
    """The results of many scenarios, in order, `jobs` at a time."""
    waiting: list[tuple[Child, Scenario]] = []
    for scenario in scenarios:
        waiting.append((forked(scenario), scenario))
        if len(waiting) >= jobs:
            child, played = waiting.pop(0)
            yield played, result_of(child, played.seed)
    for child, played in waiting:
        yield played, result_of(child, played.seed)


def regressions() -> list[Scenario]:
    """The schedules of regressions.txt."""
    lines = REGRESSIONS.read_text(encoding="utf-8").splitlines()
    fields = [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]
    return [shrink.only(scenario_of(int(seed)), steps) for seed, steps, _ in fields]


def report(scenario: Scenario, result: Result, *, shrinks: bool) -> None:
    """Print how to play a failure again: the shortest schedule that breaks the same promise, and its last events."""
    if shrinks:
        name = result.broken
        scenario = shrink.shrunk(
            scenario, lambda fewer: result_of(forked(fewer), fewer.seed).broken == name, max_runs=SHRINK_RUNS
        )
        result = result_of(forked(scenario), scenario.seed)
    print(f"\n{result.broken}: {result.text}")
    print(f"  {promises.PROMISES.get(result.broken, '')}")
    print(f"  {scenario.deployment}")
    for step in scenario.steps:
        print(f"  step {step}")
    print("  the last events:")
    for line in result.lines:
        print(f"    {line}")
    print(f"make simulate SEED={scenario.seed} STEPS={shrink.listed(scenario)}\n", flush=True)


def seeds_of(text: str) -> list[int]:
    """`1000` are the first thousand; `5-9` are five; `3,8` are two."""
    if "-" in text:
        first, last = text.split("-")
        return list(range(int(first), int(last) + 1))
    if "," in text:
        return [int(number) for number in text.split(",") if number]
    return list(range(int(text)))


def main(arguments: list[str]) -> int:
    """Exit code 0: every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", default="200")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--digests", action="store_true", help="print each seed's digest of its trace")
    parser.add_argument("--keep-going", action="store_true", help="play all seeds although one breaks a promise")
    parser.add_argument("--regressions", action="store_true", help="play the schedules of regressions.txt too")
    parser.add_argument("--reverts", nargs="?", const="", help="revert earlier fixes with this text in their names")
    parser.add_argument("--mutants", type=int, help="make this many small random changes of the product")
    parser.add_argument("--draw", type=int, default=1, help="with --mutants: another number draws other changes")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        warm_up()
        scenario = scenario_of(options.seed)
        if options.steps:
            scenario = shrink.only(scenario, options.steps)
        result = result_of(forked(scenario, whole_trace=True), options.seed)
        print("\n".join(result.lines))
        print(f"seed {options.seed}: {result.broken or 'every promise held'} {result.text} {result.digest}")
        return 1 if result.broken else 0
    warm_up()
    if options.reverts is not None:
        return mutants.try_reverts(seeds_of(options.seeds), options.reverts)
    if options.mutants:
        return mutants.try_mutants(seeds_of(options.seeds), count=options.mutants, draw=options.draw)
    print(f"Promises:\n{promises.listed()}\n", flush=True)
    scenarios = [scenario_of(seed) for seed in seeds_of(options.seeds)]
    scenarios += regressions() if options.regressions else []
    turns = events = 0
    broken: Counter[str] = Counter()
    for scenario, result in play_all(scenarios, options.jobs):
        turns, events = turns + result.turns, events + result.events
        if options.digests:
            print(f"seed {result.seed} {result.digest}", flush=True)
        if result.broken:
            broken[result.broken] += 1
            report(scenario, result, shrinks=not options.no_shrink)
            if not options.keep_going:
                break
    print(f"{len(scenarios)} seeds, {turns} turns, {events} events: {dict(broken) or 'every promise held'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
