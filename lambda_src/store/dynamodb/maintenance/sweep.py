"""Sweeps in DynamoDB: removes the rows and objects that deleted threads leave behind, and orphaned objects.

A sweep may stop after any step: the row of the pending sweep is removed last, so the next sweep continues.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.payload_bucket import PayloadBucket
from lambda_src.store.dynamodb.table import Key, Row, Table, key_of
from lambda_src.store.ports import Erased

ORPHAN_AGE = timedelta(hours=24)  # far longer than a write takes between storing the object and its row
PASS_EVERY_S = 86_400  # the hourly sweep checks every object once a day

_TOMBSTONES = (keys.TURN, keys.GONE)


class Sweeper:
    """Finishes deletes. `clock` in nanoseconds since 1970."""

    def __init__(self, table: Table, bucket: PayloadBucket | None, *, clock: Callable[[], int]) -> None:
        self._table = table
        self._bucket = bucket
        self._clock = clock

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """Sweep all deleted threads that are due until `stop()` returns True; the next call continues.

        A thread's rows and objects are removed immediately, its tombstones only once no late write can arrive. Until
        then, each call only reads the row of its pending sweep, with a thousand others.
        """
        erased = Erased()
        for shard in range(keys.SWEEP_SHARDS):
            async for page in self._table.pages(keys.sweep_partition(shard)):
                for pending in page:
                    if stop():
                        return erased
                    erased += await self._sweep_pending(pending, stop=stop)
        return erased

    async def _sweep_pending(self, pending: Row, *, stop: Callable[[], bool]) -> Erased:
        user_id, thread_id = pending[rows.USER_ID]["S"], pending[rows.THREAD_ID]["S"]
        is_final = int(pending[rows.DELETED_AT]["N"]) + LATE_WRITES_S <= self._now_s()
        if rows.CLEARED_AT in pending and not is_final:
            return Erased()
        erased = await self.sweep_contents(user_id, thread_id, stop=stop)
        if stop():
            return erased
        if is_final:
            await self._sweep_tombstones(user_id, thread_id, pending=key_of(pending))
        else:
            await self._mark_swept(user_id, thread_id)
        return erased

    async def sweep_thread(self, user_id: str, thread_id: str, *, stop: Callable[[], bool]) -> Erased:
        """Sweep one thread that was just deleted; one request if nothing is left of it.

        Also removes items of a thread that was never saved. No-op for a thread that is not deleted.
        """
        last = await self._table.last(keys.thread_partition(user_id, thread_id))
        if last is None:
            return Erased()
        thread = (keys.user_partition(user_id), keys.thread_sort(thread_id))
        if not rows.is_tombstone(last) and await self._table.get(thread) is not None:
            return Erased()
        erased = await self.sweep_contents(user_id, thread_id, stop=stop)
        if not stop():
            await self._mark_swept(user_id, thread_id)
        return erased

    async def _mark_swept(self, user_id: str, thread_id: str) -> None:
        """Record that only the final pass is left; no-op if no sweep is pending."""
        with suppress(ConditionFailedError):
            await self._table.update(
                _pending_sweep(user_id, thread_id),
                f"SET #{rows.CLEARED_AT} = :now",
                condition=f"attribute_exists(#{rows.DELETED_AT})",
                values={":now": rows.number(self._now_s())},
            )

    async def sweep_whole(self, user_id: str, thread_id: str) -> Erased:
        """Remove a thread and its tombstones, whether it was deleted before or not."""
        erased = await self.sweep_contents(user_id, thread_id, stop=lambda: False)
        await self._sweep_tombstones(user_id, thread_id)
        return erased

    async def sweep_contents(self, user_id: str, thread_id: str, *, stop: Callable[[], bool]) -> Erased:
        """Remove a thread's items, journal, feedback, matters, attachments and objects, but not its tombstones."""
        partition = keys.thread_partition(user_id, thread_id)
        items = 0
        async for page in self._table.pages(partition, only=(keys.ORDER_KEY, rows.INBOX, rows.MATTER)):
            if stop():
                break
            await delete_matters(self._table, page, user_id)
            await self._table.write_many(deletes=[key_of(row) for row in page if key_of(row)[1] not in _TOMBSTONES])
            items += sum(1 for row in page if key_of(row)[1].startswith(keys.ITEM_PREFIX) and keys.ORDER_KEY in row)
        attachments, objects = (0, 0) if stop() else await self._sweep_attachments(user_id, thread_id)
        if self._bucket is not None and not stop():
            objects += await self._bucket.delete_under(keys.thread_objects(user_id, thread_id))
        return Erased(items=items, attachments=attachments, objects=objects)

    async def _sweep_tombstones(self, user_id: str, thread_id: str, *, pending: Key | None = None) -> None:
        """Remove a thread's tombstones and, last, the row of its pending sweep."""
        partition = keys.thread_partition(user_id, thread_id)
        await self._table.write_many(deletes=[(partition, sort) for sort in _TOMBSTONES])
        await self._table.delete((keys.user_partition(user_id), keys.thread_sort(thread_id)))
        await self._table.delete(pending or _pending_sweep(user_id, thread_id))

    async def orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """Remove objects older than a day that no row refers to, and return how many.

        Without `everything`, continue the pass over the bucket where the last call stopped; a pass begins once a day.
        An upload is removed only if its row is gone: one without a message may still get one within two days.
        """
        if self._bucket is None:
            return 0
        if everything:
            removed, _ = await self._walk(self._bucket, "", stop)
            return removed
        now_s = self._now_s()
        progress = await self._table.get(keys.ORPHANS_PASS)
        began_s, after = now_s, ""
        if progress is not None:
            began_s, after = int(progress[rows.BEGAN_AT]["N"]), progress[rows.WALKED_TO]["S"]
            if rows.IS_DONE in progress:
                if now_s < began_s + PASS_EVERY_S:
                    return 0
                began_s, after = now_s, ""
        removed, reached = await self._walk(self._bucket, after, stop)
        walked = {rows.BEGAN_AT: rows.number(began_s), rows.WALKED_TO: rows.text(reached or "")}
        if reached is None:
            walked[rows.IS_DONE] = {"BOOL": True}
        pk, sk = keys.ORPHANS_PASS
        await self._table.put({keys.PARTITION_KEY: rows.text(pk), keys.SORT_KEY: rows.text(sk), **walked})
        return removed

    async def _walk(self, bucket: PayloadBucket, after: str, stop: Callable[[], bool]) -> tuple[int, str | None]:
        """Remove the orphans after the key `after`. Returns how many, and the last key checked, None at the end."""
        oldest = datetime.fromtimestamp(self._clock() / 1_000_000_000, UTC) - ORPHAN_AGE
        removed = 0
        for prefix, orphans_of in (
            (keys.KEPT_PREFIX, self._files_without_a_row),
            (keys.OFFLOAD_PREFIX, self._payloads_without_a_row),
        ):
            if after > prefix and not after.startswith(prefix):
                continue
            async for page in bucket.pages_under(prefix, after=after if after.startswith(prefix) else ""):
                if stop():
                    return removed, after
                for key in await orphans_of(bucket, [stored.key for stored in page if stored.modified <= oldest]):
                    await bucket.delete(key)
                    removed += 1
                after = page[-1].key if page else after
        return removed, None

    async def _payloads_without_a_row(self, bucket: PayloadBucket, batch: list[str]) -> list[str]:
        owners = {key: keys.row_of_payload(key) for key in batch}
        for key, owner in owners.items():
            if owner is None:  # the key contains a hashed id: the object's metadata has the row's key
                pk, sk = await bucket.row_of(key)
                owners[key] = (pk, sk) if pk and sk else None
        owned = {key: owner for key, owner in owners.items() if owner is not None}  # skip objects of unknown origin
        existing = await self._table.get_many(list(owned.values()), only=(rows.OBJECT,)) if owned else {}
        return [key for key, owner in owned.items() if existing.get(owner, {}).get(rows.OBJECT, {}).get("S") != key]

    async def _files_without_a_row(self, bucket: PayloadBucket, batch: list[str]) -> list[str]:
        owners = {key: keys.row_of_attachment_object(key) for key in batch}
        owned = {key: owner for key, owner in owners.items() if owner is not None}
        existing = await self._table.get_many(list(owned.values()), only=(keys.TTL_ATTRIBUTE,)) if owned else {}
        now_s = self._now_s()
        living = {owner for owner, row in existing.items() if not rows.is_expired(row, now_s=now_s)}
        return [key for key, owner in owned.items() if owner not in living]

    async def _sweep_attachments(self, user_id: str, thread_id: str) -> tuple[int, int]:
        """Remove a thread's attachments. Objects first: if this fails midway, the row still leads to them."""
        bound: list[Key] = []
        partition = keys.user_partition(user_id)
        async for page in self._table.pages(partition, prefix=keys.ATTACHMENT_PREFIX, only=(rows.THREAD,)):
            bound += [key_of(row) for row in page if row.get(rows.THREAD, {}).get("S") == thread_id]
        objects = 0
        for _, sort in bound:
            objects += await self._sweep_attachment_objects(user_id, sort.removeprefix(keys.ATTACHMENT_PREFIX))
        await self._table.write_many(deletes=bound)
        return len(bound), objects

    async def _sweep_attachment_objects(self, user_id: str, attachment_id: str) -> int:
        """Remove an attachment's bytes and its offloaded metadata; returns how many objects."""
        if self._bucket is None:
            return 0
        removed = await self._bucket.delete_under(keys.attachment_objects(user_id, attachment_id))
        return removed + await self._bucket.delete_under(keys.attachment_payload(user_id, attachment_id, ""))

    def _now_s(self) -> int:
        return self._clock() // 1_000_000_000


async def delete_matters(table: Table, page: Iterable[Row], user_id: str) -> None:
    """Remove the matters that rows of a thread lead to, before those rows; not one that account linking has moved."""
    for row in page:
        if rows.INBOX in row:
            with suppress(ConditionFailedError):
                owner = {":user": rows.text(user_id)}
                await table.delete(rows.matter_key(row), condition=f"#{rows.USER_ID} = :user", values=owner)


async def threads_left(table: Table, user_id: str) -> AsyncIterator[str]:
    """Threads of a user that still have rows in their own partition. Reads the whole table."""
    seen: set[str] = set()
    async for row in table.every_row(keys.thread_partition(user_id, "")):
        _, thread_id = keys.owner_of(key_of(row)[0])
        if thread_id not in seen:
            seen.add(thread_id)
            yield thread_id


def _pending_sweep(user_id: str, thread_id: str) -> Key:
    return keys.sweep_partition(keys.sweep_shard(thread_id)), keys.sweep_sort(user_id, thread_id)
