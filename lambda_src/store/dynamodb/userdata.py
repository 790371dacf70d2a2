"""A person's rights on one table: export, import, erase. Reads and writes rows as they are. Knows no HTTP, no model."""

from collections.abc import AsyncIterator

from lambda_src.store import bounds, codec, keys, records
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.attachments import Attachments
from lambda_src.store.dynamodb.items import Items
from lambda_src.store.dynamodb.payloads import Payloads
from lambda_src.store.dynamodb.sweep import Sweeper
from lambda_src.store.dynamodb.table import Row, Table, key_of
from lambda_src.store.dynamodb.threads import Threads
from lambda_src.store.ports import Erased, Record
from lambda_src.store.s3 import PayloadBucket


class UserRows:
    """Everything of one user's, row by row."""

    def __init__(
        self,
        table: Table,
        bucket: PayloadBucket | None,
        payloads: Payloads,
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

    async def export(self, user_id: str) -> AsyncIterator[Record]:
        """Threads by time, each followed by its items by arrival and its feedback; attachments last."""
        async for row in self._listed(keys.user_partition(user_id)):
            thread_id = rows.sort_id(row, keys.THREAD_PREFIX)
            order = keys.arrived_ns(row[keys.ORDER_KEY]["S"])
            yield records.thread_record(thread_id, rows.thread_fields(row), order=order)
            async for record in self._export_thread(user_id, thread_id):
                yield record
        async for row in self._rows(keys.user_partition(user_id), keys.ATTACHMENT_PREFIX):
            attachment_id = rows.sort_id(row, keys.ATTACHMENT_PREFIX)
            if (living := await self._attachments.row(user_id, attachment_id)) is not None:
                bound_to = living.get(rows.THREAD, {}).get("S")
                yield records.record("attachment", attachment_id, await self._data(living), thread_id=bound_to)

    async def _export_thread(self, user_id: str, thread_id: str) -> AsyncIterator[Record]:
        partition = keys.thread_partition(user_id, thread_id)
        async for row in self._listed(partition):
            item_id = rows.sort_id(row, keys.ITEM_PREFIX)
            order = keys.arrived_ns(row[keys.ORDER_KEY]["S"])
            yield records.record("item", item_id, await self._data(row), thread_id=thread_id, order=order)
        async for row in self._rows(partition, keys.FEEDBACK_PREFIX):
            item_id = rows.sort_id(row, keys.FEEDBACK_PREFIX)
            yield records.feedback_record(item_id, row[rows.FEEDBACK]["S"], thread_id=thread_id)

    async def restore(self, record: Record, user_id: str) -> bool:
        """Put one record back; see ports.UserData."""
        bounds.writable(user_id, record["id"], record.get("thread_id", record["id"]))
        match record["kind"]:
            case "thread":
                fields = records.fields_of(record)
                return await self._threads.restore(user_id, record["id"], fields, order=record["order"])
            case "item":
                return await self._items.restore(
                    user_id, record["thread_id"], record["id"], records.data_of(record), order=record["order"]
                )
            case "attachment":
                data = records.data_of(record)
                standing = await self._attachments.row(user_id, record["id"])
                if standing is not None and standing.get(rows.DIGEST, {}).get("B") == codec.digest(data):
                    return False
                await self._attachments.write(user_id, record["id"], data, thread_id=record.get("thread_id"))
                return True
            case "feedback":
                await self._items.add_feedback(user_id, record["thread_id"], [record["id"]], record["value"])
                return True
            case kind:
                raise ValueError(f"A record of an unknown kind: {kind}.")

    async def erase(self, user_id: str) -> AsyncIterator[Erased]:
        """Remove the user's threads, then everything else in the user's partition and in the bucket."""
        partition = keys.user_partition(user_id)
        async for row in self._rows(partition, keys.THREAD_PREFIX):
            erased = await self._sweeper.purge(user_id, rows.sort_id(row, keys.THREAD_PREFIX))
            yield erased + Erased(threads=1)
        while rest := await self._table.partition(partition, only=(keys.ORDER_KEY,)):
            await self._table.write_many(deletes=[key_of(row) for row in rest])
            yield Erased(attachments=sum(key_of(row)[1].startswith(keys.ATTACHMENT_PREFIX) for row in rest))
        if self._bucket is not None:
            for prefix in (keys.OFFLOAD_PREFIX, keys.PENDING_PREFIX, keys.KEPT_PREFIX):
                yield Erased(objects=await self._bucket.delete_under(keys.user_objects(prefix, user_id)))

    async def _data(self, row: Row) -> bytes:
        """The stored JSON; of what cannot be unpacked the bytes as they are, of what is gone nothing."""
        try:
            return codec.unpack(await self._payloads.raw(row))
        except codec.UnreadableError:
            return bytes(row.get(rows.PAYLOAD, {}).get("B", b""))

    async def _listed(self, partition: str) -> AsyncIterator[Row]:
        """Every living row of a partition in the order of the index."""
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
        after = ""
        while page := await self._table.partition(partition, prefix=prefix, after=after):
            for row in page:
                yield row
            after = key_of(page[-1])[1]
