"""Answers ChatKit requests, and imports the server with the Agents SDK when the first request needs the agent.

The import takes two seconds in a small function, and most of its memory. It happens once, in a thread, so that streams
beside it continue. Validation and requests that need the store alone never wait for it.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from chatkit.types import AttachmentsCreateReq, AttachmentsDeleteReq, ChatKitReq, NonStreamingReq, StreamingReq

from lambda_src.attachments.files import Upload
from lambda_src.attachments.presigned_urls import PresignedUrls
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.context import RequestContext
from lambda_src.startup import flags

if TYPE_CHECKING:
    from lambda_src.chat.server import ChatServer


class LazyChatServer:
    """Answers all ChatKit requests. `load` imports and builds the server, once; `prepare` builds its agent."""

    def __init__(
        self,
        load: "Callable[[], ChatServer]",
        prepare: Callable[[], Awaitable[None]],
        *,
        checks: Checks,
        store_requests: StoreRequests,
    ) -> None:
        self._load, self._prepare, self._checks, self._store_requests = load, prepare, checks, store_requests
        self._urls = None if store_requests.files is None else PresignedUrls(store_requests.files)
        self._server: ChatServer | None = None
        self._loading = asyncio.Lock()

    async def loaded(self) -> "ChatServer":
        """The server. An error of `load` is raised, and the next request tries again."""
        if self._server is None:
            async with self._loading:
                if self._server is None:
                    self._server = await asyncio.to_thread(self._load)
        return self._server

    async def ready(self) -> None:
        """Load the server and build the user's agent: everything a message waits for except keys and connections."""
        await self.loaded()
        await self._prepare()

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise if a request is invalid, before anything is written: see validation.py."""
        await self._checks.check(request, context)

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes:
        """The JSON response."""
        answer = None
        if flags.is_on("requests") or isinstance(request, AttachmentsCreateReq | AttachmentsDeleteReq):
            answer = await self._store_requests.answer(request, context)
        if answer is None:
            answer = await (await self.loaded()).answer(request, context)
        return self._with_urls(answer, context)

    async def upload(self, file: Upload, context: RequestContext) -> bytes:
        """Store a file that was uploaded to this server, and return its attachment as JSON."""
        return self._with_urls(await self._store_requests.upload(file, context), context)

    async def file_url(self, attachment_id: str, context: RequestContext) -> str:
        """A short-lived URL that opens a file of a message. NotFoundError if it is missing or another user's."""
        return await self._store_requests.file_url(attachment_id, context)

    async def events(self, request: StreamingReq, context: RequestContext) -> AsyncIterator[bytes]:
        """The events, encoded for a text/event-stream."""
        return await (await self.loaded()).events(request, context)

    def _with_urls(self, answer: bytes, context: RequestContext) -> bytes:
        return answer if self._urls is None else self._urls.in_answer(answer, context)


def without_collector(load: "Callable[[], ChatServer]") -> "ChatServer":
    """Load without the garbage collector: the new objects stay, and scanning them costs a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return load()
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
