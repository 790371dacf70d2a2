"""MCP servers over HTTP, connected for one turn. Knows the agents SDK; no thread, no HTTP of ours.

A connection lives as long as a turn, never as long as the process: Lambda freezes a process between turns, and what
was connected then is dead, or somebody else's, when it thaws. So an agent that has servers is built anew for each turn
(dispatcher.py), and no two turns share a connection. Each server has a task of its own that connects and closes it, as
the transport demands.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from chatkit.errors import CustomStreamError

if TYPE_CHECKING:
    from agents import Agent
    from agents.mcp import MCPServer

CONNECT_S = 5.0  # all servers at once; a person waits for the first word meanwhile
CLOSE_S = 2.0  # after the last word; a server that does not answer is left behind
UNREACHABLE = "A service that this assistant needs cannot be reached at the moment. Try again."


def servers_of(agent: "Agent[Any]") -> "list[MCPServer]":
    """The MCP servers of the agent and of all that it may hand over to, each once."""
    found: list[MCPServer] = []
    for one in agents_of(agent):
        found += [server for server in one.mcp_servers if server not in found]
    return found


def agents_of(agent: "Agent[Any]") -> "list[Agent[Any]]":
    """The agent and all that it may hand over to, each once."""
    from agents import Agent, Handoff  # noqa: PLC0415 - off the cold path

    seen: list[Agent[Any]] = []
    waiting = [agent]
    while waiting:
        one = waiting.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        for handoff in one.handoffs:
            target: object = handoff
            if isinstance(handoff, Handoff):
                target = handoff._agent_ref() if handoff._agent_ref is not None else None  # the SDK has no public way
            if isinstance(target, Agent):
                waiting.append(target)
    return seen


@asynccontextmanager
async def connected(servers: "list[MCPServer]") -> AsyncIterator[None]:
    """All of `servers`, while this is entered. CustomStreamError: one of them cannot be reached; none is then."""
    if not servers:
        yield
        return
    from agents.mcp import MCPServerManager  # noqa: PLC0415 - only what is used is loaded

    manager = MCPServerManager(
        servers,
        connect_timeout_seconds=CONNECT_S,
        cleanup_timeout_seconds=CLOSE_S,
        connect_in_parallel=True,
        suppress_cancelled_error=False,
    )
    async with manager:
        if failed := manager.failed_servers:
            raise CustomStreamError(UNREACHABLE, allow_retry=True) from manager.errors[failed[0]]
        yield
