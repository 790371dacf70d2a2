"""`make dev` as a developer uses it: start, chat, stop with Ctrl-C, SIGTERM or kill -9, and find the threads again."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from tests.apps.chat import message
from tests.e2e.conftest import ROOT
from tests.e2e.make_dev import descendants, ready, running, start_dev, start_make_dev, until_gone
from tests.fakes.model_api import ANSWER, model_api

SHORT = "remember me, and count to 3"  # the demo model answers it with three words


def the_stream_on_the_page() -> tuple[str, list[str]]:
    """Return the body that docs/reference/chatkit.md sends with curl, and the types of the events that it shows."""
    page = (ROOT / "docs" / "reference" / "chatkit.md").read_text(encoding="utf-8")
    found = re.search(r"^\$ curl -N \S+/chatkit .*?-d '(.*?)'\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1], re.findall(r'^data: \{"type":"([\w.]+)"', found[2], re.MULTILINE)


async def test_it_prints_its_url_chats_and_keeps_threads_between_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as (url, printed), httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        output = "".join(printed)
        assert "demo" in output
        assert "DynamoDB" in output
        assert f"curl -N {url}/chatkit" in output
        command, shown = the_stream_on_the_page()
        stream = await http.post(f"{url}/chatkit", content=command)
        sent = re.findall(r'^data: \{"type":"([\w.]+)"', stream.text, re.MULTILINE)
        remaining = iter(sent)
        assert all(name in remaining for name in shown), "in this order, with others between them"
        assert (sent[0], sent[-1]) == (shown[0], shown[-1])
        create = {"type": "threads.create", "params": {"input": message(SHORT)}}
        answer = await http.post(f"{url}/chatkit", json=create)
        assert '"thread.created"' in answer.text
    assert "Saved in" in printed[-1]

    async with running(tmp_path) as (url, _), httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        listed = await http.post(f"{url}/chatkit", json={"type": "threads.list", "params": {}})
        assert [thread["title"] for thread in listed.json()["data"]] == [SHORT, "Hello!"]


async def test_the_showcase_accepts_files_and_shows_widgets(tmp_path: Path) -> None:
    async with running(tmp_path, "--showcase") as (url, _), httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        file = {"name": "a.txt", "size": 5, "mime_type": "text/plain"}
        created = (await http.post(f"{url}/chatkit", json={"type": "attachments.create", "params": file})).json()
        upload = created["upload_descriptor"]
        assert (await http.put(upload["url"], content=b"hello", headers=upload["headers"])).status_code == 200
        text_with_file = message("show me a widget", attachments=[created["id"]])
        answer = await http.post(f"{url}/chatkit", json={"type": "threads.create", "params": {"input": text_with_file}})
        assert '"type":"widget"' in answer.text


async def test_aws_variables_of_the_shell_do_not_redirect_its_aws_clients(tmp_path: Path) -> None:
    names = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3", "http_proxy")
    wrong_endpoints = dict.fromkeys(names, "http://127.0.0.1:9")
    async with (
        running(tmp_path, env={**wrong_endpoints, "AWS_PROFILE": "nobody", "AWS_SESSION_TOKEN": "t"}) as (url, _),
        httpx2.AsyncClient(timeout=60, trust_env=False) as http,
    ):
        listed = await http.post(f"{url}/chatkit", json={"type": "threads.list", "params": {}})
        assert listed.json()["data"] == []


@pytest.mark.parametrize("start", [start_dev, start_make_dev], ids=["python", "make"])
async def test_sigterm_ends_every_process(
    tmp_path: Path, start: Callable[[Path], Awaitable[asyncio.subprocess.Process]]
) -> None:
    """A supervisor sends SIGTERM only to the process that it started."""
    process = await start(tmp_path)
    await ready(process)
    children = await descendants(process.pid)
    process.terminate()
    assert process.stdout is not None
    assert b"Saved in" in await process.stdout.read()
    await process.wait()
    await until_gone(children)


async def test_kill_9_leaves_no_process_behind_and_loses_no_thread(tmp_path: Path) -> None:
    process = await start_dev(tmp_path)
    url, _ = await ready(process)
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        create = {"type": "threads.create", "params": {"input": message(SHORT)}}
        assert (await http.post(f"{url}/chatkit", json=create)).status_code == 200
    children = await descendants(process.pid)
    process.kill()
    await process.wait()
    async with running(tmp_path) as (url, _), httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        listed = await http.post(f"{url}/chatkit", json={"type": "threads.list", "params": {}})
        assert [thread["title"] for thread in listed.json()["data"]] == [SHORT]
    await until_gone(children)


async def test_invalid_settings_are_reported_before_anything_starts(tmp_path: Path) -> None:
    process = await start_dev(tmp_path, CHAT_HISTORY_ITEMS="none", CHAT_MODEL_BASE_URL="http://models.example")
    assert process.stdout is not None
    printed = (await process.stdout.read()).decode()
    assert await process.wait() == 1
    assert printed.splitlines() == [
        "make dev: CHAT_MODEL_BASE_URL must be an https:// URL, and is 'http://models.example'.",
        "make dev: CHAT_HISTORY_ITEMS must be a whole number from 1 to 100, and is 'none'.",
    ]


async def test_a_local_model_is_used_without_a_key(tmp_path: Path) -> None:
    async with model_api() as api:
        env = {"CHAT_MODEL_BASE_URL": f"{api.url}/well"}
        async with (
            running(tmp_path, env=env) as (url, printed),
            httpx2.AsyncClient(timeout=60, trust_env=False) as http,
        ):
            assert f"at {api.url}/well (responses)" in "".join(printed)
            create = {"type": "threads.create", "params": {"input": message("count")}}
            assert ANSWER in (await http.post(f"{url}/chatkit", json=create)).text


async def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lambda_src.dev", "--port", str(port), "--data", str(tmp_path), cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in printed
    assert printed.decode().startswith(f"make dev: Port {port} is in use."), (
        "the message must come before anything starts"
    )
    assert b"make dev PORT=" in printed
