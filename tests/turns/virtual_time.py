"""Time that passes when a test says so: one clock for store, leases and sleeps. Nothing here waits."""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

R = TypeVar("R")

START_S = 1_800_000_000
ROUNDS = 200  # of the event loop: enough for everything that does not wait for time to come to rest


class VirtualTime:
    """`sleep`, `now_ms` and `now_ns` are handed to what is tested; `advance` lets time pass, sleeper by sleeper."""

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
        """Until `advance` has passed that much."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + max(0.0, seconds), next(self._order), future))
        await future

    def begun(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """`work` as a task, for a test that lets time pass meanwhile."""
        return asyncio.get_running_loop().create_task(work)

    async def rest(self) -> None:
        """Let everything run that waits for no time."""
        for _ in range(self._rounds):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass; whoever wakes up acts at its own moment."""
        until = self.now_s + seconds
        await self.rest()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, future = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, at)
            if not future.done():
                future.set_result(None)
            await self.rest()
        self.now_s = until
