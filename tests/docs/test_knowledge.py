"""docs/how-to/knowledge.md: its commands run against a fake of OpenAI's API; its agent, test and citations work."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.stage.config import StageConfig
from lambda_src.cli.commands import app
from lambda_src.cli.knowledge.documents import TYPES
from lambda_src.models.providers import openai_run_config
from tests.apps.chat import message
from tests.apps.full import full_app_without_files, items_of
from tests.docs.agent_project import agent_project
from tests.fakes.model_api import scripted_api, sse
from tests.fakes.vector_store_api import KEY, VectorStoreApi, vector_store_api
from tests.runs.model_streams import FILE, answered, citation_event, file_search

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "knowledge.md"
FILES = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)
AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}


def files() -> dict[str, str]:
    """Return the page's Python files by path."""
    return dict(FILES.findall(PAGE.read_text(encoding="utf-8")))


def commands() -> list[str]:
    """Return the page's `make knowledge` commands in order."""
    return re.findall(r"^\$ (make knowledge .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def arguments_of(command: str) -> list[str]:
    """Return the `chat` arguments that the Makefile builds for a command."""
    make = ["make", "-n", "-o", ".venv/installed", *shlex.split(command)[1:]]
    printed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in printed.splitlines() if "-m lambda_src.cli" in line]
    return shlex.split(line.partition("-m lambda_src.cli ")[2])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the commands: a project with documents and two stages."""
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    (tmp_path / "docs" / "returns.md").write_text("30 days")
    (tmp_path / "docs" / "guides" / "sizes.md").write_text("S to XL")
    stages = {name: {"auth": AUTH} for name in ("dev", "prod")}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "dev", "stages": stages}}, indent=2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(api: VectorStoreApi, command: str) -> str:
    """Run a command of the page; return its stdout and stderr."""
    env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": api.url, "NO_PROXY": "*"}
    result = CliRunner().invoke(app, arguments_of(command), env=env)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_pages_commands_upload_the_documents_and_set_the_store(project: Path) -> None:
    dry, first, second = commands()
    with vector_store_api() as api:
        assert "add\treturns.md" in run(api, dry)
        assert api.requests == []
        run(api, first)
        run(api, second)
        context = json.loads((project / "cdk.json").read_text())["context"]
        stores = [context["stages"][stage]["environment"]["KNOWLEDGE_STORE"] for stage in ("dev", "prod")]
        assert stores == list(api.stores)
        for store in stores:
            urls = {row["attributes"]["path"]: row["attributes"]["url"] for row in api.stores[store].values()}
            assert urls["guides/sizes.md"] == "https://docs.example.com/guides/sizes.md"
    config = StageConfig.from_context(context | {"stage": "prod"})
    assert dict(config.environment)["KNOWLEDGE_STORE"] == stores[1]


def test_the_page_lists_the_uploaded_file_types() -> None:
    [listed] = re.findall(r"^\| uploaded \| `(.+?)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed.split() == sorted(TYPES)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's agent."""
    module = ModuleType("lambda_src.agent.model")  # the user's folder may no longer have that file
    monkeypatch.setattr(module, "MODEL", "a-model", raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("KNOWLEDGE_STORE", "vs_1")
    defined: dict[str, Any] = {}
    exec(compile(files()["lambda_src/agent/__init__.py"], "knowledge.md", "exec"), defined)
    return defined["build_agent"]()


async def test_the_pages_agent_searches_the_store_and_its_citations_link_to_the_documents(agent: Any) -> None:
    url = "https://docs.example.com/guides/sizes.md"
    events = answered(annotations=(FILE,))
    events.insert(-4, citation_event(FILE, item_id=events[1]["item"]["id"]))
    events[1:1] = file_search({"path": "guides/sizes.md", "sha256": "0" * 64, "url": url})
    async with scripted_api(sse(*events)) as (api, requests):
        chat = full_app_without_files().chat(run_config=openai_run_config("key", base_url=api), agent=agent)
        answer = await chat("threads.create", input=message("Which sizes are there?"))
    [(_, body)] = requests
    assert body["tools"] == [{"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 8}]
    assert body["include"] == ["file_search_call.results"]
    [cited] = items_of(answer)[-1]["content"][0]["annotations"]
    assert (cited["source"]["title"], cited["source"]["url"]) == ("guides/sizes.md", url)


def test_the_pages_test_passes(tmp_path: Path) -> None:
    root = agent_project(tmp_path / "project", files())
    command = [sys.executable, "-m", "pytest", "-q", "tests/agent"]
    env = {name: value for name, value in os.environ.items() if name != "KNOWLEDGE_STORE"}
    completed = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert "1 passed" in completed.stdout, completed.stdout[-3000:] + completed.stderr[-1000:]
