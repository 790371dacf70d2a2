"""Daily counters in DynamoDB: in the user's partition, or in STAGE#. Knows no turn and no model.

Each change is one conditional write, and a day's row has a TTL. botocore may repeat an addition whose response was lost
and count it twice: ceilings are never exceeded, at worst reached early. A correction may subtract, so it stores a mark
in the row by which its retry is recognized.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress

from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.counters import DAY_S, day_of, shards
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Table

MARKS = 16  # a retry follows within seconds; it is missed only if a correction with the same number comes in between
MARK_CHARS = 16
TTL_S = 2 * DAY_S  # lasts past the end of the counted day
SWITCH: Key = ("STAGE#switch", "SWITCH")  # the row that an operator writes; its `text` is the message to users


class TableCounters:
    """counters.Counters."""

    def __init__(self, table: Table, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._table, self._clock = table, clock

    @within_budget
    async def add(
        self, name: str, amount: int, *, ceiling: int, user_id: str | None = None, day: int | None = None
    ) -> bool:
        """counters.Counters. One write; one per shard if the stage's counter is nearly used up."""
        start = str(self._clock())
        for key, part in self._shards(name, ceiling=ceiling, user_id=user_id, day=day, start=start):
            if amount <= part and await self._add(key, amount, left=part - amount):
                return True
        return False

    @within_budget
    async def correct(
        self, name: str, amount: int, *, ceiling: int, mark: str, user_id: str | None = None, day: int | None = None
    ) -> None:
        """counters.Counters. One write."""
        digest = hashlib.sha256(mark.encode()).hexdigest()
        key, _ = self._shards(name, ceiling=ceiling, user_id=user_id, day=day, start=mark)[0]
        mark_name = f"mark_{int(digest[:8], 16) % MARKS}"
        with suppress(ConditionFailedError):  # a retry after a lost response
            await self._table.update(
                key,
                f"SET #sum = if_not_exists(#sum, :zero) + :amount, #mark = :mark, #{keys.TTL_ATTRIBUTE} = :ttl",
                condition="attribute_not_exists(#mark) OR #mark <> :mark",
                values={
                    ":zero": rows.number(0),
                    ":amount": rows.number(amount),
                    ":mark": rows.text(digest[:MARK_CHARS]),
                    ":ttl": self._ttl(),
                },
                names={"mark": mark_name},
            )

    @within_budget
    async def switched_off(self) -> str | None:
        """counters.Counters."""
        row = await self._table.get(SWITCH)
        return None if row is None else row.get("text", {}).get("S", "")

    def _shards(
        self, name: str, *, ceiling: int, user_id: str | None, day: int | None, start: str
    ) -> list[tuple[Key, int]]:
        """(key, its part of the ceiling) of each shard, in the order to try them."""
        sort = f"{name.upper()}#{day_of(self._clock()) if day is None else day}"
        if user_id is not None:
            return [((keys.user_partition(user_id), sort), ceiling)]
        return [((f"STAGE#{name}#{shard}", sort), part) for shard, part in shards(ceiling, start=start)]

    async def _add(self, key: Key, amount: int, *, left: int) -> bool:
        """Add, unless the sum exceeds `left` already."""
        try:
            await self._table.update(
                key,
                f"SET #sum = if_not_exists(#sum, :zero) + :amount, #{keys.TTL_ATTRIBUTE} = :ttl",
                condition="attribute_not_exists(#sum) OR #sum <= :left",
                values={
                    ":zero": rows.number(0),
                    ":amount": rows.number(amount),
                    ":ttl": self._ttl(),
                    ":left": rows.number(left),
                },
            )
        except ConditionFailedError:
            return False
        return True

    def _ttl(self) -> dict[str, str]:
        return rows.number(self._clock() // 10**9 + TTL_S)
