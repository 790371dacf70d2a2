"""The registry of assistants: the server and the turns of each, built when a request first names it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.errors import NoAssistantError
from lambda_src.observability.faults import log_fault
from lambda_src.runs.assistants import Assistant, Assistants, LoadAssistants
from lambda_src.turns.lifecycle import Turns


@dataclass(frozen=True, slots=True)
class AssistantEndpoint:
    """The server and the turns of one assistant."""

    server: LazyChatServer
    turns: Turns


class AssistantRegistry:
    """Endpoints of the named assistants: `load` returns the assistants, `open_endpoint` builds the endpoint of one."""

    def __init__(self, load: LoadAssistants, open_endpoint: Callable[[Assistant], AssistantEndpoint]) -> None:
        self._load, self._open = load, open_endpoint
        self._assistants: Assistants | None = None
        self._endpoints: dict[str, AssistantEndpoint] = {}
        self._loading = asyncio.Lock()

    async def get(self, name: str) -> AssistantEndpoint:
        """The endpoint of one assistant, built once per process. NoAssistantError if no assistant has this name."""
        async with self._loading:
            if self._assistants is None:
                try:
                    self._assistants = await asyncio.to_thread(self._load)  # imports agent/
                except Exception as error:
                    log_fault("agent_not_loaded", error)
                    raise
            if name not in self._assistants:
                raise no_assistant()
            if name not in self._endpoints:
                self._endpoints[name] = self._open(self._assistants[name])
        return self._endpoints[name]


def no_assistant() -> NoAssistantError:
    """The error for a name that no assistant has."""
    return NoAssistantError("There is no assistant with this name.")
