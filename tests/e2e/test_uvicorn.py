"""The command in docs/how-to/uvicorn-and-postgres.md: the app outside Lambda, and a reload during an answer."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from lambda_src import sse
from tests.apps.chat import message, read_events
from tests.fakes.issuer import AUDIENCE, Issuer

ROOT = Path(__file__).parents[2]
WITHIN_S = 60  # on a busy machine, because it imports the Agents SDK first


def environment(issuer: Issuer, **more: str) -> dict[str, str]:
    """The environment of a server without AWS that accepts the tokens of `issuer`."""
    [key, _] = issuer.documents()["keys"]["keys"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "AWS_"))}
    settings = {"CHAT_STORE": "memory", "CHAT_AUTH_PUBLIC_KEYS": json.dumps([key]), "CHAT_AUTH_AUDIENCE": AUDIENCE}
    return inherited | settings | more


async def start_server(env: dict[str, str]) -> asyncio.subprocess.Process:
    """Start the documented command on a free port."""
    page = (ROOT / "docs" / "how-to" / "uvicorn-and-postgres.md").read_text("utf-8")
    command = re.search(r"^ *\$ CHAT_STORE=postgres \.venv/bin/(uvicorn .*)$", page, re.MULTILINE)
    assert command is not None, "docs/how-to/uvicorn-and-postgres.md must have the command"
    argv = command[1].split()
    argv[argv.index("--port") + 1] = "0"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *argv,
        cwd=ROOT,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a running server."""
    issuer = Issuer()
    process = await start_server(environment(issuer))
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            while not (match := re.search(rb"running on (http://\S+)", await process.stdout.readline())):
                pass
        reading = asyncio.create_task(process.stdout.read())
        headers = {"authorization": f"Bearer {issuer.token()}"}
        async with httpx2.AsyncClient(base_url=match[1].decode(), headers=headers, timeout=WITHIN_S) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()
        await reading


async def test_after_a_reload_the_answer_continues(http: httpx2.AsyncClient) -> None:
    page = (ROOT / "docs" / "how-to" / "uvicorn-and-postgres.md").read_text("utf-8")
    assert f"$ curl http://127.0.0.1:8000/chat/health\n{(await http.get('/chat/health')).text}\n" in page
    name = "turn-named-by-the-client"
    body = {"type": "threads.create", "params": {"input": message("hello, how are you?")}}
    async with http.stream("POST", "/chatkit", json=body, headers={"x-chat-turn": name}) as response:
        assert response.status_code == 200
        async for event in sse.messages(response.aiter_bytes()):
            if "text_delta" in event.data:
                break  # the tab is closed
    again = await http.get(f"/chatkit/turns/{name}/events")
    events = read_events(again.content)
    [item] = [e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "assistant_message"]
    deltas = [e["update"]["delta"] for e in events if e.get("update", {}).get("type", "").endswith("text_delta")]
    assert "".join(deltas) == item["content"][0]["text"]
    assert [e for e in events if e["type"] in ("notice", "error")] == []


async def test_a_setting_that_works_only_on_lambda_is_refused() -> None:
    process = await start_server(environment(Issuer(), CHAT_TRACING="xray"))
    output, _ = await process.communicate()
    assert process.returncode != 0
    assert b"CHAT_TRACING works on Lambda only" in output
