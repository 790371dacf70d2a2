"""MCP servers of an agent: connected per turn, closed after it, and failures; with real servers in other processes."""

import asyncio
import inspect
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, handoff
from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.errors import CustomStreamError

from lambda_src.observability.logs import configure_logging
from lambda_src.runs import mcp_servers
from tests.apps.chat import Chat, message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of
from tests.fakes.mcp_server import mcp_process

ROOT = Path(__file__).parents[2]
REQUESTS = 3  # per turn that calls one tool
NOWHERE = "http://127.0.0.1:1/mcp"


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def server_at(url: str, **options: Any) -> MCPServerStreamableHttp:
    return MCPServerStreamableHttp({"url": url}, **options)


def chat_with(full_app: FullApp, *urls: str, **options: Any) -> Chat:
    """Return a client of an agent with these servers; the agent is built for each turn, as in agent/."""
    return full_app.chat(
        build_agent=lambda: Agent(name="Test", mcp_servers=[server_at(url, **options) for url in urls])
    )


def text_of(answer: Any) -> str:
    return str(items_of(answer)[-1]["content"][0]["text"])


async def test_a_real_servers_tool_is_listed_and_called(full_app: FullApp) -> None:
    async with mcp_process() as server:
        answer = await chat_with(full_app, server.url)("threads.create", input=message("please count socks"))
    assert "there are 42 socks" in text_of(answer)


async def test_concurrent_and_later_turns_use_separate_connections(full_app: FullApp) -> None:
    async with mcp_process() as server:
        chat = chat_with(full_app, server.url)
        texts = [f"please count socks {number}" for number in range(4)]
        at_once = await asyncio.gather(*(chat("threads.create", input=message(text)) for text in texts))
        later = await chat("threads.add_user_message", thread_id=thread_of(at_once[0]), input=message("count socks!"))
    assert all("there are 42 socks" in text_of(answer) for answer in [*at_once, later])


async def test_the_model_sees_a_failed_tool_call_and_answers(full_app: FullApp) -> None:
    async with mcp_process() as server:
        answer = await chat_with(full_app, server.url)("threads.create", input=message("please drop socks"))
    assert answer.of("error") == []
    assert "I called the tool" in text_of(answer)


