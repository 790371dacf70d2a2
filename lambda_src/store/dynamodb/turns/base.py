"""Base class of the parts of the DynamoDB turn ledger: their table, clocks, and report of unreadable rows."""

from collections.abc import Callable

from lambda_src.store.clock import ThreadClocks
from lambda_src.store.dynamodb.table import Table
from lambda_src.store.ports import Count


class LedgerPart:
    """A part of DynamoDBLedger. `clock` is in nanoseconds since 1970; `clocks` orders the items of the same store."""

    def __init__(self, table: Table, clocks: ThreadClocks, *, clock: Callable[[], int], count: Count) -> None:
        self._table, self._clocks = table, clocks
        self._clock, self._count = clock, count

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000
