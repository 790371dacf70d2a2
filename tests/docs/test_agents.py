"""The how-to pages about approvals, handoffs, tool titles, several assistants and MCP servers: their code runs."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from lambda_src.runs import mcp_servers
from lambda_src.runs.assistants import TITLE_CHARS, checked
from lambda_src.runs.tool_details import MOST_CHARS
from tests.apps.chat import message
from tests.apps.full import full_app_without_files, items_of, thread_of

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"```python\n# lambda_src/agent/__init__\.py\n(.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def named_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide the module that the page imports from the user's folder, which may have been deleted there."""
    module = ModuleType("lambda_src.agent.model")
    monkeypatch.setattr(module, "MODEL", "a-model", raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def page(name: str) -> str:
    """Return the text of a how-to page."""
    return (HOW_TO / f"{name}.md").read_text(encoding="utf-8")


def agent_of(name: str, *, number: int = 0) -> dict[str, Any]:
    """Execute the `__init__.py` of a page, or a later version of it, and return what it defines."""
    code = BLOCK.findall(page(name))[number]
    defined: dict[str, Any] = {}
    exec(compile(code, f"{name}.md", "exec"), defined)
    return defined


async def test_the_pages_tool_asks_for_approval() -> None:
    script = [[function_call("refund", '{"order_id": 17}', call_id="c")], [assistant_message("Done.")]]
    chat = full_app_without_files().chat(model=ScriptedModel(script), agent=agent_of("approvals")["build_agent"]())
    answer = await chat("threads.create", input=message("refund order 17"))
    form = items_of(answer)[-1]
    question, arguments = form["inputs"][0]["question"].split("\n")
    assert question in page("approvals")
    assert arguments in page("approvals")
    response = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
    ids = {"thread_id": thread_of(answer), "item_id": form["id"]}
    after = await chat("threads.add_structured_input", **ids, input=response)
    assert items_of(after)[-1]["content"][0]["text"] == "Done."


def test_the_pages_assistants_are_valid() -> None:
    agents = checked(agent_of("assistants")["AGENTS"])
    assert [agents[name].build_agent().name for name in agents] == ["Support", "Sales"]


async def test_the_pages_agents_hand_over_and_back() -> None:
    script = [
        [function_call("transfer_to_returns", "{}", call_id="to")],
        [assistant_message("Which order?")],
        [function_call("transfer_to_triage", "{}", call_id="back")],  # only the second agent has this tool
        [assistant_message("From 9 to 17.")],
    ]
    chat = full_app_without_files().chat(model=ScriptedModel(script), agent=agent_of("agent-handoffs")["build_agent"]())
    first = await chat("threads.create", input=message("I want to return socks"))
    assert items_of(first)[-1]["content"][0]["text"] == "Which order?"
    second = await chat("threads.add_user_message", thread_id=thread_of(first), input=message("When are you open?"))
    assert items_of(second)[-1]["content"][0]["text"] == "From 9 to 17."


async def test_the_pages_titles_are_shown() -> None:
    assistant = checked(agent_of("tool-activity")["AGENTS"])[""]
    script = [[function_call("lookup_order", '{"order_id": 17}', call_id="c")], [assistant_message("It is shipped.")]]
    chat = full_app_without_files().chat(
        model=ScriptedModel(script), build_agent=assistant.built, tool_titles=assistant.tool_titles
    )
    answer = await chat("threads.create", input=message("where is order 17?"))
    assert items_of(answer)[1]["workflow"]["summary"] == {"title": "Looking up your order"}


def test_the_page_names_the_limits_of_titles_and_details() -> None:
    assert f"a title of 1 to {TITLE_CHARS} characters" in page("tool-activity")
    assert f"up to {MOST_CHARS:,} characters each" in page("tool-activity")


def test_the_pages_optional_server_has_its_own_timeout() -> None:
    [server] = agent_of("mcp", number=1)["build_agent"]().mcp_servers
    assert (server.name, server.client_session_timeout_seconds) == ("warehouse", 60)
    assert getattr(server, mcp_servers.OPTIONAL)
    assert f"longer than {mcp_servers.CALL_S:.0f} seconds" in page("mcp")


def test_the_pages_mcp_server_is_recognized() -> None:
    servers = mcp_servers.servers_of(agent_of("mcp")["build_agent"]())
    assert [server.name for server in servers] == ["streamable_http: https://mcp.example.com/mcp"]
    assert f"within {mcp_servers.CONNECT_S:.0f} seconds" in page("mcp")
