"""The server, loaded when a request needs the agent. What the store alone can answer is answered without it.

To load it is to import the Agents SDK and openai: two seconds on a small function, and most of its memory. It happens
once, in a thread, so that streams that run beside it go on.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from chatkit.types import ChatKitReq, NonStreamingReq, StreamingReq

from lambda_src.attachments.files import Upload
from lambda_src.chat.store_requests import Answers
from lambda_src.chat.validation import Checks
from lambda_src.context import RequestContext
from lambda_src.startup import flags

if TYPE_CHECKING:
    from lambda_src.chat.server import ChatServer


class LazyChatServer:
    """Answers every ChatKit request. `load` imports and builds the server, once; `prepare` builds its agent."""

    def __init__(
        self,
        load: "Callable[[], ChatServer]",
        prepare: Callable[[], Awaitable[None]],
        *,
        checks: Checks,
        answers: Answers,
    ) -> None:
        self._load, self._prepare, self._checks, self._answers = load, prepare, checks, answers
        self._server: ChatServer | None = None
        self._loading = asyncio.Lock()

    async def loaded(self) -> "ChatServer":
        """The server. What its loading raises is raised, and it is tried anew by the next one."""
        if self._server is None:
            async with self._loading:
                if self._server is None:
                    self._server = await asyncio.to_thread(_for_good, self._load)
        return self._server

    async def ready(self) -> None:
        """The server loaded and the user's agent built: what a message would wait for, but for keys and connections."""
        await self.loaded()
        await self._prepare()

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise what is wrong with a request before anything is written: see validation.py."""
        await self._checks.check(request, context)

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes:
        """ChatKit's JSON answer."""
        if flags.is_on("requests") and (answer := await self._answers.of(request, context)) is not None:
            return answer
        return await (await self.loaded()).answer(request, context)

    async def upload(self, file: Upload, context: RequestContext) -> bytes:
        """ChatKit's direct upload: the attachment as JSON, kept."""
        return await self._answers.upload(file, context)

    async def events(self, request: StreamingReq, context: RequestContext) -> AsyncIterator[bytes]:
        """ChatKit's events, encoded for a text/event-stream."""
        return await (await self.loaded()).events(request, context)


def _for_good(load: "Callable[[], ChatServer]") -> "ChatServer":
    """Load without the garbage collector: what is made stays, and looking through it meanwhile costs a tenth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return load()
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
