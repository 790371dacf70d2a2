"""Runs a Worker with a handler in this process against a scripted Runtime API, with a clock set by the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from lambda_src.runtime.adapter import StreamingMangum
from lambda_src.runtime.asgi import App
from lambda_src.runtime.client import RuntimeClient
from lambda_src.runtime.environment import Environment
from lambda_src.runtime.errors import RuntimeApiError
from lambda_src.runtime.handler import StreamingHandler
from lambda_src.runtime.worker import Worker
from tests.runtime.scripted_api import ScriptedApi, scripted_api

ENVIRONMENT = Environment(api="", handler="", function_name="f", memory_mb=512)
LONG_S = 60.0  # never waited for; it only has to outlast the test


async def no_pause(seconds: float) -> None:
    """Replaces the wait between attempts."""


@contextlib.asynccontextmanager
async def serving(
    app: App | StreamingHandler, *, clients: int = 1, now_s: float = 0.0, clean_up_s: float = LONG_S
) -> AsyncIterator[tuple[ScriptedApi, Worker]]:
    """Serve `app` on `clients` connections, with the clock at `now_s`. Scripted invocations have a deadline of 10 s."""
    handler = app if isinstance(app, StreamingHandler) else StreamingMangum(app)
    async with scripted_api() as api:
        worker = Worker(handler, ENVIRONMENT, clock=lambda: now_s, clean_up_s=clean_up_s)
        running = asyncio.gather(worker.run([RuntimeClient(api.address, pause=no_pause) for _ in range(clients)]))
        try:
            yield api, worker
        finally:
            worker.end()
            with contextlib.suppress(OSError, RuntimeApiError):  # when the test takes the Runtime API away
                await running
