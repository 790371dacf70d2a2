"""What the Handler setting may name, and how it is loaded. Knows no wire beyond `Reply`, and no ASGI."""

import asyncio
import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.errors import HandlerError
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


def load(name: str, *, concurrency: int = 1, buffered: bool = False) -> StreamingHandler:
    """The handler that `name` names: `package.module.name`, or `module:app` for any ASGI app.

    HandlerError with the type that AWS's own runtime reports; what the module itself raises comes through as it is,
    an ImportError and a SyntaxError too.
    """
    module_name, separator, attribute = name.rpartition(":" if ":" in name else ".")
    if not module_name or not attribute:
        raise HandlerError(
            "Runtime.MalformedHandlerName", f"Handler {name!r} is not package.module.name or module:app."
        )
    module = importlib.import_module(module_name.replace("/", "."))
    try:
        found = getattr(module, attribute)
    except AttributeError as fault:
        text = f"Handler {attribute!r} is missing in module {module_name!r}."
        raise HandlerError("Runtime.HandlerNotFound", text) from fault
    if separator == ":":
        from lambda_src.runtime.adapter import StreamingMangum  # noqa: PLC0415 - a plain function needs no Mangum

        found = StreamingMangum(found)
    if isinstance(found, StreamingHandler) and not buffered:
        return found
    if callable(found):
        return BufferedHandler(found, concurrency=concurrency)
    raise HandlerError("Runtime.HandlerNotFound", f"Handler {name!r} cannot be called: it is {type(found).__name__}.")


def kind_of(error: BaseException) -> str | None:
    """The type that AWS's own runtime reports for an error while a handler is loaded; None for the exception's own."""
    match error:
        case HandlerError():
            return error.kind
        case ImportError():
            return "Runtime.ImportModuleError"
        case SyntaxError():
            return "Runtime.UserCodeSyntaxError"
        case _:
            return None
