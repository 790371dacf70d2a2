"""Virtual time for turn tests: one clock for stores, leases and sleeps, advanced by the test without waiting."""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

R = TypeVar("R")

START_S = 1_800_000_000
ROUNDS = 200  # event loop rounds: enough to run every task up to its next wait


class VirtualTime:
    """Pass `sleep`, `now_ms` and `now_ns` to the code under test; `advance` wakes its sleepers in order."""

    def __init__(self, *, rounds: int = ROUNDS) -> None:
        self.now_s: float = START_S
        self._rounds = rounds
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return round(self.now_s * 1000)

    def now_ns(self) -> int:
        """Epoch nanoseconds."""
        return round(self.now_s * 1000) * 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Sleep until `advance` has let that much time pass."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + max(0.0, seconds), next(self._order), future))
        await future

    def start(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """Start `work` as a task, so that the test can let time pass."""
        return asyncio.get_running_loop().create_task(work)

    async def settle(self) -> None:
        """Run all tasks as far as possible without time passing."""
        for _ in range(self._rounds):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass; every sleeper wakes at its own time."""
        until = self.now_s + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, future = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, at)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.now_s = until
