"""The strict engine with a meter for the capacity units that DynamoDB would bill.

Rules from the Developer Guide, "Read and write capacity": a consistent read is one unit per 4 KB and at least one, a
write one unit per 1 KB of the larger of old and new row, in the table and again in the index when the row is in it
(twice when its place there changes); in a transaction the table's part counts double.
"""

import math
from typing import Any

from lambda_src.store import keys
from tests.store.engine.engine import Engine
from tests.store.engine.expressions import Row
from tests.store.engine.strict import row_size

_WRITES = frozenset({"put_item", "update_item", "delete_item", "batch_write_item", "transact_write_items"})


def read_units(size: int) -> int:
    """Return the units of a consistent read."""
    return max(1, math.ceil(size / 4096))


def write_units(old: Row | None, new: Row | None, *, transaction: bool) -> int:
    """Return the units of a write."""
    if old == new:
        return 2 if transaction else 1
    size = max(math.ceil(row_size(row) / 1024) for row in (old, new) if row)
    before, after = ((row or {}).get(keys.ORDER_KEY) for row in (old, new))
    index = 0 if before is None and after is None else 2 if None not in (before, after) and before != after else 1
    return size * (2 if transaction else 1) + size * index


class Metered(Engine):
    """Adds up read units, write units and the rows that queries read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_running = False
        self.reads = self.writes = self.rows_read = 0

    def reset(self) -> None:
        """Start counting from zero."""
        self.is_running = True
        self.requests.clear()
        self.reads = self.writes = self.rows_read = 0

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in _WRITES or not self.is_running:
            return method

        def metered(**params: Any) -> Any:
            before = dict(self.rows)
            answer = method(**params)
            for key in {*before, *self.rows}:
                old, new = before.get(key), self.rows.get(key)
                if old is not new:
                    self.writes += write_units(old, new, transaction=name == "transact_write_items")
            return answer

        return metered

    def get_item(self, **params: Any) -> dict[str, Any]:
        """GetItem."""
        answer = super().get_item(**params)
        self.reads += read_units(row_size(answer.get("Item", {})))
        return answer

    def batch_get_item(self, **params: Any) -> dict[str, Any]:
        """BatchGetItem: each key is billed separately, including missing ones."""
        answer = super().batch_get_item(**params)
        ((table, request),) = params["RequestItems"].items()
        units = [read_units(row_size(row)) for row in answer["Responses"][table]]
        self.reads += sum(units) + len(request["Keys"]) - len(units)
        return answer

    def query(self, **params: Any) -> dict[str, Any]:
        """Query: billed by the total size of its rows."""
        answer = super().query(**params)
        self.reads += read_units(sum(row_size(row) for row in answer["Items"]))
        self.rows_read += len(answer["Items"])
        return answer
