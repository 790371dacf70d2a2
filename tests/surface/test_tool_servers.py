"""An agent with MCP servers, real ones in processes of their own: connected for a turn, closed after it."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, handoff
from agents.mcp import MCPServerStreamableHttp

from lambda_src import tool_servers
from tests.chat import Chat, message
from tests.surface.house import House, house_without_files, items_of, thread_of
from tests.surface.mcp_process import mcp_process

ROOT = Path(__file__).parents[2]
REQUESTS = 4  # of a turn that calls one tool
NOWHERE = "http://127.0.0.1:1/mcp"


@pytest.fixture
def house() -> House:
    return house_without_files()


def server_at(url: str, **options: Any) -> MCPServerStreamableHttp:
    return MCPServerStreamableHttp({"url": url}, **options)


def chat_with(house: House, *urls: str, **options: Any) -> Chat:
    """A client of an agent that has these servers; the agent is built anew for each turn, as agent/ does."""
    return house.chat(build_agent=lambda: Agent(name="Test", mcp_servers=[server_at(url, **options) for url in urls]))


def said(answer: Any) -> str:
    return str(items_of(answer)[-1]["content"][0]["text"])


async def test_a_tool_of_a_real_server_is_listed_called_and_answers(house: House) -> None:
    async with mcp_process() as server:
        answer = await chat_with(house, server.url)("threads.create", input=message("please count socks"))
    assert "there are 42 socks" in said(answer)


async def test_turns_at_once_and_one_after_the_other_share_nothing(house: House) -> None:
    async with mcp_process() as server:
        chat = chat_with(house, server.url)
        texts = [f"please count socks {number}" for number in range(4)]
        at_once = await asyncio.gather(*(chat("threads.create", input=message(text)) for text in texts))
        later = await chat("threads.add_user_message", thread_id=thread_of(at_once[0]), input=message("count socks!"))
    assert all("there are 42 socks" in said(answer) for answer in [*at_once, later])


async def test_a_tool_that_fails_is_told_to_the_model_and_the_answer_comes(house: House) -> None:
    async with mcp_process() as server:
        answer = await chat_with(house, server.url)("threads.create", input=message("please drop socks"))
    assert answer.of("error") == []
    assert "I called the tool" in said(answer)


async def stuck() -> tuple[socket.socket, str]:
    """A socket that takes connections and never answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"


@pytest.mark.parametrize("kind", ["gone", "stuck", "one of two"])
async def test_a_server_that_cannot_be_reached_is_a_clear_text_and_later_turns_work(
    house: House, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mcp_process() as server:
        listening, silent = await stuck()
        with listening:
            monkeypatch.setattr(tool_servers, "CONNECT_S", 0.5 if kind == "stuck" else 5.0)
            urls = {"gone": [NOWHERE], "stuck": [silent], "one of two": [server.url, NOWHERE]}[kind]
            answer = await chat_with(house, *urls)("threads.create", input=message("please count socks"))
        told = answer.of("error")
        assert [(error["message"], error["allow_retry"]) for error in told] == [(tool_servers.UNREACHABLE, True)]
        monkeypatch.undo()
        thread_id = thread_of(answer)
        later = await chat_with(house, server.url)(
            "threads.add_user_message", thread_id=thread_id, input=message("please count socks now")
        )
    assert "there are 42 socks" in said(later)


async def test_a_server_that_came_back_is_used_by_the_next_turn(house: House) -> None:
    async with mcp_process() as first:
        chat = chat_with(house, first.url)
        thread_id = thread_of(await chat("threads.create", input=message("please count socks")))
        await first.kill()
        down = await chat("threads.add_user_message", thread_id=thread_id, input=message("count socks again"))
        assert [error["message"] for error in down.of("error")] == [tool_servers.UNREACHABLE]
        async with mcp_process(first.port):
            up = await chat("threads.add_user_message", thread_id=thread_id, input=message("count socks once more"))
    assert "there are 42 socks" in said(up)


async def test_its_tools_may_ask_for_approval(house: House) -> None:
    async with mcp_process() as server:
        chat = chat_with(house, server.url, require_approval="always")
        answer = await chat("threads.create", input=message("please count socks"))
        form = items_of(answer)[-1]
        assert form["inputs"][0]["question"] == "Allow count_socks?"
        sent = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
        ids = {"thread_id": thread_of(answer), "item_id": form["id"]}
        after = await chat("threads.add_structured_input", **ids, input=sent)
    assert "there are 42 socks" in said(after)


async def test_nothing_stays_connected(house: House) -> None:
    before = set(asyncio.all_tasks())
    async with mcp_process() as server:
        await chat_with(house, server.url)("threads.create", input=message("please count socks"))
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert {task.get_coro().__qualname__ for task in left} <= {"mcp_process.<locals>.listen"}  # type: ignore[union-attr]


async def test_a_turn_that_is_stopped_while_a_tool_works_closes_what_it_opened(house: House) -> None:
    async with mcp_process() as server:
        chat = chat_with(house, server.url)
        before = set(asyncio.all_tasks())
        turn = asyncio.create_task(chat("threads.create", input=message("please wait for socks")))
        await server.until_asked(REQUESTS)
        [thread] = (await chat("threads.list")).json["data"]
        stop = json.dumps({"thread_id": thread["id"]}).encode()
        assert (await chat.post(stop, path="/chatkit/stop")).json == {"stopped": True}
        assert (await turn).of("error") == []
        assert asyncio.all_tasks() - before == set()
        later = await chat("threads.add_user_message", thread_id=thread["id"], input=message("please count socks"))
    assert "there are 42 socks" in said(later)


async def test_the_page_says_what_a_turn_asks_of_a_server(house: House) -> None:
    async with mcp_process() as server:
        await chat_with(house, server.url)("threads.create", input=message("please count socks"))
    assert server.requests == ["POST"] * REQUESTS
    assert f"makes {REQUESTS} requests" in (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


def test_servers_of_agents_that_are_handed_over_to_are_found_once() -> None:
    one, two = server_at(NOWHERE), server_at(NOWHERE)
    second = Agent(name="Second", mcp_servers=[one, two])
    third = Agent(name="Third", mcp_servers=[two])
    first = Agent(name="First", mcp_servers=[one], handoffs=[second, handoff(third)])
    second.handoffs.append(first)
    assert len(tool_servers.servers_of(first)) == 2
