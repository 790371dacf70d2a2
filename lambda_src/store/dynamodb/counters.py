"""Daily counters in DynamoDB: in the user's partition, or in STAGE#. Knows no turn and no model.

Each change is one conditional write, and a day's row has a TTL. botocore may repeat an addition whose response was lost
and count it twice: ceilings are never exceeded, at worst reached early. A correction may subtract, so it stores a mark
in the row by which its retry is recognized.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex

from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.counters import DAY_S, SHARDS, Begun, day_of, shards
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Row, Table, Update
from lambda_src.store.usage import KEPT_S

MARKS = 16  # a retry follows within seconds; it is missed only if a correction with the same number comes in between
MARK_CHARS = 16
TTL_S = 2 * DAY_S  # lasts past the end of the counted day
BEGUN = "begun_"  # prefix of attributes that count turns, followed by assistant, `#` and release
SWITCH: Key = ("STAGE#switch", "SWITCH")  # the row that an operator writes; its `text` is the message to users


def mark_of(mark: str) -> tuple[str, str]:
    """The attribute that stores a mark, and what it stores."""
    digest = hashlib.sha256(mark.encode()).hexdigest()
    return f"mark_{int(digest[:8], 16) % MARKS}", digest[:MARK_CHARS]


class TableCounters:
    """counters.Counters."""

    def __init__(self, table: Table, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._table, self._clock = table, clock

    @within_budget
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
        """counters.Counters. One write; one per shard if the stage's counter is nearly used up."""
        start = str(self._clock())
        for key, part in self._shards(name, ceiling=ceiling, user_id=user_id, day=day, start=start):
            if amount <= part and await self._add(key, amount, left=part - amount, begun=begun):
                return True
        return False

    @within_budget
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
        """counters.Counters. One write."""
        key, _ = self._shards(name, ceiling=ceiling, user_id=user_id, day=day, start=mark)[0]
        with suppress(ConditionFailedError):  # a retry after a lost response
            await self._table.apply(self._changed(key, amount, mark=mark, counted=(unbegun, -1)))

    @within_budget
    async def switched_off(self) -> str | None:
        """counters.Counters."""
        row = await self._table.get(SWITCH)
        return None if row is None else row.get("text", {}).get("S", "")

    async def begun(self, name: str, *, first_day: int, last_day: int) -> Mapping[tuple[int, Begun], int]:
        """counters.Counters. One request for each shard, and another one for each MB."""
        counted: Counter[tuple[int, Begun]] = Counter()
        first, last = (_sort(name, day) for day in (first_day, last_day))
        for shard in range(SHARDS):
            start: Row | None = None
            while True:
                page, start = await self._table.between(_partition(name, shard), first, last, start=start)
                for row in page:
                    day = int(row[keys.SORT_KEY]["S"].rpartition("#")[2])
                    for attribute, value in row.items():
                        if attribute.startswith(BEGUN):
                            assistant, _, release = attribute.removeprefix(BEGUN).partition("#")
                            counted[day, Begun(assistant, release)] += int(value["N"])
                if start is None:
                    break
        return counted

    def _shards(
        self, name: str, *, ceiling: int, user_id: str | None, day: int | None, start: str
    ) -> list[tuple[Key, int]]:
        """(key, its part of the ceiling) of each shard, in the order to try them."""
        sort = _sort(name, day_of(self._clock()) if day is None else day)
        if user_id is not None:
            return [((keys.user_partition(user_id), sort), ceiling)]
        return [((_partition(name, shard), sort), part) for shard, part in shards(ceiling, start=start)]

    async def _add(self, key: Key, amount: int, *, left: int, begun: Begun | None) -> bool:
        """Add, unless the sum exceeds `left` already."""
        adding = self._changed(key, amount, left=left, mark=token_hex(MARK_CHARS) if begun else "", counted=(begun, 1))
        try:
            await self._table.apply(adding)
        except ConditionFailedError as fault:
            name = adding.names.get("mark", "")
            return bool(name) and fault.old.get(name) == adding.values[":mark"]  # a retry after a lost response
        return True

    def _changed(
        self, key: Key, amount: int, *, mark: str, counted: tuple[Begun | None, int], left: int | None = None
    ) -> Update:
        """The write that adds to the sum. With a `mark`, its retry changes nothing; with `left`, no higher sum does."""
        begun, change = counted
        expression = f"SET #sum = if_not_exists(#sum, :zero) + :amount, #{keys.TTL_ATTRIBUTE} = "
        values = {":zero": rows.number(0), ":amount": rows.number(amount)}
        names: dict[str, str] = {}
        conditions: list[str] = []
        if begun is None:
            expression += f"if_not_exists(#{keys.TTL_ATTRIBUTE}, :ttl)"
            values[":ttl"] = self._ttl(TTL_S)
        else:
            expression += ":ttl, #begun = if_not_exists(#begun, :zero) + :change"
            values |= {":ttl": self._ttl(KEPT_S), ":change": rows.number(change)}
            names["begun"] = f"{BEGUN}{begun.assistant}#{begun.release}"
        if mark:
            names["mark"], digest = mark_of(mark)
            expression += ", #mark = :mark"
            values[":mark"] = rows.text(digest)
            conditions.append("(attribute_not_exists(#mark) OR #mark <> :mark)")
        if left is not None:
            values[":left"] = rows.number(left)
            conditions.append("(attribute_not_exists(#sum) OR #sum <= :left)")
        return Update(key, expression, values, condition=" AND ".join(conditions), names=names)

    def _ttl(self, seconds: int) -> dict[str, str]:
        return rows.number(self._clock() // 10**9 + seconds)


def _partition(name: str, shard: int) -> str:
    return f"STAGE#{name}#{shard}"


def _sort(name: str, day: int) -> str:
    return f"{name.upper()}#{day}"
