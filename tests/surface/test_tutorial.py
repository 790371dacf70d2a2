"""docs/tutorial.md, executed: its files in a copy of the tree, its tests run by pytest there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)
CONFTEST = "tests/agent/conftest.py"  # the page builds on it; the folder itself is the user's
SHIPPED_CONFTEST = "from lambda_src.dev.testing import chat\n\n__all__ = ['chat']\n"
MOST_LINES = 30  # of what a newcomer writes to have a tool and an action, blank lines and imports aside


def blocks() -> dict[str, str]:
    """The files of the tutorial, by path."""
    return dict(BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")))


def test_what_the_tutorial_says_works(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "agent")
    shutil.copytree(ROOT / "lambda_src", tmp_path / "lambda_src", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, text in {CONFTEST: SHIPPED_CONFTEST, **blocks()}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/agent"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "2 passed" in done.stdout


def test_a_newcomer_writes_few_lines() -> None:
    written = "".join(text for path, text in blocks().items() if path.startswith("lambda_src/"))
    lines = [line for line in written.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    assert len(lines) <= MOST_LINES
