"""Counters on the chat's own table: in the user's partition, or in STAGE#. Knows rows, no turn and no model.

Each addition is one conditional write, a day's row expires by itself. An addition whose answer was lost may be repeated
by botocore and count twice: ceilings are never passed, at worst reached early.
"""

import time
from collections.abc import Callable

from lambda_src.counters import DAY_S, day_of, shards
from lambda_src.store import keys
from lambda_src.store.budget import within_budget
from lambda_src.store.calls import ConditionFailedError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Table

TTL_S = 2 * DAY_S  # past the end of the day that is counted
SWITCH: Key = ("STAGE#switch", "SWITCH")  # the row that an operator writes; its `text` is what people are told


class TableCounters:
    """counters.Counters."""

    def __init__(self, table: Table, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._table, self._clock = table, clock

    @within_budget
    async def add(self, name: str, amount: int, *, ceiling: int, user_id: str | None = None) -> bool:
        """counters.Counters. One write; of a stage's that is nearly spent, one for each shard."""
        for key, part in self._places(name, ceiling=ceiling, user_id=user_id):
            if amount <= part and await self._add(key, amount, left=part - amount):
                return True
        return False

    @within_budget
    async def correct(self, name: str, amount: int, *, ceiling: int, user_id: str | None = None) -> None:
        """counters.Counters. One write."""
        key, _ = self._places(name, ceiling=ceiling, user_id=user_id)[0]
        await self._add(key, amount, left=None)

    @within_budget
    async def switched_off(self) -> str | None:
        """counters.Counters."""
        row = await self._table.get(SWITCH)
        return None if row is None else row.get("text", {}).get("S", "")

    def _places(self, name: str, *, ceiling: int, user_id: str | None) -> list[tuple[Key, int]]:
        """(row, its part of the ceiling), in the order to try them."""
        now_ns = self._clock()
        sort = f"{name.upper()}#{day_of(now_ns)}"
        if user_id is not None:
            return [((keys.user_partition(user_id), sort), ceiling)]
        return [((f"STAGE#{name}#{shard}", sort), part) for shard, part in shards(ceiling, start=str(now_ns))]

    async def _add(self, key: Key, amount: int, *, left: int | None) -> bool:
        """Add, unless there is more than `left` already."""
        limited = {} if left is None else {":left": rows.number(left)}
        try:
            await self._table.update(
                key,
                f"SET #sum = if_not_exists(#sum, :zero) + :amount, #{keys.TTL_ATTRIBUTE} = :ttl",
                condition="attribute_not_exists(#sum) OR #sum <= :left" if limited else "",
                values={
                    ":zero": rows.number(0),
                    ":amount": rows.number(amount),
                    ":ttl": rows.number(self._clock() // 10**9 + TTL_S),
                    **limited,
                },
            )
        except ConditionFailedError:
            return False
        return True
