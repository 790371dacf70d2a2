"""A possible successor of lambda_src/runtime/ once AWS has a native streaming runtime for Python. Not a test.

`StreamingMangum.stream` is all that would remain of the folder: it returns the ASGI response as an async generator.
`main` stands in for the native runtime, which does not exist yet, and talks to the Runtime API in its place.
tests/dev/test_deletable.py replaces the folder with this file and runs the other tests with it.
"""

import asyncio
import contextlib
import functools
import http.client
import importlib
import json
import os
import threading
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from mangum import Mangum
from mangum.protocols import LifespanCycle

from lambda_src.runtime.protocol import (
    INIT_ERROR_PATH,
    NEXT_PATH,
    ErrorReport,
    Invocation,
    Prelude,
    response_path,
    streaming_headers,
)


class StreamingMangum(Mangum):
    def __init__(self, app: Any, lifespan: Any = "auto", *, on_event: Any = None) -> None:
        super().__init__(app, lifespan)
        self._on_event, self.state = on_event, dict[str, Any]()

    def __call__(self, event: Any, context: Any) -> Any:
        """Handles a buffered invocation."""
        if "requestContext" in event:
            return super().__call__(event, context)
        return asyncio.get_event_loop().run_until_complete(self._on_event(event, context))

    async def stream(self, event: Any, context: Any) -> AsyncIterator[bytes]:
        """Yields the prelude, then each part of the body as the app sends it."""
        if "requestContext" not in event:
            yield Prelude().encode() + json.dumps(await self._on_event(event, context)).encode()
            return
        request, messages = self.infer(event, context), asyncio.Queue[Any]()
        bodies = [{"type": "http.request", "body": request.body}]

        async def receive() -> Any:
            return bodies.pop() if bodies else await asyncio.Event().wait()

        scope = {**request.scope, "asgi": {"version": "3.0", "spec_version": "2.4"}, "state": self.state.copy()}
        task = asyncio.ensure_future(self.app(scope, receive, messages.put))
        task.add_done_callback(lambda _: messages.put_nowait(None))
        padding = b"\n"  # a function URL requires at least one byte
        while (message := await messages.get()) is not None:
            if message["type"] == "http.response.start":
                yield Prelude.from_asgi(message["status"], message["headers"]).encode()
            elif body := message.get("body"):
                yield body
                padding = b""
        task.result()
        if padding:
            yield padding


def main() -> None:
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    try:
        handler: StreamingMangum = getattr(importlib.import_module(module), name)
    except Exception as error:
        report = ErrorReport(kind="Runtime.Unknown", name=type(error).__name__, message=str(error))
        api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        api.request("POST", INIT_ERROR_PATH, report.encode(), dict(report.headers()))
        raise SystemExit(1) from error
    lifespan = LifespanCycle(handler.app, handler.lifespan)
    lifespan.__enter__()
    handler.state = lifespan.lifespan_state
    for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))):
        threading.Thread(target=_serve, args=(handler, loop), daemon=True).start()
    loop.run_forever()


def _serve(handler: StreamingMangum, loop: asyncio.AbstractEventLoop) -> None:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    with contextlib.suppress(OSError, http.client.HTTPException):  # the sandbox has ended
        _serve_all(api, handler, loop)
    loop.call_soon_threadsafe(loop.stop)


def _serve_all(api: http.client.HTTPConnection, handler: StreamingMangum, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        api.request("GET", NEXT_PATH)
        response = api.getresponse()
        invocation = Invocation.from_response({k.lower(): v for k, v in response.getheaders()}, response.read())
        left_ms = functools.partial(lambda deadline_ms: deadline_ms - int(time.time() * 1000), invocation.deadline_ms)
        version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        context = SimpleNamespace(
            aws_request_id=invocation.request_id, function_version=version, get_remaining_time_in_millis=left_ms
        )
        stream = handler.stream(json.loads(invocation.event), context)
        chunks = iter(functools.partial(_next_chunk, loop, stream), None)
        headers = dict(streaming_headers(invocation.invocation_id))
        api.request("POST", response_path(invocation.request_id), chunks, headers, encode_chunked=True)
        api.getresponse().read()


def _next_chunk(loop: asyncio.AbstractEventLoop, stream: AsyncIterator[bytes]) -> bytes | None:
    async def next_chunk() -> bytes | None:
        return await anext(stream, None)

    return asyncio.run_coroutine_threadsafe(next_chunk(), loop).result()
