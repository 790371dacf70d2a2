"""docs/how-to/secrets.md: its stage is valid; its agent, test and commands work under `make dev`."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.stage.config import StageConfig
from tests.apps.chat import message
from tests.docs.agent_project import agent_project
from tests.e2e.make_dev import running

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "secrets.md"
FILE = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)
OPTIONS = re.compile(r"```json\n(.*?)```", re.DOTALL)
AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
PATIENCE_S = 60.0  # before the test fails


def files() -> dict[str, str]:
    """Return the page's Python files by path, in order."""
    return dict(FILE.findall(PAGE.read_text(encoding="utf-8")))


def options() -> dict[str, Any]:
    """Return the page's options of a stage."""
    [block] = OPTIONS.findall(PAGE.read_text(encoding="utf-8"))
    parsed: dict[str, Any] = json.loads(block)
    return parsed


@contextmanager
def shop(key: str) -> Iterator[str]:
    """Serve a shop that returns its opening hours to callers with the key; yield its URL."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["authorization"] == f"Bearer {key}" and self.path == "/opening-hours"
            body = b"Monday to Friday, 9 to 17" if allowed else b""
            self.send_response(200 if allowed else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the page's files added."""
    root = tmp_path / "project"
    stages = {"dev": {"auth": AUTH, **options()}}
    contents = files() | {"cdk.json": json.dumps({"context": {"stage": "dev", "stages": stages}})}
    return agent_project(root, contents)


def test_the_pages_stage_is_valid() -> None:
    config = StageConfig.from_context({"stage": "prod", "stages": {"prod": {"auth": AUTH, **options()}}})
    assert config.secret_parameters == ("/chatkit/prod/shop-api-key",)


def test_the_pages_test_passes(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "tests/agent"]
    completed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert "1 passed" in completed.stdout, completed.stdout[-3000:] + completed.stderr[-1000:]


def set_local_secret(project: Path, value: str) -> None:
    """Run the page's command that stores the secret on this machine."""
    [arguments] = re.findall(r'make chat ARGS="(.+?--local)"', PAGE.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "lambda_src.cli", *arguments.split()]
    completed = subprocess.run(command, cwd=project, input=f"{value}\n", capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    assert value not in completed.stdout + completed.stderr


async def test_under_make_dev_the_tool_uses_the_secret_set_by_the_pages_command(project: Path, tmp_path: Path) -> None:
    set_local_secret(project, "sk-shop")
    secrets_file = project / ".local" / "secrets"
    assert (secrets_file.stat().st_mode & 0o777, json.loads(secrets_file.read_text("utf-8"))) == (
        0o600,
        {"shop-api-key": "sk-shop"},
    )
    with shop("sk-shop") as url:
        async with (
            running(tmp_path / "data", root=project, env={"SHOP_URL": url}) as (chat, _),
            httpx2.AsyncClient(base_url=chat, timeout=PATIENCE_S, trust_env=False) as http,
            asyncio.timeout(PATIENCE_S),
        ):
            ask = {"type": "threads.create", "params": {"input": message("Opening hours")}}
            answer = await http.post("/chatkit", json=ask)
    assert "Monday to Friday, 9 to 17" in answer.text
    assert "sk-shop" not in answer.text


def test_the_page_lists_the_error_reasons_of_the_code() -> None:
    reasons = re.findall(r"^\| ((?:the|it) .+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    code = "".join(
        (ROOT / "lambda_src" / name).read_text("utf-8") for name in ("runs/tool_secrets.py", "composition/aws.py")
    )
    messages = re.sub(r" \{parameter\}| \(\{code\}\)", "", code)
    assert [reason for reason in reasons if reason not in messages] == []
    assert len(reasons) == 5
