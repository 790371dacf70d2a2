"""Scheduled events: `{"chat": "sweep"}` every hour, `{"chat": "clock"}` every minute in a stage with operators,
`{"chat": "health"}` from a monitor. No HTTP requests.

Also decides how long a sweep may run. Knows neither HTTP nor the store's rows.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from lambda_src.context import RequestContext
from lambda_src.errors import RequestError
from lambda_src.store.ports import Sweeps

AFTER_A_DELETE_S = 5.0  # how long a delete may sweep in its own invocation; the hourly event does the rest
CLOSING_TIME_MS = 2_000  # before Lambda's timeout, for the last batch of deletes and the response


class Invocation(Protocol):
    """The part of Lambda's context that a sweep uses."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation times out."""
        ...


class UnfinishedLinks(Protocol):
    """The part of account_linking.py that a sweep uses, if the stage has guests."""

    async def finish(self, *, stop: Callable[[], bool]) -> int:
        """Continue unfinished account links; returns how many threads were moved."""
        ...


class Clock(Protocol):
    """The part of support/clock.py that runs every minute, if the stage has operators."""

    async def look(self, *, stop: Callable[[], bool]) -> int:
        """Do what is due; returns how many matters were looked at."""
        ...


class Events:
    """The handler's `on_event`: runs each event and returns a result that JSON can represent."""

    def __init__(self, sweeps: Sweeps, links: UnfinishedLinks | None = None, clock: Clock | None = None) -> None:
        self._sweeps, self._links, self._clock = sweeps, links, clock

    async def __call__(self, event: dict[str, Any], context: Invocation) -> object:
        """Run one event; RequestError for an unknown one, with a list of the known ones."""

        def stop() -> bool:
            return context.get_remaining_time_in_millis() < CLOSING_TIME_MS

        match event:
            case {"chat": "health"}:
                return {"status": "healthy", "service": "chat"}
            case {"chat": "sweep"}:
                return await self._sweep(stop)
            case {"chat": "clock"}:
                return {"looked_at": 0 if self._clock is None else await self._clock.look(stop=stop)}
            case {"invokeCompletionStatus": str(), "requestId": str()}:
                return None  # API Gateway reportedly invokes the function once more after each stream
            case _:
                raise RequestError('This event is neither HTTP, nor {"chat": "sweep"}, "clock" or "health".')

    async def _sweep(self, stop: Callable[[], bool]) -> object:
        moved = 0 if self._links is None else await self._links.finish(stop=stop)
        erased = await self._sweeps.sweep(stop=stop)
        orphans = await self._sweeps.sweep_orphans(everything=False, stop=stop)
        return {"swept": erased.items + erased.threads + erased.attachments, "orphans": orphans, "moved": moved}


async def sweep_after_delete(
    sweeps: Sweeps, thread_id: str, context: RequestContext, *, now: Callable[[], float] = time.monotonic
) -> None:
    """Remove the rows of the thread just deleted, for AFTER_A_DELETE_S at most; the hourly event does the rest."""
    until_s = now() + AFTER_A_DELETE_S
    await sweeps.sweep_thread(thread_id, context, stop=lambda: now() >= until_s)
