"""A copy of the project whose agent and tests are those that a page of docs/ shows."""

import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVERY_AGENT = {
    "lambda_src/agent/model.py": 'MODEL = "a-model"\n',
    "tests/agent/conftest.py": "from lambda_src.sdk.testing import chat\n\n__all__ = ['chat']\n",
}


def agent_project(root: Path, files: Mapping[str, str]) -> Path:
    """Copy the project without its agent to `root` and add `files`: text by path. Returns `root`."""
    shutil.copytree(ROOT / "lambda_src", root / "lambda_src", ignore=shutil.ignore_patterns("*.pyc.*", "agent"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, text in {**files, **EVERY_AGENT}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root
