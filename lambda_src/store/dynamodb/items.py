"""Thread items in DynamoDB: one row each, loaded by id or listed in order of arrival."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chatkit.store import NotFoundError
from chatkit.types import Page, ThreadItem, WorkflowItem

from lambda_src.errors import ConflictError
from lambda_src.store import codec, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.payloads import Payloads, Stored, expiring, object_of
from lambda_src.store.dynamodb.table import Key, Put, Row, Table, key_of
from lambda_src.store.dynamodb.turns.leases import Leases
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import thread_not_found

_NS = 1_000_000_000


class Items:
    """The items of every thread. `expires_s`: when a written item expires, in epoch seconds; None: never."""

    def __init__(
        self,
        table: Table,
        payloads: Payloads,
        clocks: ThreadClocks,
        leases: Leases,
        *,
        clock: Callable[[], int],
        reader: Reader,
    ) -> None:
        self._table = table
        self._payloads = payloads
        self._clocks = clocks
        self._leases = leases
        self._clock = clock
        self._reader = reader

    def now_s(self) -> int:
        """The current time in epoch seconds."""
        return self._clock() // _NS

    async def add(
        self,
        user_id: str,
        thread_id: str,
        item: ThreadItem,
        *,
        turn_id: str | None,
        expires_s: int | None,
        source: str | None = None,
    ) -> None:
        """Add a new item. Adding it again is a no-op, and an open workflow is replaced in place; otherwise
        ConflictError.

        `source`: the model and the release that wrote it, if they are to be stored.
        """
        partition = keys.thread_partition(user_id, thread_id)
        key = (partition, keys.item_sort(item.id))
        await self._leases.catch_up(user_id, thread_id, turn_id)
        arrived = self._clocks.next(partition, turn_id)
        stored = await self._stored(user_id, thread_id, item, expires_s)
        if source is not None:
            stored = replace(stored, attributes={**stored.attributes, rows.SOURCE: rows.text(source)})
        try:
            old = await self._add(key, stored, arrived, item)
        except ConditionFailedError as fault:
            existing = fault.old
            if object_of(existing) != stored.object_key:
                await self._payloads.delete(stored.object_key)
            self._observe(partition, existing)
            if existing.get(rows.DIGEST, {}).get("B") != stored.digest:
                raise ConflictError("Another item of this thread has this id.") from None
            return  # a retry after a lost response, or the same item again
        await self._replaced(partition, old, stored)

    async def creation(
        self, user_id: str, thread_id: str, item: ThreadItem, *, turn_id: str | None, expires_s: int | None
    ) -> Put:
        """The write of a transaction that adds an item. Call `delete_payload` if the transaction fails."""
        partition = keys.thread_partition(user_id, thread_id)
        arrived = self._clocks.next(partition, turn_id)
        stored = await self._stored(user_id, thread_id, item, expires_s)
        return self._put((partition, keys.item_sort(item.id)), stored, arrived, is_open=codec.is_open(item))

    async def delete_payload(self, creation: Put) -> None:
        """Delete the S3 object of an item that was not added."""
        await self._payloads.delete(object_of(creation.row))

    async def save(
        self, user_id: str, thread_id: str, item: ThreadItem, *, turn_id: str | None, expires_s: int | None
    ) -> None:
        """Write the item; an existing one keeps its position."""
        partition = keys.thread_partition(user_id, thread_id)
        await self._leases.catch_up(user_id, thread_id, turn_id)
        arrived = self._clocks.next(partition, turn_id)
        stored = await self._stored(user_id, thread_id, item, expires_s)
        key = (partition, keys.item_sort(item.id))
        while True:
            with suppress(ConditionFailedError):  # raised if an expired row has the key: then the item is new
                old = await self._write(key, stored, arrived, is_open=codec.is_open(item), condition=rows.NOT_EXPIRED)
                break
            with suppress(ConditionFailedError):  # raised if another writer just added it
                old = await self._create(key, stored, arrived, is_open=codec.is_open(item))
                break
        await self._replaced(partition, old, stored)

    async def restore(
        self, user_id: str, thread_id: str, item_id: str, data: bytes, *, order: int, expires_s: int | None
    ) -> bytes | None:
        """Restore an exported item in its position. Returns the digest of an existing item with its id, else None."""
        partition = keys.thread_partition(user_id, thread_id)
        key = (partition, keys.item_sort(item_id))
        prefix = _prefix(user_id, thread_id, item_id)
        stored = expiring(await self._payloads.store(data, row=key, object_prefix=prefix), expires_s)
        try:
            await self._create(key, stored, order, is_open=codec.is_open_workflow(data))
        except ConditionFailedError as fault:
            if object_of(fault.old) != stored.object_key:
                await self._payloads.delete(stored.object_key)
            return bytes(fault.old.get(rows.DIGEST, {}).get("B", b""))
        return None

    async def load(self, user_id: str, thread_id: str, item_id: str) -> ThreadItem:
        """The item; NotFoundError if the item or its thread is missing, deleted or someone else's."""
        row = await self._listed_row(user_id, thread_id, item_id)
        if row is None or not rows.is_alive(row, now_s=self.now_s()):
            raise NotFoundError("There is no such item in this thread.")
        item = await self._read(row, thread_id)
        if item is None:
            raise NotFoundError("There is no such item in this thread.")
        return item

    async def page(
        self, user_id: str, thread_id: str, *, after: str | None, limit: int, descending: bool
    ) -> Page[ThreadItem]:
        """Up to `limit` items after the cursor `after`: one request, two with a cursor. NotFoundError for an unknown
        cursor.
        """
        partition = keys.thread_partition(user_id, thread_id)
        cursor = None
        if after is not None:
            row = await self._listed_row(user_id, thread_id, after)
            cursor = rows.cursor_of(row, now_s=self.now_s())
            if cursor is None:
                raise NotFoundError("There is no such item in this thread.")
        now_s = self.now_s()
        listed = await self._table.listed(
            partition,
            after=cursor,
            descending=descending,
            want=limit + 1,
            alive=lambda row: rows.is_alive(row, now_s=now_s),
        )
        if any(rows.is_tombstone(row) for row in listed):  # also one that was written after the cursor was read
            return Page()
        page = listed[:limit]
        for row in page:
            self._observe(partition, row)
        data = await self._read_all(page, thread_id)
        has_more = len(listed) > limit
        after = rows.sort_id(page[-1], keys.ITEM_PREFIX) if has_more else None
        return Page(data=data, has_more=has_more, after=after)

    async def delete(self, user_id: str, thread_id: str, item_id: str, *, turn_id: str | None) -> None:
        """Delete the item; its emptied row remains valid as a cursor for a day.

        No-op if the item does not exist or belongs to a later turn.
        """
        partition = keys.thread_partition(user_id, thread_id)
        await self._leases.catch_up(user_id, thread_id, turn_id)
        window_end = self._clocks.window_end(partition, turn_id)
        await self._delete_row((partition, keys.item_sort(item_id)), window_end=window_end)

    async def add_feedback(self, user_id: str, thread_id: str, item_ids: list[str], feedback: str) -> list[str]:
        """Store the feedback on those items that exist, and return the source of each. NotFoundError if their thread
        does not exist.
        """
        partition = keys.thread_partition(user_id, thread_id)
        thread = (keys.user_partition(user_id), keys.thread_sort(thread_id))
        wanted = [thread, *((partition, keys.item_sort(item_id)) for item_id in item_ids)]
        existing = await self._table.get_many(wanted, only=(keys.ORDER_KEY, keys.TTL_ATTRIBUTE, rows.SOURCE))
        now_s = self.now_s()
        alive = {key: row for key, row in existing.items() if rows.is_alive(row, now_s=now_s)}
        if alive.pop(thread, None) is None:
            raise thread_not_found(thread_id)
        await self._table.write_many(
            puts=[
                {
                    keys.PARTITION_KEY: rows.text(partition),
                    keys.SORT_KEY: rows.text(keys.feedback_sort(rows.sort_id(row, keys.ITEM_PREFIX))),
                    rows.FEEDBACK: rows.text(feedback),
                    **({keys.TTL_ATTRIBUTE: row[keys.TTL_ATTRIBUTE]} if keys.TTL_ATTRIBUTE in row else {}),
                }
                for row in alive.values()
            ]
        )
        return [row.get(rows.SOURCE, {}).get("S", "") for row in alive.values()]

    async def _read(self, row: Row, thread_id: str) -> ThreadItem | None:
        """The item of a row, or a placeholder if it cannot be read (the row is counted and left unchanged).

        Replacing a row deletes its S3 object immediately, so if the object is missing, the current row is read
        instead. None if the item has been deleted meanwhile.
        """
        while True:
            try:
                return codec.load_item(await self._payloads.load(row))
            except codec.UnreadableError:
                current = await self._table.get(key_of(row)) if object_of(row) else row
                if current is None or not rows.is_alive(current, now_s=self.now_s()):
                    return None
                if object_of(current) == object_of(row):
                    item_id = rows.sort_id(row, keys.ITEM_PREFIX)
                    return self._reader.item(item_id, thread_id, None, arrived=rows.arrived_at(row))
                row = current

    async def _read_all(self, page: list[Row], thread_id: str) -> list[ThreadItem]:
        """The items of rows. Read concurrently only if some are in S3: a task costs more than decoding a row."""
        if any(object_of(row) for row in page):
            items = list(await asyncio.gather(*(self._read(row, thread_id) for row in page)))
        else:
            items = [await self._read(row, thread_id) for row in page]
        return [item for item in items if item is not None]

    async def _listed_row(self, user_id: str, thread_id: str, item_id: str) -> Row | None:
        """The row of an item, unless its thread is deleted: one request for both."""
        partition = keys.thread_partition(user_id, thread_id)
        key = (partition, keys.item_sort(item_id))
        turn = (partition, keys.TURN)
        loaded = await self._table.get_many([key, turn])
        return None if rows.is_tombstone(loaded.get(turn)) else loaded.get(key)

    async def _stored(self, user_id: str, thread_id: str, item: ThreadItem, expires_s: int | None) -> Stored:
        key = (keys.thread_partition(user_id, thread_id), keys.item_sort(item.id))
        prefix = _prefix(user_id, thread_id, item.id)
        return expiring(await self._payloads.store(codec.dump(item), row=key, object_prefix=prefix), expires_s)

    async def _add(self, key: Key, stored: Stored, arrived: int, item: ThreadItem) -> Row:
        """Create the row; a workflow may also replace an open one in place."""
        try:
            return await self._create(key, stored, arrived, is_open=codec.is_open(item))
        except ConditionFailedError as fault:
            if not isinstance(item, WorkflowItem) or rows.OPEN not in fault.old:
                raise
        return await self._write(key, stored, arrived, is_open=codec.is_open(item), condition=rows.STILL_OPEN)

    async def _create(self, key: Key, stored: Stored, arrived: int, *, is_open: bool) -> Row:
        """Create the row unless one is listed; a deleted or expired row is replaced completely."""
        return await self._table.apply(self._put(key, stored, arrived, is_open=is_open))

    def _put(self, key: Key, stored: Stored, arrived: int, *, is_open: bool) -> Put:
        row = {
            keys.PARTITION_KEY: rows.text(key[0]),
            keys.SORT_KEY: rows.text(key[1]),
            keys.ORDER_KEY: _order(key, arrived),
            **self._attributes(stored, is_open=is_open),
        }
        return Put(row, rows.NOT_LISTED, {":now": rows.number(self.now_s())})

    async def _write(self, key: Key, stored: Stored, arrived: int, *, is_open: bool, condition: str) -> Row:
        """Overwrite the row if `condition` allows it; a listed row keeps its position."""
        attributes = self._attributes(stored, is_open=is_open)
        removed = {*stored.removed, rows.WAS_ORDER, rows.OPEN, keys.TTL_ATTRIBUTE} - set(attributes)
        expression = (
            f"SET #order = if_not_exists(#order, :order), {rows.setting(attributes)} "
            f"REMOVE {', '.join(f'#{name}' for name in sorted(removed))}"
        )
        values = {":order": _order(key, arrived), **rows.valued(attributes)}
        values |= {":now": rows.number(self.now_s())} if ":now" in condition else {":yes": {"BOOL": True}}
        return await self._table.update(key, expression, condition=condition, values=values)

    @staticmethod
    def _attributes(stored: Stored, *, is_open: bool) -> dict[str, Mapping[str, Any]]:
        attributes = dict(stored.attributes)
        if is_open:
            attributes[rows.OPEN] = {"BOOL": True}
        return attributes

    async def _delete_row(self, key: Key, *, window_end: int | None) -> None:
        values: dict[str, Mapping[str, Any]] = {":expires": rows.number(self.now_s() + rows.CURSOR_TTL_S)}
        condition = rows.LISTED
        if window_end is not None:
            condition += " AND #order < :window_end"
            values[":window_end"] = rows.text(keys.order_of(window_end, ""))
        try:
            old = await self._table.update(
                key,
                f"SET #was_order = #order, #expires_at = :expires REMOVE #order, #{rows.PAYLOAD}, #{rows.OBJECT}, "
                f"#{rows.ENCODING}, #{rows.SCHEMA}, #{rows.DIGEST}, #{rows.OPEN}",
                condition=condition,
                values=values,
            )
        except ConditionFailedError:
            return
        await self._payloads.delete(object_of(old))

    async def _replaced(self, partition: str, old: Row, stored: Stored) -> None:
        """After a write: let the clock observe the replaced row, and delete its object."""
        self._observe(partition, old)
        if object_of(old) != stored.object_key:
            await self._payloads.delete(object_of(old))

    def _observe(self, partition: str, row: Row) -> None:
        if keys.ORDER_KEY in row and row[keys.ORDER_KEY]["S"][:1].isdigit():
            self._clocks.follow(partition, keys.arrived_ns(row[keys.ORDER_KEY]["S"]))


def _prefix(user_id: str, thread_id: str, item_id: str) -> str:
    return keys.offload_object(user_id, thread_id, item_id, "")


def _order(key: Key, arrived: int) -> dict[str, str]:
    return rows.text(keys.order_of(arrived, key[1].removeprefix(keys.ITEM_PREFIX)))
