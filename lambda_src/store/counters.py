"""Daily counters with a ceiling, shared by all processes (tokens, guests), and the operator's kill switch.

Days are UTC days. Knows no row (dynamodb/counters.py does), no turn and no model.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

DAY_S = 86_400
SHARDS = 4  # a partition takes 1,000 writes a second
SHARDED_FROM = 1_000_000  # a lower ceiling is used up in about 500 turns: one row takes that load, and is exact


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn or a dictation that begins, counted in the write that reserves its tokens (usage.py)."""

    assistant: str
    release: str


class Counters(Protocol):
    """Sums per name and day, of one user (`user_id`) or of the whole stage."""

    async def add(
        self,
        name: str,
        amount: int,
        *,
        ceiling: int,
        user_id: str | None = None,
        day: int | None = None,
        begun: Begun | None = None,
    ) -> bool:
        """Add to the sum of `day` (None: today) and return True, unless the sum would pass the ceiling.

        With `begun`, the same write counts it on that day.
        """
        ...

    async def correct(
        self,
        name: str,
        amount: int,
        *,
        ceiling: int,
        mark: str,
        user_id: str | None = None,
        day: int | None = None,
        unbegun: Begun | None = None,
    ) -> None:
        """Add a positive or negative amount without checking the ceiling; pass the same `ceiling` as to `add`.

        With `unbegun`, the same write takes back what `begun` counted. Repeating a correction with the same `mark`
        changes nothing.
        """
        ...

    async def begun(self, name: str, *, first_day: int, last_day: int) -> Mapping[tuple[int, Begun], int]:
        """What was counted as begun under the stage's counter `name`, by day."""
        ...

    async def switched_off(self) -> str | None:
        """The operator's message to users who start a turn while the switch is off; None while it is on."""
        ...


def day_of(now_ns: int) -> int:
    """The number of days since 1970."""
    return now_ns // (DAY_S * 10**9)


def seconds_left(now_ns: int) -> int:
    """Whole seconds until the next day begins, at least one."""
    return DAY_S - now_ns // 10**9 % DAY_S


def shards(ceiling: int, *, start: str) -> list[tuple[int, int]]:
    """(shard, its part of the ceiling), in the order to try them, which depends on `start`."""
    count = SHARDS if ceiling >= SHARDED_FROM else 1
    first = hashlib.sha256(start.encode()).digest()[0] % count
    parts = [(n, ceiling // count + (1 if n < ceiling % count else 0)) for n in range(count)]
    return parts[first:] + parts[:first]


class MemoryCounters:
    """Counters of one process."""

    def __init__(self, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self.sums: Counter[tuple[str, str | None, int]] = Counter()
        self.off: str | None = None
        self._begun: Counter[tuple[str, int, Begun]] = Counter()

    async def add(
        self,
        name: str,
        amount: int,
        *,
        ceiling: int,
        user_id: str | None = None,
        day: int | None = None,
        begun: Begun | None = None,
    ) -> bool:
        """Counters."""
        day = day_of(self._clock()) if day is None else day
        key = (name, user_id, day)
        if self.sums[key] + amount > ceiling:
            return False
        self.sums[key] += amount
        if begun is not None:
            self._begun[name, day, begun] += 1
        return True

    async def correct(
        self,
        name: str,
        amount: int,
        *,
        ceiling: int,
        mark: str,
        user_id: str | None = None,
        day: int | None = None,
        unbegun: Begun | None = None,
    ) -> None:
        """Counters. No response is lost in memory, so `mark` is not needed."""
        day = day_of(self._clock()) if day is None else day
        self.sums[name, user_id, day] += amount
        if unbegun is not None:
            self._begun[name, day, unbegun] -= 1

    async def begun(self, name: str, *, first_day: int, last_day: int) -> Mapping[tuple[int, Begun], int]:
        """Counters."""
        return {
            (day, begun): number
            for (counter, day, begun), number in self._begun.items()
            if counter == name and first_day <= day <= last_day
        }

    async def switched_off(self) -> str | None:
        """Counters."""
        return self.off
