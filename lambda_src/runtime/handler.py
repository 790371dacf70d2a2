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
    after a stop its result is thrown away.
    """

    def __init__(self, function: Callable[[Any, LambdaContext], object], *, concurrency: int) -> None:
        self._function = function
        self._threads = ThreadPoolExecutor(concurrency, "handler", initializer=self._give_loop)
        self._loops: list[asyncio.AbstractEventLoop] = []

    async def shutdown(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for loop in self._loops:
            loop.close()

    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:  # noqa: ANN401 - JSON's edge
        call = copy_context().run
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, call, self._function, event, context)
        await reply.buffered(json.dumps(result, separators=(",", ":")).encode())

    def _give_loop(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loops.append(loop)
