"""A sweep from beginning to end, both of its passes, on the table and bucket of this process."""

from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.local import Local


def never() -> bool:
    """A sweep that nobody stops."""
    return False


async def finish(local: Local, store: DynamoDBStore) -> None:
    """Both passes of a sweep: at once, and when no late write can come."""
    await store.sweep(stop=never)
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)
