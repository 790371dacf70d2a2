"""MCP servers: connects them for one turn, logs failures, and lets optional ones be down. Knows the Agents SDK only.

A connection lasts one turn, never longer: Lambda freezes the process between turns, and open connections are dead when
it continues. So an agent with servers is built again for each turn (dispatcher.py), turns share no connections, and the
next turn retries a server that could not be reached. Each server has a task of its own that connects and closes it, as
the transport requires.

Tools are listed once, right after connecting. If a server fails later, the model gets the error of the call, and the
turn continues.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from chatkit.errors import CustomStreamError

from lambda_src.observability.faults import log_fault

if TYPE_CHECKING:
    import httpx2
    from agents import Agent, RunContextWrapper
    from agents.mcp import MCPServer

Server = TypeVar("Server", bound="MCPServer")

CONNECT_S = 5.0  # for all servers in parallel, then again for their lists of tools; the user waits meanwhile
CLOSE_S = 2.0  # after the answer; a server that does not respond is abandoned
CALL_S = 30.0  # for one request to a server; as long as we wait for a silent model
SDK_CALL_S = 5.0  # the SDK's default
UNREACHABLE = "A service that this assistant needs cannot be reached at the moment. Try again."
OPTIONAL = "_chat_optional"  # the attribute that marks an optional server
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@|[?#].*")


def optional(server: Server) -> Server:
    """Mark an MCP server as optional, and return it: while it is down, turns continue without its tools."""
    setattr(server, OPTIONAL, True)
    return server


def agents_of(agent: "Agent[Any]") -> "list[Agent[Any]]":
    """The agent and every agent that it can hand off to, directly or not, each once."""
    from agents import Agent, Handoff  # noqa: PLC0415 - off the cold path

    seen: list[Agent[Any]] = []
    waiting = [agent]
    while waiting:
        current = waiting.pop()
        if any(current is other for other in seen):
            continue
        seen.append(current)
        for handoff in current.handoffs:
            target: object = handoff
            if isinstance(handoff, Handoff):
                target = handoff._agent_ref() if handoff._agent_ref is not None else None  # no public attribute
            if isinstance(target, Agent):
                waiting.append(target)
    return seen


def servers_of(agent: "Agent[Any]") -> "list[MCPServer]":
    """The MCP servers of the agent and of every agent that it can hand off to, each once."""
    servers: list[MCPServer] = []
    for member in agents_of(agent):
        servers += [server for server in member.mcp_servers if server not in servers]
    return servers


@asynccontextmanager
async def connected(agent: "Agent[Any]") -> AsyncIterator[None]:
    """A context manager that connects the agent's servers, and removes optional ones that are down from the agent.

    Raises CustomStreamError if a required server is down; no server is connected then.
    """
    servers = servers_of(agent)
    if not servers:
        yield
        return
    from agents.mcp import MCPServerManager  # noqa: PLC0415 - loaded only when it is used

    statuses = {id(server): _prepared(server) for server in servers}
    manager = MCPServerManager(
        servers,
        connect_timeout_seconds=CONNECT_S,
        cleanup_timeout_seconds=CLOSE_S,
        connect_in_parallel=True,
        suppress_cancelled_error=False,
    )
    as_built = [(built, built.mcp_servers) for built in agents_of(agent)]
    async with manager:
        errors = {id(server): error for server, error in manager.errors.items()}
        names = await _listed([server for server in servers if id(server) not in errors], errors)
        _refuse_or_log(servers, errors, statuses)
        for built, own in as_built:
            built.mcp_servers = [server for server in own if id(server) not in errors]
            built.mcp_config = {"failure_error_function": _failed_call, **built.mcp_config}
            _tell_apart(built, names)
        try:
            yield
        finally:
            for built, own in as_built:
                built.mcp_servers = own


def _prepared(server: "MCPServer") -> list[int]:
    """Configure a server before it connects; returns a list that collects the HTTP statuses >= 400 of its responses.

    The MCP client does not report the status of a refused request, so its HTTP client records it.
    """
    from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp  # noqa: PLC0415 - off the cold path

    statuses: list[int] = []
    if not isinstance(server, MCPServerSse | MCPServerStdio | MCPServerStreamableHttp):
        return statuses
    server.cache_tools_list = True
    if server.client_session_timeout_seconds == SDK_CALL_S:
        server.client_session_timeout_seconds = CALL_S
    if not isinstance(server, MCPServerStreamableHttp):
        return statuses

    async def note(response: "httpx2.Response") -> None:
        if response.status_code >= 400:
            statuses.append(response.status_code)

    build = server.params.get("httpx_client_factory") or _http_client

    def build_watched(headers: Any = None, timeout: Any = None, auth: Any = None) -> Any:  # noqa: ANN401 - the SDK's own
        client = build(headers=headers, timeout=timeout, auth=auth)
        client.event_hooks.setdefault("response", []).insert(0, note)
        return client

    server.params = {**server.params, "httpx_client_factory": build_watched}
    return statuses


def _http_client(headers: Any = None, timeout: Any = None, auth: Any = None) -> "httpx2.AsyncClient":  # noqa: ANN401 - as above
    """The client that the SDK builds by default."""
    import httpx2  # noqa: PLC0415 - off the cold path

    return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, follow_redirects=False)


async def _listed(servers: "list[MCPServer]", errors: dict[int, BaseException]) -> dict[int, set[str]]:
    """The names of each server's tools, by the server's id; a server that does not list them is added to `errors`."""

    async def names_of(server: "MCPServer") -> set[str]:
        try:
            async with asyncio.timeout(CONNECT_S):
                tools = await server.list_tools()
        except Exception:
            if (cached := server.cached_tools) is None:  # it is there if only a filter failed, which needs the run
                raise
            tools = cached
        return {tool.name for tool in tools}

    results = await asyncio.gather(*map(names_of, servers), return_exceptions=True)
    names: dict[int, set[str]] = {}
    for server, result in zip(servers, results, strict=True):
        if isinstance(result, BaseException):
            errors[id(server)] = result
        else:
            names[id(server)] = result
    return names


def _refuse_or_log(
    servers: "list[MCPServer]", errors: dict[int, BaseException], statuses: dict[int, list[int]]
) -> None:
    """Log each server that is down. Raises CustomStreamError if a required one is."""
    failure: BaseException | None = None
    for server in servers:
        if (error := errors.get(id(server))) is None:
            continue
        is_optional = getattr(server, OPTIONAL, False)
        reason, kind = _reason(error, statuses[id(server)]), "optional" if is_optional else "required"
        log_fault("tool_server_failed", error, server=_log_name(server), reason=reason, kind=kind)
        failure = failure or (None if is_optional else error)
    if failure is not None:
        raise CustomStreamError(UNREACHABLE, allow_retry=True) from failure


def note_tool_error(tool: str, error: Exception, run_context: "RunContextWrapper[Any]") -> None:
    """Log a tool's exception, and record it in the turn."""
    from chatkit.agents import AgentContext  # noqa: PLC0415 - off the cold path

    log_fault("tool_failed", error, tool=tool)
    context = run_context.context
    if isinstance(context, AgentContext) and (turn := context.request_context.turn) is not None:
        turn.tool_errors.append(error)


