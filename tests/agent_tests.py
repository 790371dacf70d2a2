"""The test files that can see the user's agent: `.ci/own-agent` runs them with another agent in its place.

`python -m tests.agent_tests` prints them. A file is one of them when its source, or a module of the tests that it
imports, names something that reads `lambda_src/agent`. In every run, tests/conftest.py fails a test of any other file
that imports the agent, opens a file of it, or starts a command that loads it: so this choice cannot miss one for long.
"""

import ast
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TESTS, AGENT = ROOT / "tests", ROOT / "lambda_src" / "agent"
PACKAGE = "lambda_src.agent"
READS_THE_AGENT = re.compile(
    r"lambda_src[./](agent|handler)\b|lambda_src\.dev\b(?!\.)|lambda_src\.dev\.(evals|testing|local\b|__main__)"
    r"|\bimport shipped\b|\bshipped_(agent|hooks)\b|lambda_src\.sdk|infra\.bundle"
    r'|"(make|ruff|mypy|lint-imports)"|ROOT / "lambda_src"[,)\s]|copytree\(ROOT\b'
    r"|retirement|retiring|model_dates|\bimport made\b"
)
LOADS_THE_AGENT = re.compile(r"lambda_src[./](agent|handler)\b|lambda_src\.dev(\.evals)?(?![.\w])")


@cache
def agent_tests() -> frozenset[Path]:
    """The files, without the user's own tests in tests/agent."""
    files = (path for path in TESTS.rglob("test_*.py") if TESTS / "agent" not in path.parents)
    return frozenset(path for path in files if any(READS_THE_AGENT.search(_text(used)) for used in _sources(path)))


def _sources(path: Path) -> set[Path]:
    """The file, and the modules of the tests that it imports, directly or not; conftests only share fixtures."""
    waiting, used = [path], set[Path]()
    while waiting:
        if (current := waiting.pop()) not in used:
            used.add(current)
            waiting += (module for module in _imports(current) if module.name not in ("agent_tests.py", "conftest.py"))
    return used


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _imports(path: Path) -> list[Path]:
    """The modules of the tests that this one imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = (ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith("tests."))
    return [file for file in files if file.is_file()]


_watching: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: notes what touches the agent. It cannot be removed, so it is added once a process."""
    if _watching is None:
        return
    if event == "import" and f"{arguments[0]}.".startswith(f"{PACKAGE}."):
        _watching.append(f"import {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(f"{AGENT}{os.sep}"):
        _watching.append(f"open {arguments[0]}")
    elif event == "subprocess.Popen":
        _, command, _, env = arguments
        started = command if isinstance(command, str) else " ".join(map(os.fsdecode, command))
        started += f" {(env or {}).get('_HANDLER', '')}"
        if LOADS_THE_AGENT.search(started) and "--showcase" not in started:  # the showcase takes the agent's place
            _watching.append(started)


@contextmanager
def watching() -> Iterator[list[str]]:
    """What touches the agent meanwhile. The agent that an earlier test imported is set aside, to see it imported."""
    global _watching
    hidden = {}
    if PACKAGE in sys.modules:
        hidden = {name: sys.modules.pop(name) for name in [*sys.modules] if f"{name}.".startswith(f"{PACKAGE}.")}
    touched: list[str] = []
    _watching = touched
    try:
        yield touched
    finally:
        _watching = None
        sys.modules.update(hidden)


def main() -> None:
    """Print the files, one a line."""
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in sorted(agent_tests()))


sys.addaudithook(_watch)
if __name__ == "__main__":
    main()
