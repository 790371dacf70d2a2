"""Scheduled and other non-HTTP events, and sweeping after a delete."""

from collections.abc import Callable

import pytest

from lambda_src.chat.scheduled_events import AFTER_A_DELETE_S, CLOSING_TIME_MS, Events, sweep_after_delete
from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import context_of
from lambda_src.errors import RequestError
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import Erased


class Clock:
    """A Lambda context and a monotonic clock in one; every call advances it by a second."""

    def __init__(self, remaining_ms: int = 10_000) -> None:
        self.remaining_ms = remaining_ms
        self.now_s = 0.0

    def get_remaining_time_in_millis(self) -> int:
        self.remaining_ms -= 1000
        return self.remaining_ms

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


class EndlessSweeps:
    """A fake Sweeps with endless work: it continues until it is told to stop."""

    def __init__(self) -> None:
        self.batches = 0

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        while not stop():
            self.batches += 1
        return Erased(items=self.batches)

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        return await self.sweep(stop=stop)

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        return 0


async def test_the_hourly_event_sweeps_until_closing_time() -> None:
    sweeps = EndlessSweeps()
    answer = await Events(sweeps)({"chat": "sweep"}, Clock(remaining_ms=10_000))
    assert answer == {"swept": 10 - CLOSING_TIME_MS // 1000, "orphans": 0, "moved": 0}


async def test_a_delete_sweeps_for_a_bounded_time() -> None:
    sweeps = EndlessSweeps()
    await sweep_after_delete(sweeps, "thr_1", context_of("ada"), now=Clock())
    assert sweeps.batches == AFTER_A_DELETE_S - 1


async def test_a_store_with_nothing_to_sweep_returns_zeros() -> None:
    assert await Events(MemoryStore())({"chat": "sweep"}, Clock()) == {"swept": 0, "orphans": 0, "moved": 0}


async def test_the_health_event_is_answered() -> None:
    assert await Events(MemoryStore())({"chat": "health"}, Clock()) == {"status": "healthy", "service": "chat"}


async def test_api_gateways_event_at_the_end_of_a_stream_is_ignored() -> None:
    event = {"invokeCompletionStatus": "Success", "requestId": "01234567-89ab-cdef-0123-456789abcdef"}
    assert await Events(MemoryStore())(event, Clock()) is None


@pytest.mark.parametrize("event", [{}, {"requestId": "r"}, {"chat": "explode"}, {"Records": []}, {"chat": None}])
async def test_any_other_event_is_a_clear_error(event: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="sweep"):
        await Events(MemoryStore())(event, Clock())


class OneMatter:
    """A fake operators' clock with one matter that is due."""

    async def look(self, *, stop: Callable[[], bool]) -> int:
        return 0 if stop() else 1


async def test_the_clock_event_looks_at_what_waits_for_an_operator() -> None:
    assert await Events(MemoryStore(), None, OneMatter())({"chat": "clock"}, Clock()) == {"looked_at": 1}
    assert await Events(MemoryStore(), None, OneMatter())({"chat": "clock"}, Clock(1_000)) == {"looked_at": 0}


async def test_without_operators_the_clock_has_nothing_to_do() -> None:
    assert await Events(MemoryStore())({"chat": "clock"}, Clock()) == {"looked_at": 0}
