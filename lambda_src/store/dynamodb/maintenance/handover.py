"""Moves a guest's thread to a user in DynamoDB: copies the rows under the user's keys, then deletes the old thread.

1. Replace the lease by a tombstone, unless a turn holds it. From here on nothing can write to the thread.
2. Copy items, feedback, attachments and their objects unchanged. The copies are invisible until the thread has a row.
   Existing rows are not overwritten, so that two concurrent handovers do not undo what the user has done since.
3. In one transaction, write the thread's row for the user, delete it for the guest, and schedule a sweep of the rest.

A handover that crashes before step 3 starts again at step 1 and writes the same rows; after step 3 it is complete.

TurnHandover does what the steps 1 and 2 do with turns, also for threads that another store moves.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from lambda_src.errors import ConflictError
from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError, MissingObjectError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.maintenance.sweep import Sweeper
from lambda_src.store.dynamodb.payload_bucket import PayloadBucket
from lambda_src.store.dynamodb.payloads import object_of
from lambda_src.store.dynamodb.table import Put, Row, Table, Update, key_of
from lambda_src.store.dynamodb.threads import Threads
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.ports import CLAIM_TTL_S, Claim, CopyFile, thread_already_exists

TURN_TTL_S = 7 * 86_400  # as for every lease (leases.py)

_NO_TURN = (
    f"attribute_exists(#{rows.DELETED_AT}) OR attribute_not_exists(#{turn_rows.TURN_ID}) OR #{turn_rows.ENDED} = :yes"
)


class TableHandover:
    """ports.Handover on a table. `clock` in nanoseconds since 1970."""

    def __init__(
        self,
        table: Table,
        bucket: PayloadBucket | None,
        threads: Threads,
        sweeper: Sweeper,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._table, self._bucket, self._threads, self._sweeper = table, bucket, threads, sweeper
        self._clock, self._turns = clock, TurnHandover(table, clock=clock)

    async def claim(self, guest_id: str, user_id: str) -> None:
        """Record that the user takes over and that threads remain; ConflictError if another user has claimed them."""
        note = {
            keys.PARTITION_KEY: rows.text(keys.CLAIMS_PARTITION),
            keys.SORT_KEY: rows.text(guest_id),
            rows.USER_ID: rows.text(user_id),
        }
        try:
            claim = Update(
                (keys.user_partition(guest_id), keys.CLAIMED),
                f"SET #{rows.USER_ID} = :user, #{keys.TTL_ATTRIBUTE} = :ttl",
                {":user": rows.text(user_id), ":ttl": rows.number(self._now_s() + CLAIM_TTL_S)},
                condition=f"attribute_not_exists(#{rows.USER_ID}) OR #{rows.USER_ID} = :user",
            )
            await self._table.transact(claim, Put(note))
        except ConditionFailedError:
            raise ConflictError("Another user has already taken over this guest's threads.") from None

    async def end_claim(self, guest_id: str) -> None:
        """Delete the row of an unfinished handover."""
        await self._table.delete((keys.CLAIMS_PARTITION, guest_id))

    async def claims(self) -> AsyncIterator[Claim]:
        """The unfinished handovers."""
        async for page in self._table.pages(keys.CLAIMS_PARTITION):
            for row in page:
                yield Claim(row[keys.SORT_KEY]["S"], row[rows.USER_ID]["S"])

    async def hand_over(self, thread_id: str, guest_id: str, user_id: str, *, copy_file: CopyFile) -> bool:
        """ports.Handover."""
        own = await self._table.get((keys.user_partition(user_id), keys.thread_sort(thread_id)))
        thread = await self._table.get((keys.user_partition(guest_id), keys.thread_sort(thread_id)))
        if thread is None or not rows.is_alive(thread, now_s=self._now_s()):
            return True
        if own is not None:  # read before the guest's row, so it cannot be the guest's thread, moved in between
            raise thread_already_exists(thread_id)
        if not await self._turns.close(guest_id, thread_id):
            return False
        await self._copy_attachments(thread_id, guest_id, user_id, copy_file)
        await self._copy_items(thread_id, guest_id, user_id)
        moved = {**thread, keys.PARTITION_KEY: rows.text(keys.user_partition(user_id))}
        if (
            not await self._threads.delete(guest_id, thread_id, also=[moved])
            and await self._table.get(key_of(moved)) is None
        ):
            await self._sweeper.sweep_whole(user_id, thread_id)  # the guest deleted it meanwhile: remove the copies
        return True

    async def _copy_items(self, thread_id: str, guest_id: str, user_id: str) -> None:
        """Copy items, cursors of deleted items, feedback and what leads to matters, give the matters to the user, and
        write an ended lease with the newest item's order.

        The journals of ended turns are not needed.
        """
        source, target = keys.thread_partition(guest_id, thread_id), keys.thread_partition(user_id, thread_id)
        objects = keys.thread_objects(guest_id, thread_id), keys.thread_objects(user_id, thread_id)
        newest = 0
        for prefix in (keys.ITEM_PREFIX, keys.FEEDBACK_PREFIX, keys.MATTER_PREFIX):
            async for page in self._table.pages(source, prefix=prefix):
                for row in page:
                    order = row.get(keys.ORDER_KEY) or row.get(rows.WAS_ORDER)
                    newest = max(newest, keys.arrived_ns(order["S"]) if order else 0)
                    await self._copy(row, target, *objects)
                    if rows.INBOX in row:
                        await self._turns.move_matter(row, guest_id, user_id)
        ttl_s = self._now_s() + TURN_TTL_S
        closed = await self._table.get((source, keys.TURN)) or {}
        await self._copy(turn_rows.over(target, last_order=newest, ttl_s=ttl_s, before=closed), target, *objects)

    async def _copy_attachments(self, thread_id: str, guest_id: str, user_id: str, copy_file: CopyFile) -> None:
        source, target = keys.user_partition(guest_id), keys.user_partition(user_id)
        objects = keys.user_objects(keys.OFFLOAD_PREFIX, guest_id), keys.user_objects(keys.OFFLOAD_PREFIX, user_id)
        async for page in self._table.pages(source, prefix=keys.ATTACHMENT_PREFIX):
            bound = [row for row in page if row.get(rows.THREAD, {}).get("S") == thread_id]
            for row in bound:
                await copy_file(rows.sort_id(row, keys.ATTACHMENT_PREFIX))
                await self._copy(row, target, *objects)

    async def _copy(self, row: Row, partition: str, from_objects: str, to_objects: str) -> None:
        """Copy the row and its payload's object to the new owner's keys, unless the row was copied before."""
        moved = {**row, keys.PARTITION_KEY: rows.text(partition)}
        source = object_of(row)
        if source is not None and self._bucket is not None:
            target = to_objects + source.removeprefix(from_objects)
            with suppress(MissingObjectError):  # an unreadable row stays unreadable
                await self._bucket.put(target, await self._bucket.get(source), row=key_of(moved))
            moved[rows.OBJECT] = rows.text(target)
        with suppress(ConditionFailedError):
            await self._table.put(moved, condition=f"attribute_not_exists(#{keys.PARTITION_KEY})")

    def _now_s(self) -> int:
        return self._clock() // 1_000_000_000


class TurnHandover:
    """Moves a thread's hold and its matters in the operators' inbox. `clock` in nanoseconds since 1970."""

    def __init__(self, table: Table, *, clock: Callable[[], int]) -> None:
        self._table, self._clock = table, clock

    async def close(self, guest_id: str, thread_id: str, *, kept_s: int | None = None) -> bool:
        """Let no new turn begin in the thread; False if one is running. The row keeps who has the thread, if a person
        has. It expires after `kept_s`, if given.
        """
        closed = {keys.ORDER_KEY: rows.text(keys.LAST_ORDER), rows.DELETED_AT: rows.number(self._now_s())}
        removed = f"#{turn_rows.TURN_ID}"
        if kept_s is None:
            removed += f", #{keys.TTL_ATTRIBUTE}"
        else:
            closed[keys.TTL_ATTRIBUTE] = rows.number(self._now_s() + kept_s)
        try:
            await self._table.update(
                (keys.thread_partition(guest_id, thread_id), keys.TURN),
                f"SET {rows.setting(closed)} REMOVE {removed}",
                condition=_NO_TURN,
                values={**rows.valued(closed), ":yes": {"BOOL": True}},
            )
        except ConditionFailedError:
            return False
        return True

    async def move_matter(self, lead: Row, guest_id: str, user_id: str) -> None:
        """Give a matter of the operators' inbox to the user, unless it was closed and removed meanwhile."""
        with suppress(ConditionFailedError):
            await self._table.update(
                rows.matter_key(lead),
                f"SET #{rows.USER_ID} = :user, #is_guest = :no, #changed_ms = :now",
                condition=f"#{rows.USER_ID} = :guest",
                values={
                    ":user": rows.text(user_id),
                    ":guest": rows.text(guest_id),
                    ":no": {"BOOL": False},
                    ":now": rows.number(self._clock() // 1_000_000),
                },
            )

    async def hand_over(self, thread_id: str, guest_id: str, user_id: str) -> bool:
        """ports.TurnLedger.hand_over_turns."""
        if not await self.close(guest_id, thread_id, kept_s=TURN_TTL_S):
            return False
        source, target = keys.thread_partition(guest_id, thread_id), keys.thread_partition(user_id, thread_id)
        async for page in self._table.pages(source, prefix=keys.MATTER_PREFIX):
            for lead in page:
                await self._copy({**lead, keys.PARTITION_KEY: rows.text(target)})
                await self.move_matter(lead, guest_id, user_id)
                await self._table.delete(key_of(lead))
        closed = await self._table.get((source, keys.TURN)) or {}
        last_order = int(closed.get(turn_rows.LAST_ORDER, {}).get("N", "0"))
        ttl_s = self._now_s() + TURN_TTL_S
        await self._copy(turn_rows.over(target, last_order=last_order, ttl_s=ttl_s, before=closed))
        return True

    async def _copy(self, row: Row) -> None:
        """Write a row of the new owner's, unless an earlier attempt wrote it."""
        with suppress(ConditionFailedError):
            await self._table.put(row, condition=f"attribute_not_exists(#{keys.PARTITION_KEY})")

    def _now_s(self) -> int:
        return self._clock() // 1_000_000_000
