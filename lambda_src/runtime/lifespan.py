"""ASGI lifespan, once per process: startup before the first invocation, shutdown when the sandbox says it ends.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html. Knows no Lambda.
"""

import asyncio
import logging
from typing import Any, Literal

from lambda_src.runtime.asgi import App, Message
from lambda_src.runtime.errors import LifespanError

logger = logging.getLogger(__name__)


class Lifespan:
    """Mode "on": the app must take part. "auto": an app that raises at the first message has no lifespan. "off"."""

    def __init__(self, app: App, mode: Literal["auto", "on", "off"]) -> None:
        self.state: dict[str, Any] = {}  # what the app put there; each request gets a shallow copy
        self._app = app
        self._mode = mode
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Run the app up to startup.complete. Raises what the app raised, or LifespanError, when it does not start."""
        if self._mode == "off":
            return
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.get_running_loop().create_task(self._run(scope))
        answer = await self._ask("lifespan.startup")
        if answer is None:  # the app returned or raised without a response
            task, self._task = self._task, None
            error = task.exception()
            if self._mode == "on":
                raise error or LifespanError("The app ended without an answer to lifespan.startup.")
            logger.info("runtime.no_lifespan", extra={"error_type": type(error).__name__ if error else None})
        elif answer["type"] == "lifespan.startup.failed":
            task, self._task = self._task, None
            await asyncio.wait({task}, timeout=1)  # frameworks report the failure, then raise its cause: we want that
            error = task.exception() if task.done() and not task.cancelled() else None
            raise error or LifespanError(f"The app failed to start: {answer.get('message', '')}")

    async def shutdown(self) -> None:
        """Run the app's shutdown, and log a failure of it."""
        if self._task is None:
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is None or answer["type"] == "lifespan.shutdown.failed":
            logger.error("runtime.lifespan_shutdown_failed", extra={"detail": (answer or {}).get("message")})

    async def _run(self, scope: dict[str, Any]) -> None:
        await self._app(scope, self._inbox.get, self._outbox.put)

    async def _ask(self, kind: str) -> Message | None:
        """Send one message, and return the app's response to it, or None if the app ended instead."""
        assert self._task is not None
        self._inbox.put_nowait({"type": kind})
        answer = asyncio.get_running_loop().create_task(self._outbox.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None
