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
class Desk:
    """One assistant at work."""

    server: Chat
    turns: Turns


class Desks:
    """Desks of the assistants with a name: `load` knows them, `open_desk` makes a desk for one of them."""

    def __init__(self, load: LoadAssistants, open_desk: Callable[[Assistant], Desk]) -> None:
        self._load, self._open = load, open_desk
        self._assistants: Assistants | None = None
        self._desks: dict[str, Desk] = {}
        self._loading = asyncio.Lock()

    async def at(self, name: str) -> Desk:
        """The desk of one assistant, made once a process; NoAssistantError."""
        async with self._loading:
            if self._assistants is None:
                try:
                    self._assistants = await asyncio.to_thread(self._load)  # the folder agent/, and agents with it
                except Exception as error:
                    log_fault("agent_not_loaded", error)
                    raise
            if name not in self._assistants:
                raise no_assistant()
            if name not in self._desks:
                self._desks[name] = self._open(self._assistants[name])
        return self._desks[name]


def no_assistant() -> NoAssistantError:
    """What is said for a name that nobody has."""
    return NoAssistantError("There is no assistant of this name here.")
