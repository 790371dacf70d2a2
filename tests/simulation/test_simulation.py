"""The simulation: fixed seeds keep every promise, one seed has one trace, and a failure can be played again."""

import os
import re
import subprocess
import sys

import pytest

REGRESSIONS = ()  # seeds that once broke a promise


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the command, in a process that does nothing else."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", ["0-19", "20-39"])
def test_fixed_seeds_keep_every_promise(seeds: str) -> None:
    played = simulate("--seeds", seeds)
    assert played.returncode == 0, played.stdout[-6000:] + played.stderr[-2000:]


def test_one_seed_has_one_trace_whatever_the_hash_seed() -> None:
    first, second = (simulate("--seeds", "0-2", "--digests", hash_seed=seed) for seed in ("1", "2"))
    digests = re.findall(r"^seed \d+ [0-9a-f]{64}$", first.stdout, re.MULTILINE)
    assert len(digests) == 3, first.stdout + first.stderr
    assert re.findall(r"^seed \d+ [0-9a-f]{64}$", second.stdout, re.MULTILINE) == digests


def test_a_seed_can_be_played_with_some_of_its_steps_and_prints_its_trace() -> None:
    played = simulate("--seed", "0", "--steps", "0,1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert len(re.findall(r"world +step ", played.stdout)) == 2
