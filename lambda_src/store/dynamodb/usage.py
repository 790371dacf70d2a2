"""Usage on the DynamoDB table: a partition for each day, and in it a row for each assistant, model and release.

One item takes 1,000 writes a second, so one assistant with one model and one release may end as many turns a second.
"""

import time
from collections.abc import Callable

from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.counters import mark_of
from lambda_src.store.dynamodb.table import Table
from lambda_src.store.usage import KEPT_S, NAMES, Source, Usage


class TableUsage:
    """usage.UsageRows."""

    def __init__(self, table: Table, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._table, self._clock = table, clock

    @within_budget
    async def add(self, source: Source, usage: Usage, *, mark: str) -> None:
        """usage.UsageRows."""
        added = {name: number for name in NAMES if (number := getattr(usage, name))}
        if not added:
            return
        mark_name, digest = mark_of(mark)
        sums = ", ".join(f"#{name} = if_not_exists(#{name}, :zero) + :{name}" for name in added)
        try:
            await self._table.update(
                (keys.usage_partition(source.day), keys.usage_sort(source.assistant, source.model, source.release)),
                f"SET {sums}, #mark = :mark, #{keys.TTL_ATTRIBUTE} = :ttl",
                condition="attribute_not_exists(#mark) OR #mark <> :mark",
                values={
                    ":zero": rows.number(0),
                    ":mark": rows.text(digest),
                    ":ttl": rows.number(self._clock() // 10**9 + KEPT_S),
                    **{f":{name}": rows.number(number) for name, number in added.items()},
                },
                names={"mark": mark_name},
            )
        except ConditionFailedError:
            return  # a retry after a lost response

    async def of_day(self, day: int) -> dict[Source, Usage]:
        """usage.UsageRows. One request for each MB of a day's rows."""
        sums: dict[Source, Usage] = {}
        async for page in self._table.pages(keys.usage_partition(day)):
            for row in page:
                source = Source(day, *keys.usage_source(row[keys.SORT_KEY]["S"]))
                sums[source] = Usage(**{name: int(row[name]["N"]) for name in NAMES if name in row})
        return sums
