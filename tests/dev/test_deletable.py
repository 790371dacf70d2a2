"""The runtime can be deleted: in a copy of the tree, with a stub in its place, everything else works the same.

By default the emulated chat (tests/e2e) runs on the stub. `TEST_DELETABLE=all` runs every suite but the runtime's.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "native_runtime_stub.py"
KEPT = (
    *("protocol.py", "http1.py", "__init__.py"),  # the wire itself: the emulator is its other end
    *("environment.py", "errors.py"),  # its switches: dev/first_start.py looks at them before a deployment
)
RUNTIMES_OWN = (
    *("tests/runtime", "tests/dev/emulator", "tests/bench", "tests/dev/test_deletable.py"),
    "tests/e2e/test_imports.py",  # what our process imports before its first `next`
)
STARTED = "from lambda_src.runtime.adapter import main\n\nif __name__ == '__main__':\n    main()\n"
NAMES_ITS_FILES = "tests/test_docs.py::test_every_file_that_a_page_names_is_there"
MOST_LINES = 100


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree with the stub in the place of the runtime."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "cdk.out", "build", "node_modules")
    shutil.copytree(ROOT, tmp_path / "tree", ignore=ignored)
    runtime = tmp_path / "tree" / "lambda_src" / "runtime"
    for path in runtime.glob("*.py"):
        if path.name not in KEPT:
            path.unlink()
    shutil.copy(STUB, runtime / "adapter.py")
    (runtime / "__main__.py").write_text(STARTED)
    return tmp_path / "tree"


def test_everything_else_works_with_a_native_runtime_in_the_place_of_ours(copy: Path) -> None:
    suites = ["tests"] if os.environ.get("TEST_DELETABLE") == "all" else ["tests/e2e/test_chat.py"]
    ignored = [f"--deselect={NAMES_ITS_FILES}", *(f"--ignore={path}" for path in RUNTIMES_OWN)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *ignored, *suites], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_stub_is_small() -> None:
    assert len(STUB.read_text().splitlines()) <= MOST_LINES
