"""Our runtime can be deleted once AWS has a native one: with a stub in its place, everything else works the same.

The tests run in a copy of the tree: by default those of the emulated chat, with `TEST_DELETABLE=all` every test but the
runtime's own, and with `TEST_DELETABLE="tests/web tests/e2e"` those of these folders.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "dev" / "native_runtime_stub.py"
KEPT = (
    *("protocol.py", "__init__.py"),  # how the stub talks to the Runtime API
    *("environment.py", "errors.py"),  # its switches, which are checked before a deployment
)
RUNTIME_TESTS = (
    *("tests/runtime", "tests/dev/emulator", "tests/bench", "tests/dev/test_deletable.py"),
    "tests/e2e/test_imports.py",  # the imports of our process before its first `next`
)
MAIN = "from lambda_src.runtime.adapter import main\n\nif __name__ == '__main__':\n    main()\n"
NEEDS_OURS = (
    "tests/docs/test_pages.py::test_every_file_named_on_a_page_exists",  # pages name files of the runtime
    "tests/e2e/test_turns.py::test_a_sandbox_that_gets_sigterm_loses_no_text_that_was_sent",  # it handles SIGTERM
)
NOT_COPIED = (".git", ".venv", ".local", ".*_cache", ".hypothesis", "*.pyc.*", "cdk.out", "build", "node_modules")
MOST_LINES = 45  # of the part that would remain; the rest of the stub plays the native runtime


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree with the stub in place of the runtime."""
    ignored = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(ROOT, tmp_path / "tree", ignore=ignored)
    runtime = tmp_path / "tree" / "lambda_src" / "runtime"
    for path in runtime.glob("*.py"):
        if path.name not in KEPT:
            path.unlink()
    shutil.copy(STUB, runtime / "adapter.py")
    (runtime / "__main__.py").write_text(MAIN)
    return tmp_path / "tree"


@pytest.mark.timeout(1800)  # it runs whole test suites
def test_everything_else_works_with_a_native_runtime_in_place_of_ours(copy: Path) -> None:
    wanted = os.environ.get("TEST_DELETABLE", "tests/e2e/test_chat.py")
    suites = ["-n", "auto", "--dist", "loadgroup", "tests"] if wanted == "all" else wanted.split()
    ignored = [*(f"--deselect={test}" for test in NEEDS_OURS), *(f"--ignore={path}" for path in RUNTIME_TESTS)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *ignored, *suites], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_stub_is_small() -> None:
    remaining = STUB.read_text(encoding="utf-8").partition("class StreamingMangum")[2].partition("\ndef main")[0]
    assert 10 < len(remaining.splitlines()) <= MOST_LINES
