"""Following docs/tutorial/your-assistant.md in a copy of the project works, with `make dev`, its tests and evals."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lambda_src import sse
from tests.apps.chat import message
from tests.e2e.make_dev import running

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(?:python|json)\n# (\S+)\n(.*?)```", re.DOTALL)
THE_AGENT, THE_TOOL = "lambda_src/agent/__init__.py", "lambda_src/agent/orders.py"
PHRASE = re.compile(r"say \*\*(.+?)\*\*")
CONFTEST = "tests/agent/conftest.py"  # the page needs this file, but the folder is the user's
SHIPPED_CONFTEST = "from lambda_src.sdk.testing import chat\n\n__all__ = ['chat']\n"
SOME_AGENT = "from agents import Agent\n\ndef build_agent():\n    return Agent(name='Shipped')\n"
MAX_LINES = 30  # that a newcomer writes for a tool and an action, without blank lines and imports
PATIENCE_S = 240.0  # before the test fails: `make dev` starts slowly on a busy machine


def page() -> str:
    """Return the tutorial's text."""
    return (ROOT / "docs" / "tutorial" / "your-assistant.md").read_text(encoding="utf-8")


def blocks() -> dict[str, str]:
    """Return the tutorial's files by path, in order."""
    return dict(BLOCK.findall(page()))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with another agent, as before the first step."""
    root = tmp_path / "project"
    ignored = shutil.ignore_patterns("*.pyc.*", "agent")
    shutil.copytree(ROOT / "lambda_src", root / "lambda_src", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    write(root, THE_AGENT, SOME_AGENT)
    write(root, "lambda_src/agent/model.py", 'MODEL = "a-model"\n')
    write(root, CONFTEST, SHIPPED_CONFTEST)
    return root


def write(root: Path, path: str, text: str) -> None:
    """Save a file as an editor does."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


async def ask(http: httpx2.AsyncClient, operation: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a request as the page does; return the events of the answer."""
    answer = await http.post("/chatkit", json={"type": operation, "params": params})
    assert answer.status_code == 200, answer.text
    return [json.loads(message.data) for message in sse.read(answer.content)]


async def test_the_tutorial_works_under_make_dev_without_a_model_key(project: Path, tmp_path: Path) -> None:
    phrase = PHRASE.findall(page())[0]
    assert list(blocks())[:2] == [THE_TOOL, THE_AGENT], "the imported file comes first"
    async with (
        running(tmp_path / "data", root=project) as (url, printed),
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http,
        asyncio.timeout(PATIENCE_S),
    ):
        widgets: list[dict[str, Any]] = []
        for path in (THE_TOOL, THE_AGENT):
            write(project, path, blocks()[path])
            events = await ask(http, "threads.create", {"input": message(phrase)})
            assert not [event for event in events if event["type"] == "error"], f"the chat fails after {path} is saved"
        while not widgets:  # until the function has been reloaded
            events = await ask(http, "threads.create", {"input": message(phrase)})
            done = [event["item"] for event in events if event["type"] == "thread.item.done"]
            widgets = [item for item in done if item["type"] == "widget"]
        button = widgets[0]["widget"]["children"][1]
        assert "open" in json.dumps(widgets)
        params = {
            "thread_id": events[0]["thread"]["id"],
            "item_id": widgets[0]["id"],
            "action": button["onClickAction"],
        }
        assert "cancelled" in json.dumps(await ask(http, "threads.custom_action", params))
    assert "cannot be built" not in "".join(printed)


@pytest.mark.parametrize(("module", "summary"), [("pytest", "2 passed"), ("lambda_src.dev.evals", "2 of 2 passed")])
def test_its_tests_and_evals_pass(project: Path, module: str, summary: str) -> None:
    for path, text in blocks().items():
        write(project, path, text)
    arguments = ["-q", "tests/agent"] if module == "pytest" else []
    completed = subprocess.run([sys.executable, "-m", module, *arguments], cwd=project, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-1000:]
    assert summary in completed.stdout


def test_it_replaces_every_file_that_depends_on_the_shipped_agent() -> None:
    assert {"tests/agent/test_my_agent.py", "tests/agent/cases.jsonl"} < set(blocks())


def test_a_newcomer_writes_few_lines() -> None:
    written = "".join(text for path, text in blocks().items() if path.startswith("lambda_src/"))
    lines = [line for line in written.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    assert len(lines) <= MAX_LINES
