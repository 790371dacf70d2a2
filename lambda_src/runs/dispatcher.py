"""Builds the user's agent and its run config lazily, on first use. Knows neither threads nor HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_src.runs import mcp_servers
from lambda_src.runs.assistants import BuildAgent, ToolTitles
from lambda_src.runs.widget_actions import Actions

if TYPE_CHECKING:  # agents takes over a second to import on Lambda: a thread list must not pay for it
    from agents import Agent, RunConfig


@dataclass(frozen=True, slots=True)
class Provisional:
    """A run config that is valid for `good_for_s` seconds only, and is then built again."""

    run_config: "RunConfig"
    good_for_s: float


BuildRunConfig = Callable[[], "RunConfig | Provisional"]
BuildActions = Callable[[], Actions]
ReadToolTitles = Callable[[], ToolTitles]


class AgentDispatcher:
    """Holds one agent, its actions and its run config (model and key), and builds them on first use."""

    def __init__(
        self,
        build_agent: BuildAgent,
        *,
        build_run_config: BuildRunConfig,
        build_actions: BuildActions = Actions,
        tool_titles: ReadToolTitles = dict,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build_agent, self._build_run_config, self._build_actions = build_agent, build_run_config, build_actions
        self._read_tool_titles, self._now = tool_titles, now
        self._prepared: tuple[Agent[Any], Actions] | None = None
        self._tool_titles: ToolTitles = {}
        self._built: tuple[Agent[Any], RunConfig, Actions] | None = None
        self._good_until_s = float("inf")
        self._building = asyncio.Lock()

    async def ensure_initialized(self) -> None:
        """Build what is not built yet, once for all who wait. A builder's error is raised; the next call retries."""
        if self._is_good():
            return
        async with self._building:
            if not self._is_good():
                self._built = await asyncio.to_thread(self._build)

    async def prepare(self) -> None:
        """Build agent and actions, but no run config: it may hold a key, which must not get into a snapshot."""
        async with self._building:
            await asyncio.to_thread(self._prepare)

    def _is_good(self) -> bool:
        return self._built is not None and self._now() < self._good_until_s

    def _build(self) -> "tuple[Agent[Any], RunConfig, Actions]":
        """Reuse agent and actions, and build the run config."""
        agent, actions = self._prepare()
        match self._build_run_config():
            case Provisional(run_config, good_for_s):
                self._good_until_s = self._now() + good_for_s
            case run_config:
                self._good_until_s = float("inf")
        return agent, run_config, actions

    def _prepare(self) -> "tuple[Agent[Any], Actions]":
        if self._prepared is None:
            self._tool_titles = self._read_tool_titles()
            self._prepared = (self._build_agent(), self._build_actions())
        return self._prepared

    @property
    def agent(self) -> "Agent[Any]":
        """The agent. Raises RuntimeError before ensure_initialized()."""
        return self._ready()[0]

    @asynccontextmanager
    async def at_work(self) -> "AsyncIterator[Agent[Any]]":
        """The agent for one turn. An agent with MCP servers is built again, and its servers are connected.

        Raises RuntimeError before ensure_initialized(), CustomStreamError if a required server is down.
        """
        agent = self.agent
        if mcp_servers.servers_of(agent):
            agent = await asyncio.to_thread(self._build_agent)
        async with mcp_servers.connected(agent):
            yield agent

    @property
    def run_config(self) -> "RunConfig":
        """The run config for Runner. Raises RuntimeError before ensure_initialized()."""
        return self._ready()[1]

    @property
    def actions(self) -> Actions:
        """The agent's widget actions. Raises RuntimeError before ensure_initialized()."""
        return self._ready()[2]

    @property
    def tool_titles(self) -> ToolTitles:
        """The agent's tool titles; none before ensure_initialized()."""
        return self._tool_titles

    def _ready(self) -> "tuple[Agent[Any], RunConfig, Actions]":
        if self._built is None:
            raise RuntimeError("await ensure_initialized() first: the agent is built on first use")
        return self._built
