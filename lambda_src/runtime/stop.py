"""Stops an invocation: cancels the app's task, once, and waits a limited time for its clean-up.

Deadline, broken answer and SIGTERM all use it. Knows no wire and no ASGI.
"""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

from lambda_src.runtime.errors import place_of

CLEAN_UP_S = 0.5  # what a cancelled app may still take: two DynamoDB writes at p99, and the end of its stream
DEADLINE_MARGIN_S = 0.75  # CLEAN_UP_S, then trailers to a slow front, then whatever the two clocks disagree

logger = logging.getLogger(__name__)


def seconds_to_run(remaining_s: float) -> float:
    """How long an invocation with `remaining_s` may run before it is stopped; half of it when the time-out is tiny."""
    return max(0.0, remaining_s - min(DEADLINE_MARGIN_S, remaining_s / 2))


class Stoppable:
    """Runs `work` as a task that can be stopped for a reason. The first reason counts; a second one changes nothing.

    The task runs at once up to its first wait: a quick answer needs no turn of the loop.
    """

    def __init__(self, work: Coroutine[Any, Any, None], *, clean_up_s: float = CLEAN_UP_S) -> None:
        self.reason: BaseException | None = None
        self._clean_up_s = clean_up_s
        self._patience: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._task = start_task(work)
        self._task.add_done_callback(lambda _: self._over.set())

    def stop(self, reason: BaseException) -> None:
        """Cancel the task and give it `clean_up_s` seconds. Nothing happens when it ended or was stopped before."""
        if self.reason is None and not self._task.done():
            self.reason = reason
            self._task.cancel()
            self._patience = asyncio.get_running_loop().call_later(self._clean_up_s, self._over.set)

    async def outcome(self) -> BaseException | None:
        """Wait for the end of the task, or of `clean_up_s`. None if the app ended without an error, stopped or not.

        A cancelled app, and one that ignores being cancelled, ended for the reason it was stopped.
        """
        if not self._task.done():
            await self._over.wait()
        if self._patience is not None:
            self._patience.cancel()
        if not self._task.done():
            fields = {
                "waited_s": self._clean_up_s,
                "error_type": type(self.reason).__qualname__,
                "stack": [place_of(frame, frame.f_lineno) for frame in self._task.get_stack()],
            }
            logger.error("runtime.cancellation_ignored", extra=fields)
            self._task.add_done_callback(_forget)
            return self.reason
        if self._task.cancelled():
            return self.reason or asyncio.CancelledError("the app cancelled itself")
        return self._task.exception()


if sys.version_info >= (3, 12):

    def start_task(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
else:

    def start_task(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(work)


def _forget(task: "asyncio.Task[None]") -> None:
    """Retrieve the late result, or asyncio would log that nobody did."""
    if not task.cancelled():
        task.exception()
