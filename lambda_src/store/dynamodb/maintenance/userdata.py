"""Export, import and erasure of a user's data in DynamoDB, row by row."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from lambda_src.store import bounds, codec, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.attachments import Attachments
from lambda_src.store.dynamodb.items import Items
from lambda_src.store.dynamodb.maintenance.sweep import Sweeper, threads_left
from lambda_src.store.dynamodb.payload_bucket import PayloadBucket
from lambda_src.store.dynamodb.payloads import Payloads
from lambda_src.store.dynamodb.table import Row, Table, key_of
from lambda_src.store.dynamodb.threads import Threads
from lambda_src.store.ports import Erased
from lambda_src.store.userdata import AttachmentRecord, ItemRecord, ThreadRecord


class UserRows:
    """userdata.UserRows, and erasure."""

    def __init__(
        self,
        table: Table,
        bucket: PayloadBucket | None,
        payloads: Payloads,
        *,
        threads: Threads,
        items: Items,
        attachments: Attachments,
        sweeper: Sweeper,
    ) -> None:
        self._table = table
        self._bucket = bucket
        self._payloads = payloads
        self._threads = threads
        self._items = items
        self._attachments = attachments
        self._sweeper = sweeper

    async def threads(self, user_id: str) -> AsyncIterator[ThreadRecord]:
        """userdata.UserRows."""
        async for row in self._listed(keys.user_partition(user_id)):
            order = keys.arrived_ns(row[keys.ORDER_KEY]["S"])
            yield ThreadRecord(rows.sort_id(row, keys.THREAD_PREFIX), rows.thread_fields(row), order)

    async def items(self, user_id: str, thread_id: str) -> AsyncIterator[ItemRecord]:
        """userdata.UserRows."""
        async for row in self._listed(keys.thread_partition(user_id, thread_id)):
            order = keys.arrived_ns(row[keys.ORDER_KEY]["S"])
            yield ItemRecord(rows.sort_id(row, keys.ITEM_PREFIX), await self._data(row), order)

    async def feedback(self, user_id: str, thread_id: str) -> AsyncIterator[tuple[str, str]]:
        """userdata.UserRows."""
        async for row in self._rows(keys.thread_partition(user_id, thread_id), keys.FEEDBACK_PREFIX):
            if not rows.is_expired(row, now_s=self._items.now_s()):
                yield rows.sort_id(row, keys.FEEDBACK_PREFIX), row[rows.FEEDBACK]["S"]

    async def attachments(self, user_id: str) -> AsyncIterator[AttachmentRecord]:
        """userdata.UserRows."""
        async for row in self._rows(keys.user_partition(user_id), keys.ATTACHMENT_PREFIX):
            attachment_id = rows.sort_id(row, keys.ATTACHMENT_PREFIX)
            if (living := await self._attachments.row(user_id, attachment_id)) is not None:
                thread_id = living.get(rows.THREAD, {}).get("S")
                yield AttachmentRecord(attachment_id, await self._data(living), thread_id)

    async def add_thread(self, user_id: str, thread: ThreadRecord) -> Mapping[str, str] | None:
        """userdata.UserRows."""
        try:
            return await self._threads.restore(user_id, thread.id, thread.fields, order=thread.order)
        except ConditionFailedError:  # it was just deleted or erased: finish that first
            await self._sweeper.sweep_whole(user_id, thread.id)
            return await self._threads.restore(user_id, thread.id, thread.fields, order=thread.order)

    async def add_item(self, user_id: str, thread_id: str, item: ItemRecord) -> bytes | None:
        """userdata.UserRows."""
        expires_s = await self._threads.expiry_of_new_items(user_id, thread_id, in_turn=True)
        return await self._items.restore(user_id, thread_id, item.id, item.data, order=item.order, expires_s=expires_s)

    async def add_attachment(self, user_id: str, attachment: AttachmentRecord) -> bytes | None:
        """userdata.UserRows."""
        existing = await self._attachments.row(user_id, attachment.id)
        if existing is not None:
            return bytes(existing.get(rows.DIGEST, {}).get("B", b""))
        thread_id, expires_s = attachment.thread_id, None
        if thread_id is not None:
            expires_s = await self._threads.expiry_of_new_items(user_id, thread_id, in_turn=True)
        await self._attachments.write(user_id, attachment.id, attachment.data, thread_id=thread_id, expires_s=expires_s)
        return None

    async def set_feedback(self, user_id: str, thread_id: str, item_id: str, kind: str) -> str | None:
        """userdata.UserRows."""
        key = (keys.thread_partition(user_id, thread_id), keys.feedback_sort(item_id))
        before = await self._table.get(key)
        await self._items.add_feedback(user_id, thread_id, [item_id], kind)
        if before is None or rows.is_expired(before, now_s=self._items.now_s()):
            return None
        return str(before[rows.FEEDBACK]["S"])

    async def erase(self, user_id: str) -> AsyncIterator[Erased]:
        """Remove everything that the user has now.

        Threads are deleted first, as their user would, so that what running turns still write is invisible; the hourly
        sweep removes it together with the tombstones, bounds.LATE_WRITES_S later. Then one Scan of the whole table
        finds the remaining rows of threads whose own row has expired.
        """
        partition = keys.user_partition(user_id)
        threads = [rows.sort_id(row, keys.THREAD_PREFIX) async for row in self._rows(partition, keys.THREAD_PREFIX)]
        for thread_id in threads:
            yield Erased(threads=int(await self._threads.delete(user_id, thread_id)))
        for thread_id in threads:
            yield await self._sweeper.sweep_contents(user_id, thread_id, stop=lambda: False)
        swept = set(threads)
        async for thread_id in threads_left(self._table, user_id):
            if thread_id not in swept:
                with suppress(ConditionFailedError):  # a tombstone stays; the lease of a hold would stay forever
                    lease = keys.thread_partition(user_id, thread_id), keys.TURN
                    await self._table.delete(lease, condition=rows.NOT_DELETED)  # first: no hold restores its matter
                yield await self._sweeper.sweep_contents(user_id, thread_id, stop=lambda: False)
        async for page in self._table.pages(partition):
            removed = [key_of(row) for row in page if not rows.is_tombstone(row) and not _is_thread(row)]
            await self._table.write_many(deletes=removed)
            yield Erased(attachments=sum(sort.startswith(keys.ATTACHMENT_PREFIX) for _, sort in removed))
        if self._bucket is not None:
            for prefix in (keys.OFFLOAD_PREFIX, keys.PENDING_PREFIX, keys.KEPT_PREFIX):
                yield Erased(objects=await self._bucket.delete_under(keys.user_objects(prefix, user_id)))

    async def _data(self, row: Row) -> bytes:
        """The stored JSON; the raw bytes if they cannot be unpacked; nothing if the object is gone."""
        try:
            return codec.unpack(await self._payloads.raw(row))
        except codec.UnreadableError:
            return bytes(row.get(rows.PAYLOAD, {}).get("B", b""))

    async def _listed(self, partition: str) -> AsyncIterator[Row]:
        """Every row of a partition that has not expired, in the order of the index."""
        now_s = self._items.now_s()
        after = None
        while True:
            page = await self._table.listed(
                partition,
                after=after,
                descending=False,
                want=bounds.MAX_LIMIT,
                alive=lambda row: rows.is_alive(row, now_s=now_s),
            )
            for row in page:
                if not rows.is_tombstone(row):
                    yield row
            if len(page) < bounds.MAX_LIMIT:
                return
            after = page[-1][keys.ORDER_KEY]["S"]

    async def _rows(self, partition: str, prefix: str) -> AsyncIterator[Row]:
        """Every row of a partition whose sort key begins with `prefix`."""
        async for page in self._table.pages(partition, prefix=prefix):
            for row in page:
                yield row


def _is_thread(row: Row) -> bool:
    """Whether the row is a thread that is not deleted: during an erasure, one that was created since it began."""
    return key_of(row)[1].startswith(keys.THREAD_PREFIX) and keys.ORDER_KEY in row
