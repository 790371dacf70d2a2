"""The one way to stop an invocation: cancel the app's task, once, and wait for its clean-up, bounded.

Deadline, broken answer and SIGTERM all come through here. Knows no wire and no ASGI.
"""

import asyncio
import logging

CLEAN_UP_S = 0.5  # what a cancelled app may still take: two DynamoDB writes at p99, and the end of its stream
DEADLINE_MARGIN_S = 0.75  # CLEAN_UP_S, then trailers to a slow front, then whatever the two clocks disagree

logger = logging.getLogger(__name__)


def seconds_to_run(remaining_s: float) -> float:
    """How long an invocation with `remaining_s` may run before it is stopped; half of it when the time-out is tiny."""
    return max(0.0, remaining_s - min(DEADLINE_MARGIN_S, remaining_s / 2))


class Stoppable:
    """A task that can be stopped for a reason. The first reason counts; a second one changes nothing."""

    def __init__(self, task: "asyncio.Task[None]", *, clean_up_s: float = CLEAN_UP_S) -> None:
        self.reason: BaseException | None = None
        self._task = task
        self._clean_up_s = clean_up_s
        self._patience: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        task.add_done_callback(lambda _: self._over.set())

    def stop(self, reason: BaseException) -> None:
        """Cancel the task and give it `clean_up_s` seconds. Nothing happens when it ended or was stopped before."""
        if self.reason is None and not self._task.done():
            self.reason = reason
            self._task.cancel()
            self._patience = asyncio.get_running_loop().call_later(self._clean_up_s, self._over.set)

    async def outcome(self) -> BaseException | None:
        """Wait for the end of the task, or of our patience with it. None when the app ended well, stopped or not.

        A cancelled app, and one that ignores being cancelled, ended for the reason it was stopped.
        """
        await self._over.wait()
        if self._patience is not None:
            self._patience.cancel()
        if not self._task.done():
            logger.error("runtime.cancellation_ignored", extra={"waited_s": self._clean_up_s})
            self._task.add_done_callback(_forget)
            return self.reason
        if self._task.cancelled():
            return self.reason or asyncio.CancelledError("the app cancelled itself")
        return self._task.exception()


def _forget(task: "asyncio.Task[None]") -> None:
    """Take the late result, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
