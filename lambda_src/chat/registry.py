"""Where each assistant is served: its server and its turns, made when somebody first asks for it by name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from chatkit.types import ChatKitReq, NonStreamingReq, StreamingReq

from lambda_src.attachments.files import Upload
from lambda_src.context import RequestContext
from lambda_src.errors import NoAssistantError
from lambda_src.observability.faults import log_fault
from lambda_src.runs.assistants import Assistant, Assistants, LoadAssistants
from lambda_src.turns.lifecycle import Turns


class Chat(Protocol):
    """What answers ChatKit's requests: the server, or what loads it late."""

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise what is wrong with a request before anything is written."""
        ...

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes:
        """The JSON answer."""
        ...

    async def upload(self, file: Upload, context: RequestContext) -> bytes:
        """A file that came straight to us, kept: its attachment as JSON."""
        ...

    async def events(self, request: StreamingReq, context: RequestContext) -> AsyncIterator[bytes]:
        """The events, encoded for a text/event-stream."""
        ...


@dataclass(frozen=True, slots=True)
class AssistantEndpoint:
    """One assistant at work."""

    server: Chat
    turns: Turns


class AssistantRegistry:
    """Endpoints of the named assistants: `load` returns the assistants, `open_endpoint` builds the endpoint of one."""

    def __init__(self, load: LoadAssistants, open_endpoint: Callable[[Assistant], AssistantEndpoint]) -> None:
        self._load, self._open = load, open_endpoint
        self._assistants: Assistants | None = None
        self._endpoints: dict[str, AssistantEndpoint] = {}
        self._loading = asyncio.Lock()

    async def get(self, name: str) -> AssistantEndpoint:
        """The endpoint of one assistant, made once a process; NoAssistantError."""
        async with self._loading:
            if self._assistants is None:
                try:
                    self._assistants = await asyncio.to_thread(self._load)  # the folder agent/, and agents with it
                except Exception as error:
                    log_fault("agent_not_loaded", error)
                    raise
            if name not in self._assistants:
                raise no_assistant()
            if name not in self._endpoints:
                self._endpoints[name] = self._open(self._assistants[name])
        return self._endpoints[name]


def no_assistant() -> NoAssistantError:
    """What is said for a name that nobody has."""
    return NoAssistantError("There is no assistant of this name here.")
