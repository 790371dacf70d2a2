"""The list of tests that depend on the user's agent, and the audit hook that notices tests missing from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent_tests import AGENT, AGENT_TESTS, TESTS, watching


@pytest.mark.parametrize("name", ["e2e/test_make_dev.py", "infra/bundle/test_built_zip.py", "e2e/test_verify.py"])
def test_files_that_load_the_agent_are_listed(name: str) -> None:
    assert TESTS / name in AGENT_TESTS


@pytest.mark.parametrize("name", ["store/test_memory.py", "agent", "turns/test_machine.py"])
def test_other_files_are_not_listed(name: str) -> None:
    assert not [path for path in AGENT_TESTS if path.is_relative_to(TESTS / name)]


def test_every_listed_file_exists() -> None:
    assert [path for path in AGENT_TESTS if not path.is_file()] == []


def test_opening_one_of_the_agents_files_is_recorded() -> None:
    with watching() as touched:
        (AGENT / "__init__.py").read_bytes()
    assert touched == [f"open {AGENT / '__init__.py'}"]


def test_importing_the_agent_is_recorded_every_time() -> None:
    for _ in range(2):
        with watching() as touched:
            __import__("lambda_src.agent")
        assert "import lambda_src.agent" in touched


@pytest.mark.parametrize(
    ("arguments", "handler"),
    [
        (["lambda_src.dev"], ""),
        (["lambda_src.dev.evals"], ""),
        ([], "lambda_src.dev.local.handler"),
        ([], "lambda_src.handler.x"),
    ],
)
def test_starting_a_command_that_loads_the_agent_is_recorded(arguments: list[str], handler: str) -> None:
    with watching() as touched:
        subprocess.run([sys.executable, "-c", "", *arguments], env={**os.environ, "_HANDLER": handler}, check=True)
    assert len(touched) == 1


def test_a_command_in_a_copy_of_the_project_is_not_recorded(tmp_path: Path) -> None:
    with watching() as touched:
        subprocess.run([sys.executable, "-c", "", "lambda_src.dev"], cwd=tmp_path, check=True)
    assert touched == []


def test_other_imports_files_and_commands_are_not_recorded() -> None:
    with watching() as touched:
        (AGENT.parent / "settings.py").read_bytes()
        subprocess.run([sys.executable, "-c", "", "lambda_src.dev.verify"], check=True)
    assert touched == []
