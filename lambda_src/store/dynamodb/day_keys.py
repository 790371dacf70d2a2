"""The daily key for hashing source addresses (quotas/source_addresses.py), in one row of the table, with a TTL."""

from base64 import b64decode, b64encode

from lambda_src.store import keys
from lambda_src.store.bounds import within_budget
from lambda_src.store.counters import DAY_S
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Table

TTL_S = 2 * DAY_S  # after the start of the day; DynamoDB removes it within days, and meanwhile nothing reads it


class TableDayKeys:
    """source_addresses.DayKeys."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @within_budget
    async def shared(self, day: int, proposal: bytes) -> bytes:
        """source_addresses.DayKeys. One write: the first of the day sets the key, the others get it."""
        before = await self._table.update(
            ("STAGE#callers", f"KEY#{day}"),
            f"SET #key = if_not_exists(#key, :key), #{keys.TTL_ATTRIBUTE} = :ttl",
            values={":key": {"S": b64encode(proposal).decode()}, ":ttl": rows.number(day * DAY_S + TTL_S)},
        )
        return b64decode(before["key"]["S"]) if "key" in before else proposal
