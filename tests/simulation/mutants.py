"""Which changes of the product does the simulation notice? For maintainers, not CI: see __main__.

Neither mutmut nor cosmic-ray drives this. mutmut runs pytest in its own process, which has imported the clocks before
the simulation could replace them. cosmic-ray runs a command for each mutant, and the imports of that command take as
long as ten seeds. Here each change is made in a fork of a process that has imported everything: the functions of one
file get new code. So values that a module computes while it is imported are not changed.
"""

import ast
import json
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tests.simulation.changes import PRODUCT, apply, mutants_of, tree_without
from tests.simulation.playing import forked, played, result_of
from tests.simulation.reverts import REVERTS
from tests.simulation.scenario import scenario_of

FILES = (
    "auth/account_linking.py",
    "meter.py",
    "quotas/turn_quota.py",
    "runtime/*.py",
    "store/clock.py",
    "store/followers.py",
    "store/quota_windows.py",
    "store/thread_snapshots.py",
    "store/dynamodb/**/*.py",
    "turns/*.py",
)
CPU_S = 60  # of one seed: a mutant may never end


def in_fork(work: Callable[[], Any]) -> Any:
    """The result of `work`, done in a fork."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            os.close(reading)
            data = json.dumps(work()).encode()
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(data)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(data)


def lines_reached(seeds: list[int]) -> set[tuple[str, int]]:
    """(file, line) of the product that these seeds run."""
    reached: set[tuple[str, int]] = set()
    for seed in seeds:
        reached |= {(file, line) for file, line in in_fork(partial(_lines_of, seed))}
    return reached


def _lines_of(seed: int) -> list[tuple[str, int]]:
    reached: set[tuple[str, int]] = set()
    wanted = str(PRODUCT)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(wanted):
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    played(scenario_of(seed))
    sys.settrace(None)
    return sorted(reached)


def noticed_by(file: Path, tree: ast.Module, functions: set[str], seeds: list[int]) -> tuple[int, str] | None:
    """The first seed that notices a changed file, and the promise; None if none does.

    (-1, ""): not all of the changed `functions` could get their new code.
    """

    def play() -> tuple[int, str] | None:
        done = apply(file, tree)
        if not done or not functions <= done:
            return -1, ""
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        for seed in seeds:
            result = result_of(forked(scenario_of(seed)), seed)
            if result.broken:
                return seed, result.broken
        return None

    outcome: list[Any] | None = in_fork(play)
    return None if outcome is None else (outcome[0], outcome[1])


def cells(outcome: tuple[int, str] | None) -> str:
    """The last cells of a row of the table."""
    return "none |  |" if outcome is None else f"{outcome[0]} | `{outcome[1]}` |"


def try_reverts(seeds: list[int], only: str) -> int:
    """Print what notices each reverted fix. Exit code 0: all were noticed."""
    print("| without the fix: | noticed by seed | promise |\n|---|---|---|")
    missed = 0
    for revert in REVERTS:
        if only in revert.name:
            outcome = noticed_by(revert.path, tree_without(revert), set(), seeds)
            missed += outcome is None
            print(f"| {revert.name} | {cells(outcome)}", flush=True)
    return 1 if missed else 0


def try_mutants(seeds: list[int], *, count: int, draw: int) -> int:
    """Print what notices each of `count` random mutants, among those whose line the seeds reach. Exit code 0."""
    reached = lines_reached(seeds)
    files = sorted({file for pattern in FILES for file in PRODUCT.glob(pattern)})
    makers = [make for file in files for make in mutants_of(file)]
    random.Random(draw).shuffle(makers)
    counts: Counter[str] = Counter()
    print("| mutant | change | noticed by seed | promise |\n|---|---|---|---|")
    for make in makers:
        if counts["noticed"] + counts["survived"] >= count:
            break
        mutant = make()
        if (str(mutant.file), mutant.line) not in reached:
            counts["not reached"] += 1
            continue
        outcome = noticed_by(mutant.file, mutant.tree, {mutant.function}, seeds)
        if outcome is not None and outcome[0] < 0:
            continue
        counts["survived" if outcome is None else "noticed"] += 1
        print(f"| {mutant} | {cells(outcome)}", flush=True)
    print(f"\n{len(makers)} possible mutants; {dict(counts)}")
    return 0
