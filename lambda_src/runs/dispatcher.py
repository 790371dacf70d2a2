"""Builds the user's agent on first use, off the cold path. Knows neither threads nor HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_src.runs import mcp_servers
from lambda_src.runs.assistants import BuildAgent
from lambda_src.runs.widget_actions import Actions

if TYPE_CHECKING:  # agents takes over a second to import on Lambda: a thread list must not pay for it
    from agents import Agent, RunConfig


@dataclass(frozen=True, slots=True)
class Provisional:
    """How to run the agent for now: whoever builds it is asked again after `good_for_s` seconds."""

    run_config: "RunConfig"
    good_for_s: float


BuildRunConfig = Callable[[], "RunConfig | Provisional"]
BuildActions = Callable[[], Actions]


class AgentDispatcher:
    """Holds one agent, its actions and how it is run (which model, which key), once somebody asked for them."""

    def __init__(
        self,
        build_agent: BuildAgent,
        *,
        build_run_config: BuildRunConfig,
        build_actions: BuildActions = Actions,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build_agent, self._build_run_config, self._build_actions = build_agent, build_run_config, build_actions
        self._now = now
        self._prepared: tuple[Agent[Any], Actions] | None = None
        self._built: tuple[Agent[Any], RunConfig, Actions] | None = None
        self._good_until_s = float("inf")
        self._building = asyncio.Lock()

    async def ensure_initialized(self) -> None:
        """Build what is not built yet, once for all who wait. What a builder raises is raised, and it is tried anew."""
        if self._is_good():
            return
        async with self._building:
            if not self._is_good():
                self._built = await asyncio.to_thread(self._build)

    async def prepare(self) -> None:
        """Build agent and actions, not how they are run: that may ask for a key, which no snapshot should hold."""
        async with self._building:
            await asyncio.to_thread(self._prepare)

    def _is_good(self) -> bool:
        return self._built is not None and self._now() < self._good_until_s

    def _build(self) -> "tuple[Agent[Any], RunConfig, Actions]":
        """What was built stays, but for a run config that was good for a while only."""
        agent, actions = self._prepare()
        match self._build_run_config():
            case Provisional(run_config, good_for_s):
                self._good_until_s = self._now() + good_for_s
            case run_config:
                self._good_until_s = float("inf")
        return agent, run_config, actions

    def _prepare(self) -> "tuple[Agent[Any], Actions]":
        if self._prepared is None:
            self._prepared = (self._build_agent(), self._build_actions())
        return self._prepared

    @property
    def agent(self) -> "Agent[Any]":
        """The agent. RuntimeError before ensure_initialized()."""
        return self._ready()[0]

    @asynccontextmanager
    async def at_work(self) -> "AsyncIterator[Agent[Any]]":
        """The agent for one turn; one that has MCP servers is a new one, with its servers connected.

        RuntimeError before ensure_initialized(); CustomStreamError: a server that it needs is down.
        """
        agent = self.agent
        if mcp_servers.servers_of(agent):
            agent = await asyncio.to_thread(self._build_agent)
        async with mcp_servers.connected(agent):
            yield agent

    @property
    def run_config(self) -> "RunConfig":
        """How Runner is to run it. RuntimeError before ensure_initialized()."""
        return self._ready()[1]

    @property
    def actions(self) -> Actions:
        """What the agent's widgets can do. RuntimeError before ensure_initialized()."""
        return self._ready()[2]

    def _ready(self) -> "tuple[Agent[Any], RunConfig, Actions]":
        if self._built is None:
            raise RuntimeError("await ensure_initialized() first: the agent is built on first use")
        return self._built
