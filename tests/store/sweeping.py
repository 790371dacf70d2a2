"""Runs both passes of a sweep on the in-process table and bucket."""

from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.local import Local


def never() -> bool:
    """A `stop` that never stops the sweep."""
    return False


async def finish(local: Local, store: DynamoDBStore) -> None:
    """Run both passes of a sweep: now, and after the last possible late write."""
    await store.sweep(stop=never)
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)
