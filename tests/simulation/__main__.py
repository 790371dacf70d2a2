"""`make simulate SEEDS=1000`: play that many seeds, each in a process of its own, and report each broken promise.

    make simulate SEEDS=1000                 the seeds 0 to 999
    make simulate SEEDS=5000-5999            these
    make simulate SEED=17                    one, with its trace
    make simulate SEED=17 STEPS=3,8          one, with these steps of its schedule alone

The parent imports everything once; each seed runs in a fork, so that nothing of one is left for the next.
"""

from tests.simulation import sources

sources.install()

import argparse  # noqa: E402 - the sources come first
import gc  # noqa: E402 - as above
import json  # noqa: E402 - as above
import os  # noqa: E402 - as above
import sys  # noqa: E402 - as above
import traceback  # noqa: E402 - as above
from collections import Counter  # noqa: E402 - as above
from collections.abc import Iterator  # noqa: E402 - as above
from dataclasses import asdict, dataclass  # noqa: E402 - as above

os.environ["CHAT_OPTIMIZATIONS_OFF"] = (
    "prewarm"  # it plays a canned turn at each cold start, on the real client library
)

from tests.simulation import playing, promises, shrink  # noqa: E402 - as above
from tests.simulation.playing import Result  # noqa: E402 - as above
from tests.simulation.scenario import Scenario, scenario_of  # noqa: E402 - as above

SHRINK_RUNS = 150
WARM_UP_SEED = -1


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
            data = json.dumps(asdict(playing.played(scenario, whole_trace=whole_trace))).encode()
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
    playing.played(scenario_of(WARM_UP_SEED))


def play_all(seeds: list[int], jobs: int) -> Iterator[Result]:
    """The results of many seeds, in order, `jobs` at a time."""
    waiting: list[tuple[Child, int]] = []
    for seed in seeds:
        waiting.append((forked(scenario_of(seed)), seed))
        if len(waiting) >= jobs:
            child, number = waiting.pop(0)
            yield result_of(child, number)
    for child, number in waiting:
        yield result_of(child, number)


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
    print(f"Promises:\n{promises.listed()}\n", flush=True)
    seeds = seeds_of(options.seeds)
    turns = events = 0
    broken: Counter[str] = Counter()
    for result in play_all(seeds, options.jobs):
        turns, events = turns + result.turns, events + result.events
        if options.digests:
            print(f"seed {result.seed} {result.digest}", flush=True)
        if result.broken:
            broken[result.broken] += 1
            report(scenario_of(result.seed), result, shrinks=not options.no_shrink)
            if not options.keep_going:
                break
    print(f"{len(seeds)} seeds, {turns} turns, {events} events: {dict(broken) or 'every promise held'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
