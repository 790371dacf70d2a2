"""Invocations that are no HTTP request: `{"chat": "sweep"}` each hour, `{"chat": "health"}` from a monitor.

Also the one place that decides how long sweeping may go on. Knows neither HTTP nor the store's insides.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from lambda_src.context import RequestContext
from lambda_src.errors import RequestError
from lambda_src.store.ports import Sweeps

AFTER_A_DELETE_S = 5.0  # of sweeping in the invocation that deleted; the hourly event does the rest
CLOSING_TIME_MS = 2_000  # left to Lambda's time-out when sweeping stops: one batch of deletes and its answer


class Invocation(Protocol):
    """What is needed of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda kills the function."""
        ...


class Adoptions(Protocol):
    """What is needed of account_linking.py, where there are guests."""

    async def finish(self, *, stop: Callable[[], bool]) -> int:
        """Go on with what was begun; how many threads changed hands."""
        ...


class Events:
    """`on_event` of the handler: what each event of ours does, as a value that JSON can hold."""

    def __init__(self, sweeps: Sweeps, adoptions: Adoptions | None = None) -> None:
        self._sweeps, self._adoptions = sweeps, adoptions

    async def __call__(self, event: dict[str, Any], context: Invocation) -> object:
        """RequestError for an event that is not ours, naming those that are."""
        match event:
            case {"chat": "health"}:
                return {"status": "healthy", "service": "chat"}
            case {"chat": "sweep"}:
                return await self._sweep(lambda: context.get_remaining_time_in_millis() < CLOSING_TIME_MS)
            case {"invokeCompletionStatus": str(), "requestId": str()}:
                return None  # API Gateway is reported to invoke once more when a stream has ended
            case _:
                raise RequestError('This event is neither HTTP, nor {"chat": "sweep"}, nor {"chat": "health"}.')

    async def _sweep(self, stop: Callable[[], bool]) -> object:
        adopted = 0 if self._adoptions is None else await self._adoptions.finish(stop=stop)
        erased = await self._sweeps.sweep(stop=stop)
        orphans = await self._sweeps.sweep_orphans(everything=False, stop=stop)
        return {"swept": erased.items + erased.threads + erased.attachments, "orphans": orphans, "adopted": adopted}


async def sweep_after_delete(
    sweeps: Sweeps, thread_id: str, context: RequestContext, *, now: Callable[[], float] = time.monotonic
) -> None:
    """Remove the rows of the thread just deleted, for AFTER_A_DELETE_S at most; the hourly event does the rest."""
    until_s = now() + AFTER_A_DELETE_S
    await sweeps.sweep_thread(thread_id, context, stop=lambda: now() >= until_s)