def _failed_call(run_context: "RunContextWrapper[Any]", error: Exception) -> str:
    """The text that the model gets when an MCP tool fails, the same as for other tools; the SDK has a separate hook."""
    from agents import default_tool_error_function  # noqa: PLC0415 - off the cold path
    from agents.tool_context import ToolContext  # noqa: PLC0415 - as above

    tool = run_context.tool_name if isinstance(run_context, ToolContext) else "of an MCP server"
    note_tool_error(tool, error, run_context)
    return default_tool_error_function(run_context, error)


def _tell_apart(agent: "Agent[Any]", names: dict[int, set[str]]) -> None:
    """Prefix tool names with the server's name if two servers of the agent have tools of the same name."""
    counted = Counter(name for server in agent.mcp_servers for name in names[id(server)])
    if any(times > 1 for times in counted.values()):
        agent.mcp_config = {**agent.mcp_config, "include_server_in_tool_names": True}


def _log_name(server: "MCPServer") -> str:
    """The server's name. If it contains a URL, credentials and query are removed."""
    return CREDENTIALS.sub("", server.name) if "://" in server.name else server.name


def _reason(error: BaseException, statuses: list[int]) -> str:
    """The reason why a server is down, without any text from the server."""
    from agents.exceptions import UserError  # noqa: PLC0415 - off the cold path

    if statuses:
        return f"HTTP {statuses[-1]}"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case TimeoutError():
            return f"no answer within {CONNECT_S:g} s"
        case UserError():
            return "no connection"
        case _:
            return type(error).__qualname__
