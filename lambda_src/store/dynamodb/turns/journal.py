"""Turn journals in DynamoDB: a turn's event stream in batches, one row each, in the thread's partition."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lambda_src.context import RequestContext
from lambda_src.store import bounds, codec, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row, key_of
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.ports import JournalBatch


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Batches in order, and the start of the next page; None at the end, or if a batch cannot be read."""

    batches: list[JournalBatch]
    start: Row | None


class Journals(LedgerPart):
    """The journals of every thread."""

    @within_budget
    async def append_journal(
        self, thread_id: str, turn_id: str, batch: JournalBatch, *, ttl_s: int, context: RequestContext
    ) -> None:
        """Write a batch, unless one with its number exists."""
        bounds.writable(context.user.id, thread_id, turn_id)
        packed = codec.pack_batch(batch)
        expires_ms = self._now_ms() + ttl_s * 1000
        attributes = {
            rows.PAYLOAD: rows.binary(packed.data),
            rows.ENCODING: rows.text(packed.encoding),
            turn_rows.EXPIRES_MS: rows.number(expires_ms),
            keys.TTL_ATTRIBUTE: turn_rows.ttl(expires_ms),
        }
        try:
            await self._table.update(
                (keys.thread_partition(context.user.id, thread_id), keys.events_sort(turn_id, batch.number)),
                f"SET {rows.setting(attributes)}",
                condition="attribute_not_exists(#sk)",
                values=rows.valued(attributes),
            )
        except ConditionFailedError:
            return  # a retry

    async def read_journal(
        self, thread_id: str, turn_id: str, *, first: int, context: RequestContext
    ) -> AsyncIterator[JournalBatch]:
        """The batches in order. The time budget applies to each page: the caller decides how long reading takes."""
        if not bounds.are_ids(context.user.id, thread_id, turn_id):
            return
        start: Row | None = None
        while True:
            page = await self._journal_page(context.user.id, thread_id, turn_id, first=first, start=start)
            for batch in page.batches:
                yield batch
            if (start := page.start) is None:
                return

    @within_budget
    async def _journal_page(
        self, user_id: str, thread_id: str, turn_id: str, *, first: int, start: Row | None
    ) -> JournalPage:
        """Up to 1 MB of batches, from number `first` or from the `start` of a page on, in one request."""
        page, after = await self._table.between(
            keys.thread_partition(user_id, thread_id),
            keys.events_sort(turn_id, min(max(first, 0), codec.LAST_BATCH)),
            keys.events_sort(turn_id, codec.LAST_BATCH),
            start=start,
        )
        batches: list[JournalBatch] = []
        for row in page:
            number = rows.sort_id(row, keys.events_prefix(turn_id))
            if not codec.is_batch_number(number) or int(row[turn_rows.EXPIRES_MS]["N"]) <= self._now_ms():
                continue  # expired, or of a turn whose id begins with this one's
            try:
                batches.append(JournalBatch(int(number), codec.unpack(_packed(row))))
            except codec.UnreadableError:
                self._count("unreadable_row")
                return JournalPage(batches, None)
        return JournalPage(batches, after)

    async def _delete_journal(self, user_id: str, thread_id: str, turn_id: str) -> None:
        """Delete the batches of one turn."""
        partition, prefix = keys.thread_partition(user_id, thread_id), keys.events_prefix(turn_id)
        async for page in self._table.pages(partition, prefix=prefix, only=(keys.ORDER_KEY,)):
            await self._table.write_many(deletes=[key_of(row) for row in page])


def _packed(row: Row) -> codec.Packed:
    match row[rows.ENCODING]["S"]:
        case "json" | "gzip" as encoding:
            return codec.Packed(row[rows.PAYLOAD]["B"], encoding)
        case _:
            raise codec.UnreadableError("an unknown encoding")
