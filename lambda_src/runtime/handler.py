"""What answers invocations: a handler that writes its own answer, or any function. Knows no ASGI, and `Reply` only."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.reply import Reply


class StreamingHandler(ABC):
    """A handler that writes its own answer. Anything else that can be called is answered buffered, as JSON."""

    async def startup(self) -> None:  # noqa: B027 - a handler without a lifespan has nothing to do
        """Once per process, before the first invocation. What it raises becomes an init error."""

    async def shutdown(self) -> None:  # noqa: B027 - as above
        """Once per process, when the sandbox says that it ends (it seldom does)."""

    @abstractmethod
    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:  # noqa: ANN401 - JSON's edge
        """Answer `event` (decoded JSON) on `reply`. What it raises becomes an error, or trailers once bytes are out.

        It is cancelled, once, when the deadline is near, the answer is not taken any more, or the process must end.
        """


class BufferedHandler(StreamingHandler):
    """A plain `handler(event, context)`: runs in a thread, so that a handler with a loop of its own (Mangum) works.

    At most `concurrency` run at a time, each in a thread that keeps its event loop. A thread cannot be cancelled:
    after a stop its result is thrown away, and later invocations have other threads, for as long as it takes.
    """

    def __init__(self, function: Callable[[Any, LambdaContext], object], *, concurrency: int) -> None:
        self._function = function
        self._concurrency = concurrency
        self._loops: list[asyncio.AbstractEventLoop] = []
        self._threads = self._pool()

    async def shutdown(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for loop in self._loops:
            if not loop.is_running():  # a lost thread's may be
                loop.close()

    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:  # noqa: ANN401 - JSON's edge
        call = self._threads.submit(copy_context().run, self._function, event, context)
        try:
            result = await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            if call.running():  # its thread is lost to us: the next invocation must not wait for it
                self._threads.shutdown(wait=False)
                self._threads = self._pool()
            raise
        await reply.buffered(json.dumps(result, separators=(",", ":")).encode())

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._concurrency, "handler", initializer=self._give_loop)

    def _give_loop(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loops.append(loop)
