"""Lists the test files that depend on the user's agent, for `.ci/own-agent`, which replaces that agent and runs them.

`python -m tests.agent_tests` prints them. A file is listed if its source, or the source of a tests module that it
imports, names something that reads `lambda_src/agent`. In every run, tests/conftest.py fails any test outside the list
that imports the agent, opens one of its files, or starts a command that loads it, so an omission shows up quickly.
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
    """Return the files, except the user's own tests in tests/agent."""
    files = (path for path in TESTS.rglob("test_*.py") if TESTS / "agent" not in path.parents)
    return frozenset(path for path in files if any(READS_THE_AGENT.search(_text(used)) for used in _sources(path)))


def _sources(path: Path) -> set[Path]:
    """Return the file and the tests modules that it imports, directly or indirectly; conftests only share fixtures."""
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
    """Return the tests modules that this file imports."""
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
    """Audit hook that records whatever touches the agent. Hooks cannot be removed, so it is added once per process."""
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
    """Record what touches the agent inside the block.

    If an earlier test imported the agent, hide it so that a new import is noticed.
    """
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
    """Print the files, one per line."""
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in sorted(agent_tests()))


sys.addaudithook(_watch)
if __name__ == "__main__":
    main()
