"""The built zip, started as Lambda starts it: its own bootstrap, the layout of /var/task, only the zip's libraries.

Everything runs over processes and sockets: a chat with a tool, an upload, Stop, a list, the sweep, a failed start.
"""

import asyncio
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.bundle.build import Bundle
from lambda_src import sse
from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from tests.apps.chat import SLOW_INIT_S, message
from tests.auth.test_backend_tokens import ED_JWK, token
from tests.fakes.model_api import model_api

pytestmark = [pytest.mark.xdist_group("bundle"), pytest.mark.timeout(600)]  # the first test builds the zip

AGENT = '''
from agents import Agent, function_tool


@function_tool
def opening_hours() -> str:
    """When the shop is open."""
    return "Monday to Friday, 9 to 17"


def build_agent():
    return Agent(name="Shop", instructions="Help customers.", tools=[opening_hours])
'''
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
KEY = "/chatkit/test/model-key"
SETTINGS = {
    "CHAT_TABLE": TABLE,
    "CHAT_BUCKET": BUCKET,
    "CHAT_AUTH_PUBLIC_KEYS": json.dumps([ED_JWK]),
    "CHAT_AUTH_AUDIENCE": "chat",
}


@pytest.fixture(scope="module")
def task_root(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked zip, with a test agent in place of the user's."""
    root = tmp_path_factory.mktemp("var") / "task"
    with zipfile.ZipFile(bundle.zip) as archive:
        archive.extractall(root)
    (root / "lambda_src" / "bootstrap").chmod(0o755)  # extractall keeps no modes
    shutil.rmtree(root / "lambda_src" / "agent")
    (root / "lambda_src" / "agent").mkdir()
    (root / "lambda_src" / "agent" / "__init__.py").write_text(AGENT, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without site-packages, like /var/lang/bin/python3.13 but without AWS's boto3."""
    path = tmp_path_factory.mktemp("lang") / "python"
    base = getattr(sys, "_base_executable", sys.executable)
    path.write_text(f'#!/bin/sh\nexec "{base}" -S "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@asynccontextmanager
async def _running(root: Path, python: Path, folder: Path, model: str | None = None) -> AsyncIterator[Emulator]:
    """The zip behind an emulated function URL, with its own local AWS and the demo model or the one at `model`."""
    async with local_aws(folder) as aws:
        env = {**SETTINGS, **aws.env}
        if model is not None:
            await asyncio.to_thread(aws.client("ssm").put_parameter, Name=KEY, Type="SecureString", Value="sk-test")
            env |= {"CHAT_MODEL_KEY_PARAMETER": KEY, "OPENAI_BASE_URL": model}
        async with Emulator(
            "lambda_src.handler.handler",
            env=env,
            task_root=root,
            command=[str(root / "lambda_src" / "bootstrap"), str(python), "bootstrap.py"],
            switches=Switches(processes=2, init_timeout_s=SLOW_INIT_S),
        ) as emulator:
            yield emulator


def _client(emulator: Emulator) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=emulator.url, headers={"authorization": token()}, timeout=60, trust_env=False)


@pytest.fixture
async def emulator(task_root: Path, python: Path, tmp_path: Path) -> AsyncIterator[Emulator]:
    async with _running(task_root, python, tmp_path) as emulator:
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with _client(emulator) as client:
        yield client


async def _request(http: httpx2.AsyncClient, operation: str, **params: Any) -> Any:
    response = await http.post("/chatkit", json={"type": operation, "params": params})
    assert response.status_code == 200, response.text
    return response.json()


async def _send_message(http: httpx2.AsyncClient, text: str, **more: Any) -> list[dict[str, Any]]:
    """Start a thread with a message and return the events of the response."""
    body = {"type": "threads.create", "params": {"input": message(text, **more)}}
    response = await http.post("/chatkit", json=body)
    assert response.status_code == 200, response.text
    return [json.loads(event.data) for event in sse.read(response.content)]


def _texts(items: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for item in items if item["type"] == "assistant_message" for part in item["content"])


def test_the_interpreter_sees_no_development_dependency(task_root: Path, python: Path) -> None:
    program = """
import agents, lambda_src.handler
from importlib.util import find_spec
print(find_spec("pytest"), find_spec("moto"))
"""
    env = {**SETTINGS, "PYTHONPATH": str(task_root), "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run([str(python), "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "None None"), done.stderr


async def test_a_chat_with_a_tool_is_answered_and_listed(http: httpx2.AsyncClient) -> None:
    events = await _send_message(http, "opening hours")
    thread_id = events[0]["thread"]["id"]
    assert [thread["id"] for thread in (await _request(http, "threads.list"))["data"]] == [thread_id]
    items = (await _request(http, "items.list", thread_id=thread_id, order="asc"))["data"]
    assert "Monday to Friday, 9 to 17" in _texts(items)


async def test_an_uploaded_file_is_part_of_its_message(http: httpx2.AsyncClient) -> None:
    created = await _request(http, "attachments.create", name="dot.png", size=len(PNG), mime_type="image/png")
    descriptor = created["upload_descriptor"]
    async with httpx2.AsyncClient(trust_env=False) as anonymous:
        put = await anonymous.request(
            descriptor["method"], descriptor["url"], headers=descriptor["headers"], content=PNG
        )
        assert put.status_code == 200, put.text
    events = await _send_message(http, "What is on it?", attachments=[created["id"]])
    [attachment] = next(event["item"] for event in events if event["type"] == "thread.item.done")["attachments"]
    async with httpx2.AsyncClient(trust_env=False) as anonymous:
        assert (await anonymous.get(attachment["preview_url"])).content == PNG


async def test_stop_from_another_process_keeps_the_text_streamed_so_far(
    task_root: Path, python: Path, tmp_path: Path
) -> None:
    body = {"type": "threads.create", "params": {"input": message("Say something that never ends.")}}
    async with (
        model_api() as model,
        _running(task_root, python, tmp_path, f"{model.url}/endless") as emulator,
        _client(emulator) as http,
    ):
        async with http.stream("POST", "/chatkit", json=body) as response:
            chunks, received = response.aiter_raw(), b""
            while received.count(b"text_delta") < 5:
                received += await anext(chunks)
            stopped = await http.post("/chatkit/stop", json={"turn_id": response.headers["x-chat-turn"]})
            assert stopped.json() == {"stopped": True}
            async for chunk in chunks:
                received += chunk
        events = [json.loads(event.data) for event in sse.read(received)]
        streamed = "".join(
            event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated"
        )
        items = (await _request(http, "items.list", thread_id=events[0]["thread"]["id"], order="asc"))["data"]
        assert streamed
        assert _texts(items) == streamed
        await model.until_closed()


async def test_the_hourly_sweep_finishes_a_delete(http: httpx2.AsyncClient, emulator: Emulator) -> None:
    thread_id = (await _send_message(http, "hello"))[0]["thread"]["id"]
    assert await _request(http, "threads.delete", thread_id=thread_id) == {}
    collected = await emulator.invoke({"chat": "sweep"})
    assert collected.report is None
    assert "swept" in json.loads(b"".join(collected.chunks))
    assert (await _request(http, "threads.list"))["data"] == []


async def test_a_function_that_cannot_start_reports_the_invalid_settings(task_root: Path, python: Path) -> None:
    output = io.StringIO()
    command = [str(task_root / "lambda_src" / "bootstrap"), str(python), "bootstrap.py"]
    async with (
        Emulator("lambda_src.handler.handler", env={}, task_root=task_root, command=command, output=output) as emulator,
        httpx2.AsyncClient(base_url=emulator.url, timeout=60, trust_env=False) as client,
    ):
        async with asyncio.timeout(60):
            assert (await client.get("/chat/health")).status_code == 502
    assert "CHAT_TABLE" in output.getvalue()
