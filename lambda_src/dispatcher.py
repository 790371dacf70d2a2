"""Builds the user's agent on first use, off the cold path. Knows neither threads nor HTTP."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lambda_src.actions import Actions
from lambda_src.assistants import BuildAgent

if TYPE_CHECKING:  # agents takes over a second to import on Lambda: a thread list must not pay for it
    from agents import Agent, RunConfig

BuildRunConfig = Callable[[], "RunConfig"]
BuildActions = Callable[[], Actions]


class AgentDispatcher:
    """Holds one agent, its actions and how it is run (which model, which key), once somebody asked for them."""

    def __init__(
        self, build_agent: BuildAgent, *, build_run_config: BuildRunConfig, build_actions: BuildActions = Actions
    ) -> None:
        self._build_agent, self._build_run_config, self._build_actions = build_agent, build_run_config, build_actions
        self._built: tuple[Agent[Any], RunConfig, Actions] | None = None
        self._building = asyncio.Lock()

    async def ensure_initialized(self) -> None:
        """Build what is not built yet, once for all who wait. What a builder raises is raised, and it is tried anew."""
        if self._built is None:
            async with self._building:
                if self._built is None:
                    self._built = await asyncio.to_thread(
                        lambda: (self._build_agent(), self._build_run_config(), self._build_actions())
                    )

    @property
    def agent(self) -> "Agent[Any]":
        """The agent. RuntimeError before ensure_initialized()."""
        return self._ready()[0]

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
