"""Reads every row of the table: for `chat doctor` unreadable rows and items without a thread, for `chat cases` the
items that users rated.
"""

from collections.abc import AsyncIterator, Callable

from lambda_src.store import codec, keys
from lambda_src.store.aws_calls import MissingObjectError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.payloads import Payloads
from lambda_src.store.dynamodb.table import Row, Table, key_of
from lambda_src.store.ports import Finding, Rated

_KINDS: dict[str, Callable[[bytes], object]] = {
    keys.ITEM_PREFIX: codec.load_item,
    keys.ATTACHMENT_PREFIX: codec.load_attachment,
}


async def inspect(table: Table, payloads: Payloads) -> AsyncIterator[Finding | None]:
    """One value per row: None if it is valid."""
    threads: dict[tuple[str, str], bool] = {}
    async for row in table.every_row():
        partition, sort = key_of(row)
        user_id, thread_id = keys.owner_of(partition)
        prefix = sort[: sort.find("#") + 1]
        if rows.WAS_ORDER in row or rows.is_tombstone(row):
            yield None
        elif not await _is_valid(row, prefix, payloads):
            yield Finding("unreadable", user_id, thread_id, sort.removeprefix(prefix))
        elif prefix == keys.ITEM_PREFIX and not await _has_thread(table, threads, user_id, thread_id):
            yield Finding("item without a thread", user_id, thread_id, sort.removeprefix(prefix))
        else:
            yield None


async def rated(table: Table, feedback: str) -> AsyncIterator[Rated]:
    """The items with this feedback."""
    async for row in table.every_row(sorts=keys.FEEDBACK_PREFIX):
        if row.get(rows.FEEDBACK, {}).get("S") == feedback:
            user_id, thread_id = keys.owner_of(key_of(row)[0])
            yield Rated(user_id, thread_id, rows.sort_id(row, keys.FEEDBACK_PREFIX))


async def _is_valid(row: Row, prefix: str, payloads: Payloads) -> bool:
    try:
        if prefix == keys.THREAD_PREFIX:
            codec.load_thread(rows.thread_fields(row))
        elif prefix in _KINDS:
            _KINDS[prefix](await payloads.load(row))
    except (codec.UnreadableError, MissingObjectError):
        return False
    return True


async def _has_thread(table: Table, existing: dict[tuple[str, str], bool], user_id: str, thread_id: str) -> bool:
    """Whether the thread has a row, possibly a tombstone. Cached in `existing`, so one request per thread."""
    name = (user_id, thread_id)
    if name not in existing:
        existing[name] = await table.get((keys.user_partition(user_id), keys.thread_sort(thread_id))) is not None
    return existing[name]
