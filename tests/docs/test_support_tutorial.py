"""Following docs/tutorial/support-chat.md in a copy of the project works: its assistant, its phrases, its requests."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx2

from tests.apps.chat import message
from tests.docs.test_tutorial import BLOCK, PATIENCE_S, PHRASE, THE_AGENT, ask, project, write
from tests.e2e.make_dev import running

__all__ = ["project"]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "support-chat.md"
REQUEST = re.compile(r"^\$ (curl .+)\n(.+)$", re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


async def test_the_support_chat_works_under_make_dev(project: Path, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    question, wish, *_ = PHRASE.findall(text)
    async with (
        running(tmp_path / "data", "--support", root=project) as (url, _),
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http,
        asyncio.timeout(PATIENCE_S),
    ):
        page = await http.get("/operator")
        assert (page.status_code, page.headers["x-frame-options"]) == (200, "DENY")
        write(project, THE_AGENT, dict(BLOCK.findall(text))[THE_AGENT])
        events: list[dict[str, Any]] = []
        while "9 to 17" not in json.dumps(events):  # until the function has been reloaded
            events = await ask(http, "threads.create", {"input": message(question)})
        thread_id = events[0]["thread"]["id"]
        events = await ask(http, "threads.add_user_message", {"thread_id": thread_id, "input": message(wish)})
        assert "A person will answer" in json.dumps(events)
        for command, shown in REQUEST.findall(text):
            answer = await sent(http, command.replace(ADDRESS, "").replace("$THREAD", thread_id))
            assert shape(answer) == shape(json.loads(shown)), command
        assert (await http.get(f"/chatkit/threads/{thread_id}/turn")).json()["held"] is None


async def sent(http: httpx2.AsyncClient, command: str) -> Any:
    """The answer to a curl command."""
    words = shlex.split(command)
    [path] = [word for word in words if word.startswith("/")]
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = "POST" if body or "POST" in words else "GET"
    answer = await http.request(method, path, content=body)
    return answer.raise_for_status().json()


def shape(value: Any) -> Any:
    """The names and types in an answer, without ids and times."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__