async def stuck() -> tuple[socket.socket, str]:
    """Open a socket that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


@pytest.mark.parametrize("kind", ["gone", "stuck", "one of two"])
async def test_an_unreachable_server_is_a_clear_error_and_later_turns_work(
    full_app: FullApp, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mcp_process() as server:
        listener, silent = await stuck()
        with listener:
            monkeypatch.setattr(mcp_servers, "CONNECT_S", 0.5 if kind == "stuck" else 5.0)
            urls = {"gone": [NOWHERE], "stuck": [silent], "one of two": [server.url, NOWHERE]}[kind]
            answer = await chat_with(full_app, *urls)("threads.create", input=message("please count socks"))
        errors = answer.of("error")
        assert [(error["message"], error["allow_retry"]) for error in errors] == [(mcp_servers.UNREACHABLE, True)]
        monkeypatch.undo()
        thread_id = thread_of(answer)
        later = await chat_with(full_app, server.url)(
            "threads.add_user_message", thread_id=thread_id, input=message("please count socks now")
        )
    assert "there are 42 socks" in text_of(later)


async def test_the_next_turn_uses_a_server_that_is_back(full_app: FullApp) -> None:
    async with mcp_process() as first:
        chat = chat_with(full_app, first.url)
        thread_id = thread_of(await chat("threads.create", input=message("please count socks")))
        await first.kill()
        down = await chat("threads.add_user_message", thread_id=thread_id, input=message("count socks again"))
        assert [error["message"] for error in down.of("error")] == [mcp_servers.UNREACHABLE]
        async with mcp_process(first.port):
            up = await chat("threads.add_user_message", thread_id=thread_id, input=message("count socks once more"))
    assert "there are 42 socks" in text_of(up)


async def test_tools_of_a_server_may_require_approval(full_app: FullApp) -> None:
    async with mcp_process() as server:
        chat = chat_with(full_app, server.url, require_approval="always")
        answer = await chat("threads.create", input=message("please count socks"))
        form = items_of(answer)[-1]
        assert form["inputs"][0]["question"] == "Allow “Count socks”?"
        sent = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
        ids = {"thread_id": thread_of(answer), "item_id": form["id"]}
        after = await chat("threads.add_structured_input", **ids, input=sent)
    assert "there are 42 socks" in text_of(after)


async def test_no_connection_stays_open(full_app: FullApp) -> None:
    before = set(asyncio.all_tasks())
    async with mcp_process() as server:
        await chat_with(full_app, server.url)("threads.create", input=message("please count socks"))
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert {task.get_coro().__qualname__ for task in left} <= {"mcp_process.<locals>.listen"}  # type: ignore[union-attr]


async def test_a_turn_stopped_during_a_tool_call_closes_its_connections(full_app: FullApp) -> None:
    async with mcp_process() as server:
        chat = chat_with(full_app, server.url)
        before = set(asyncio.all_tasks())
        turn = asyncio.create_task(chat("threads.create", input=message("please wait for socks")))
        await server.until_requested(REQUESTS)
        [thread] = (await chat("threads.list")).json["data"]
        stop = json.dumps({"thread_id": thread["id"]}).encode()
        assert (await chat.post(stop, path="/chatkit/stop")).json == {"stopped": True}
        assert (await turn).of("error") == []
        assert asyncio.all_tasks() - before == set()
        later = await chat("threads.add_user_message", thread_id=thread["id"], input=message("please count socks"))
    assert "there are 42 socks" in text_of(later)


async def test_the_number_of_requests_per_turn_is_documented(full_app: FullApp) -> None:
    async with mcp_process() as server:
        await chat_with(full_app, server.url)("threads.create", input=message("please count socks"))
    assert server.requests == ["POST"] * REQUESTS
    assert f"makes {REQUESTS} requests" in (ROOT / "docs" / "how-to" / "mcp.md").read_text(encoding="utf-8")


@pytest.fixture
def warnings_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that lists the log lines about servers and tools, as fields."""
    configure_logging()  # the first app of a process would do it now, and turn this off again
    monkeypatch.setattr(logging.getLogger("lambda_src"), "propagate", True)
    caplog.set_level(logging.INFO, "lambda_src")
    names = ("msg", "server", "reason", "kind", "tool")

    def logged() -> list[dict[str, Any]]:
        lines = [vars(record) for record in caplog.records if record.name == "lambda_src.observability.faults"]
        return [{name: line[name] for name in names if name in line} for line in lines]

    return logged


Warnings = Callable[[], list[dict[str, Any]]]


