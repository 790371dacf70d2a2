"""The simulation: fixed seeds keep every promise, one seed has one trace, and a failure can be played again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.reverts import REVERTS, ROOT, without


def simulate(*arguments: str, hash_seed: str = "0", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command, in a process that does nothing else."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("more", [["0-19"], ["20-39", "--regressions"]], ids=" ".join)
def test_fixed_seeds_and_schedules_that_broke_a_promise_once_keep_every_promise(more: list[str]) -> None:
    played = simulate("--seeds", *more)
    assert played.returncode == 0, played.stdout[-6000:] + played.stderr[-2000:]


def test_one_seed_has_one_trace_whatever_the_hash_seed() -> None:
    first, second = (simulate("--seeds", "0-2", "--digests", hash_seed=seed) for seed in ("1", "2"))
    digests = re.findall(r"^seed \d+ [0-9a-f]{64}$", first.stdout, re.MULTILINE)
    assert len(digests) == 3, first.stdout + first.stderr
    assert re.findall(r"^seed \d+ [0-9a-f]{64}$", second.stdout, re.MULTILINE) == digests


def test_a_reverted_fix_is_noticed_and_played_again_by_its_command() -> None:
    revert = next(revert for revert in REVERTS if revert.name == "an answer that was cut is charged")
    with without(revert) as copy:
        played = simulate("--seeds", "20", "--no-shrink", folder=copy)
        assert "the last events:" in played.stdout, played.stdout[-3000:] + played.stderr[-2000:]
        [broken] = re.findall(r"^\d+ seeds, .*: {'([a-z-]+)': 1}$", played.stdout, re.MULTILINE)
        command = re.search(r"^make simulate SEED=(\d+) STEPS=(\S+)$", played.stdout, re.MULTILINE)
        assert command is not None
        again = simulate("--seed", command[1], "--steps", command[2], folder=copy)
    assert again.returncode == 1
    assert f"seed {command[1]}: {broken} " in again.stdout.splitlines()[-1]


def test_a_seed_can_be_played_with_some_of_its_steps_and_prints_its_trace() -> None:
    played = simulate("--seed", "0", "--steps", "0,1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert len(re.findall(r"world +step ", played.stdout)) == 2
