"""The test files whose tests load or read the user's agent: `.ci/own-agent` runs them with another agent.

`python -m tests.agent_tests` prints them. In every run, tests/conftest.py fails a test of any other file that imports
the agent, opens one of its files, or starts a command that loads it, so a file that is missing here is noticed.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TESTS, AGENT = ROOT / "tests", ROOT / "lambda_src" / "agent"
PACKAGE = "lambda_src.agent"
AGENT_TESTS = frozenset(
    TESTS / name
    for name in (
        "cli/test_cases.py",
        "cli/test_cli.py",
        "cli/test_retirement.py",
        "dev/test_deletable.py",
        "dev/test_evals.py",
        "dev/test_makefile.py",
        "docs/test_pages.py",
        "e2e/test_chat.py",
        "e2e/test_make_dev.py",
        "e2e/test_verify.py",
        "infra/bundle/test_built_zip.py",
        "infra/bundle/test_real_zip.py",
        "infra/commands/test_offline_deploy.py",
        "infra/commands/test_plain_cdk.py",
        "infra/constructs/test_function.py",
        "infra/preflight/test_model_dates.py",
        "infra/proof/test_prove_local.py",
        "observability/test_faults.py",
        "runs/test_hooks.py",
        "runs/test_tool_secrets.py",
        "runtime/test_process.py",
        "sdk/test_sdk.py",
        "sdk/test_shipped_agent.py",
        "sdk/test_testing.py",
        "test_agent_tests.py",
        "test_workflows.py",
    )
)
LOADS_THE_AGENT = re.compile(
    r"lambda_src[./](agent|handler)\b|lambda_src\.dev(?![.\w])|lambda_src\.dev\.(evals|local)\b"
)


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
        _, command, folder, env = arguments
        if not Path(os.fsdecode(folder or Path.cwd())).resolve().is_relative_to(ROOT):
            return  # a copy of the project, with another agent
        started = command if isinstance(command, str) else " ".join(map(os.fsdecode, command))
        started += f" {(env or {}).get('_HANDLER', '')}"
        if LOADS_THE_AGENT.search(started) and "--showcase" not in started:  # the showcase replaces the agent
            _watching.append(started)


@contextmanager
def watching() -> Iterator[list[str]]:
    """Record what touches the agent inside the block.

    If an earlier test imported the agent, hide it so that a new import is noticed.
    """
    global _watching
    hidden = {}
    if PACKAGE in sys.modules:
        names = [*sys.modules]  # at once: another thread may import meanwhile
        similar = [name for name in names if name.startswith(PACKAGE)]  # quick, as it runs around every test
        hidden = {name: sys.modules.pop(name) for name in similar if f"{name}.".startswith(f"{PACKAGE}.")}
    touched: list[str] = []
    _watching = touched
    try:
        yield touched
    finally:
        _watching = None
        sys.modules.update(hidden)


def main() -> None:
    """Print the files, one per line."""
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in sorted(AGENT_TESTS))


sys.addaudithook(_watch)
if __name__ == "__main__":
    main()