@asynccontextmanager
async def refusing(status: int) -> AsyncIterator[str]:
    """Serve every request with this status; yield the URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"secret words"
        writer.write(b"HTTP/1.1 %d Whatever\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(body)))
        writer.write(body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_a_refusing_server_is_logged_with_its_name_and_status(
    full_app: FullApp, warnings_of: Warnings, status: int
) -> None:
    async with refusing(status) as url:
        chat = chat_with(full_app, url, name="warehouse")
        answer = await chat("threads.create", input=message("hello"))
    assert [error["message"] for error in answer.of("error")] == [mcp_servers.UNREACHABLE]
    [line] = warnings_of()
    expected = {"msg": "tool_server_failed", "server": "warehouse", "kind": "required", "reason": f"HTTP {status}"}
    assert line == expected


async def test_a_server_name_that_is_a_url_is_logged_without_its_secrets(
    full_app: FullApp, warnings_of: Warnings
) -> None:
    await chat_with(full_app, "http://ann:secret@127.0.0.1:1/mcp?key=secret")("threads.create", input=message("hello"))
    [line] = warnings_of()
    assert line["server"] == "streamable_http: http://127.0.0.1:1/mcp"
    assert line["reason"] == "no connection"


async def test_an_optional_server_that_is_down_is_skipped_for_the_turn(
    full_app: FullApp, warnings_of: Warnings
) -> None:
    async with mcp_process() as server:
        down = mcp_process()
        other = await down.__aenter__()
        await other.kill()
        chat = full_app.chat(
            build_agent=lambda: Agent(
                name="Test",
                mcp_servers=[server_at(server.url), mcp_servers.optional(server_at(other.url, name="shop"))],
            )
        )
        first = await chat("threads.create", input=message("please count socks"))
        assert first.of("error") == []
        assert "there are 42 socks" in text_of(first)
        expected = {"msg": "tool_server_failed", "server": "shop", "reason": "no connection", "kind": "optional"}
        assert warnings_of() == [expected]
        await down.__aexit__(None, None, None)


async def test_an_optional_server_is_retried_in_the_next_turn(full_app: FullApp) -> None:
    async with mcp_process() as first:
        chat = full_app.chat(
            build_agent=lambda: Agent(name="Test", mcp_servers=[mcp_servers.optional(server_at(first.url))])
        )
        await first.kill()
        down = await chat("threads.create", input=message("please count socks"))
        assert down.of("error") == []
        assert "42 socks" not in text_of(down)
        async with mcp_process(first.port):
            up = await chat("threads.add_user_message", thread_id=thread_of(down), input=message("count socks again"))
    assert "there are 42 socks" in text_of(up)


async def test_an_agent_shared_by_all_turns_keeps_a_server_that_was_down(full_app: FullApp) -> None:
    agent = Agent[Any](name="Test", mcp_servers=[mcp_servers.optional(server_at(NOWHERE))])
    await full_app.chat(agent=agent)("threads.create", input=message("hello"))
    assert len(agent.mcp_servers) == 1


async def test_the_model_sees_a_server_that_dies_during_a_tool_call(full_app: FullApp, warnings_of: Warnings) -> None:
    async with mcp_process() as server:
        chat = chat_with(full_app, server.url)
        turn = asyncio.create_task(chat("threads.create", input=message("please wait for socks")))
        await server.until_requested(REQUESTS)
        await server.kill()
        answer = await turn
    assert answer.of("error") == []
    assert "I called the tool" in text_of(answer)
    assert warnings_of() == [{"msg": "tool_failed", "tool": "wait_for_socks"}]


async def test_equal_tool_names_of_two_servers_get_the_servers_names_as_prefix(full_app: FullApp) -> None:
    def build_agent() -> Agent[Any]:
        return Agent(name="Test", mcp_servers=[server_at(first.url, name="north"), server_at(second.url, name="south")])

    async with mcp_process() as first, mcp_process() as second:
        model = ScriptedModel(
            [[function_call("mcp_south__count_socks", "{}", call_id="c")], [assistant_message("42 in the south")]]
        )
        answer = await full_app.chat(build_agent=build_agent, model=model)("threads.create", input=message("count"))
    assert text_of(answer) == "42 in the south"
    assert "there are 42 socks" in str(model.calls[1].input)
    assert {"mcp_north__count_socks", "mcp_south__count_socks"} <= {tool.name for tool in model.calls[0].tools}


async def test_tool_calls_have_a_long_timeout_unless_the_agent_sets_another() -> None:
    own = server_at(NOWHERE, client_session_timeout_seconds=1)
    usual = server_at(NOWHERE)
    with pytest.raises(CustomStreamError):
        async with mcp_servers.connected(Agent(name="Test", mcp_servers=[own, usual])):
            pass
    assert (own.client_session_timeout_seconds, usual.client_session_timeout_seconds) == (1, mcp_servers.CALL_S)


@pytest.mark.parametrize("kind", [MCPServerStreamableHttp, MCPServerSse, MCPServerStdio])
def test_only_the_sdks_default_timeout_is_replaced(kind: type) -> None:
    default = inspect.signature(kind).parameters["client_session_timeout_seconds"].default
    assert default == mcp_servers.SDK_CALL_S


async def test_the_model_sees_a_tool_call_that_times_out(
    full_app: FullApp, warnings_of: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_servers, "CALL_S", 0.5)
    async with mcp_process() as server:
        answer = await chat_with(full_app, server.url)("threads.create", input=message("please wait for socks"))
    assert answer.of("error") == []
    assert "I called the tool" in text_of(answer)
    assert [line["tool"] for line in warnings_of()] == ["wait_for_socks"]


def test_servers_of_handoff_agents_are_collected_once() -> None:
    shared, other = server_at(NOWHERE), server_at(NOWHERE)
    second = Agent(name="Second", mcp_servers=[shared, other])
    third = Agent(name="Third", mcp_servers=[other])
    first = Agent(name="First", mcp_servers=[shared], handoffs=[second, handoff(third)])
    second.handoffs.append(first)
    assert len(mcp_servers.servers_of(first)) == 2
