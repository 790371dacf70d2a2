"""StreamingMangum: Mangum, answering message by message instead of in one piece. The only module that knows Mangum.

Mangum reads the event (API Gateway 1.0 and 2.0, function URL, ALB, Lambda@Edge) into an ASGI scope; the answer leaves
through our own cycle. Called as a plain `handler(event, context)` it is exactly Mangum.
"""

import asyncio
import json
import weakref
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from mangum import Mangum
from mangum.types import LambdaHandler, LifespanMode

from lambda_src.runtime.asgi import App, Scope
from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.cycle import SPEC_VERSION, HttpCycle
from lambda_src.runtime.errors import EventError, UnknownEventError
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.lifespan import Lifespan
from lambda_src.runtime.reply import Reply

JsonObject = dict[str, Any]
_PRINTABLE = bytes(range(0x21, 0x7F)).decode()  # what a path may hold as it is, `%` included
OnEvent = Callable[[JsonObject, LambdaContext], Awaitable[object]]


class StreamingMangum(Mangum, StreamingHandler):
    """The handler for an ASGI app: `handler = StreamingMangum(app)`.

    `on_event(event, context)` answers events that are no HTTP request, with a value that JSON can hold; without it they
    are an UnknownEventError.
    """

    def __init__(self, app: App, lifespan: LifespanMode = "auto", *, on_event: OnEvent | None = None) -> None:
        super().__init__(app, lifespan)  # type: ignore[arg-type]  # Mangum's protocol wants a coroutine function
        self._on_event = on_event
        self._lifespan = Lifespan(app, lifespan)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, event: JsonObject, context: Any) -> Any:  # noqa: ANN401 - as Mangum's
        """Answer a buffered invoke, as Mangum does; lifespan runs around every call."""
        if self._loop is None:  # Mangum asks for the thread's current loop, which Python 3.12 no longer makes by itself
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        asyncio.set_event_loop(self._loop)
        if self._http(event, context) is not None:
            return super().__call__(event, context)
        return self._loop.run_until_complete(self._answer_other(event, context))

    async def startup(self) -> None:
        await self._lifespan.startup()

    async def shutdown(self) -> None:
        await self._lifespan.shutdown()

    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:  # noqa: ANN401 - JSON's edge
        """Answer an HTTP event as a stream, any other one through `on_event`, buffered."""
        if (request := self._http(event, context)) is None:
            await reply.buffered(json.dumps(await self._answer_other(event, context)).encode())
            return
        scope, body = self._scope_and_body(request, event)
        await HttpCycle(scope, body, reply).run(self._app)

    def _setup_event_loop(self) -> None:
        """Do nothing: Mangum would create a loop here, but the runtime has one, and `__call__` creates its own."""

    def _http(self, event: Any, context: Any) -> LambdaHandler | None:  # noqa: ANN401 - JSON's edge
        """Mangum's reader for an HTTP event; None for any other event."""
        if not isinstance(event, dict):
            return None
        try:
            return self.infer(event, context)
        except (RuntimeError, LookupError, TypeError, AttributeError):  # raised by Mangum for an event that is not HTTP
            return None

    async def _answer_other(self, event: Any, context: Any) -> object:  # noqa: ANN401 - JSON's edge
        if self._on_event is not None and isinstance(event, dict):
            return await self._on_event(event, context)
        keys = ", ".join(sorted(map(str, event))) if isinstance(event, dict) else f"a JSON {type(event).__name__}"
        raise UnknownEventError(f"This event is not an HTTP request of a function URL, API Gateway or ALB: {keys}.")

    def _scope_and_body(self, request: LambdaHandler, event: JsonObject) -> tuple[Scope, bytes]:
        """The ASGI scope and the body of an HTTP event. EventError says which part cannot be read."""
        try:
            scope = request.scope
            body = request.body
            if event.get("isBase64Encoded"):
                body = b64decode(event.get("body") or "", validate=True)  # Mangum's drops what is not base64
        except (LookupError, TypeError, ValueError, AttributeError) as fault:
            raise EventError(f"The HTTP event cannot be read: {type(fault).__name__}.") from fault
        raw_path = str(event.get("rawPath") or event.get("path") or scope["path"])
        scope["raw_path"] = quote(raw_path, safe=_PRINTABLE, errors="surrogatepass").encode()  # the app validates it
        scope["asgi"] = {"version": "3.0", "spec_version": SPEC_VERSION}
        scope["state"] = self._lifespan.state.copy()
        return scope, body
