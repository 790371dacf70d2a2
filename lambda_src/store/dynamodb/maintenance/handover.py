"""Threads that change hands on one table: rows are copied under the new owner's keys, then the old thread is deleted.

1. A tombstone takes the place of the lease, if no turn has it: from here on nobody writes to the thread.
2. Items, feedback, attachments are copied as they are, objects too. Without the thread's row nobody sees the copies;
   what is there already stays, so that two who do this at once do not undo what the user did since.
3. One transaction writes the thread's row for the user, deletes it for the guest, and notes the rest for the sweep.

Who died before step 3 begins again at step 1 and writes the same rows once more; after it nothing is left to be done.
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
from lambda_src.store.dynamodb.table import Row, Table, key_of
from lambda_src.store.dynamodb.threads import Threads
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.ports import CLAIM_TTL_S, Claim, CopyFile, already_theirs

TURN_TTL_S = 7 * 86_400  # as long as any lease stands (leases.py)

_NO_TURN = (
    f"attribute_exists(#{rows.DELETED_AT}) OR attribute_not_exists(#{turn_rows.TURN_ID}) OR #{turn_rows.ENDED} = :yes"
)


class HandedOver:
    """What ports.Handover asks of the table. `clock` in nanoseconds since 1970."""

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
        self._clock = clock

    async def claim(self, guest_id: str, user_id: str) -> None:
        """Note who takes over, and that it is to be done; ConflictError when somebody else does."""
        note = {
            keys.PARTITION_KEY: rows.text(keys.CLAIMS_PARTITION),
            keys.SORT_KEY: rows.text(guest_id),
            rows.USER_ID: rows.text(user_id),
        }
        try:
            await self._table.replace(
                (keys.user_partition(guest_id), keys.CLAIMED),
                f"SET #{rows.USER_ID} = :user, #{keys.TTL_ATTRIBUTE} = :ttl",
                condition=f"attribute_not_exists(#{rows.USER_ID}) OR #{rows.USER_ID} = :user",
                values={":user": rows.text(user_id), ":ttl": rows.number(self._now_s() + CLAIM_TTL_S)},
                puts=[note],
            )
        except ConditionFailedError:
            raise ConflictError("This guest's threads were taken over by somebody else.") from None

    async def end_claim(self, guest_id: str) -> None:
        """Delete the note that the handover is unfinished."""
        await self._table.delete((keys.CLAIMS_PARTITION, guest_id))

    async def claims(self) -> AsyncIterator[Claim]:
        """What is to be done."""
        async for page in self._table.pages(keys.CLAIMS_PARTITION):
            for row in page:
                yield Claim(row[keys.SORT_KEY]["S"], row[rows.USER_ID]["S"])

    async def hand_over(self, thread_id: str, guest_id: str, user_id: str, *, copy_file: CopyFile) -> bool:
        """See ports.Handover."""
        own = await self._table.get((keys.user_partition(user_id), keys.thread_sort(thread_id)))
        thread = await self._table.get((keys.user_partition(guest_id), keys.thread_sort(thread_id)))
        if thread is None or not rows.is_alive(thread, now_s=self._now_s()):
            return True
        if own is not None:  # read before the guest's: so it is not the guest's that was handed over in between
            raise already_theirs(thread_id)
        if not await self._close(guest_id, thread_id):
            return False
        await self._copy_attachments(thread_id, guest_id, user_id, copy_file)
        await self._copy_items(thread_id, guest_id, user_id)
        theirs = {**thread, keys.PARTITION_KEY: rows.text(keys.user_partition(user_id))}
        if (
            not await self._threads.delete(guest_id, thread_id, also=[theirs])
            and await self._table.get(key_of(theirs)) is None
        ):
            await self._sweeper.sweep_whole(user_id, thread_id)  # the guest deleted it meanwhile: the copies go too
        return True

    async def _close(self, guest_id: str, thread_id: str) -> bool:
        """Let no turn begin in the thread any more; False when one runs."""
        closed = {
            keys.PARTITION_KEY: rows.text(keys.thread_partition(guest_id, thread_id)),
            keys.SORT_KEY: rows.text(keys.TURN),
            keys.ORDER_KEY: rows.text(keys.LAST_ORDER),
            rows.DELETED_AT: rows.number(self._now_s()),
        }
        try:
            await self._table.put(closed, condition=_NO_TURN, values={":yes": {"BOOL": True}})
        except ConditionFailedError:
            return False
        return True

    async def _copy_items(self, thread_id: str, guest_id: str, user_id: str) -> None:
        """Items, the places of deleted ones, and feedback; and a turn that is over, which knows the newest's place.

        The journals of turns that are over are not needed.
        """
        source, target = keys.thread_partition(guest_id, thread_id), keys.thread_partition(user_id, thread_id)
        objects = keys.thread_objects(guest_id, thread_id), keys.thread_objects(user_id, thread_id)
        newest = 0
        for prefix in (keys.ITEM_PREFIX, keys.FEEDBACK_PREFIX):
            async for page in self._table.pages(source, prefix=prefix):
                for row in page:
                    place = row.get(keys.ORDER_KEY) or row.get(rows.WAS_ORDER)
                    newest = max(newest, keys.arrived_ns(place["S"]) if place else 0)
                    await self._copy(row, target, *objects)
        await self._copy(turn_rows.over(target, last_order=newest, ttl_s=self._now_s() + TURN_TTL_S), target, *objects)

    async def _copy_attachments(self, thread_id: str, guest_id: str, user_id: str, copy_file: CopyFile) -> None:
        source, target = keys.user_partition(guest_id), keys.user_partition(user_id)
        objects = keys.user_objects(keys.OFFLOAD_PREFIX, guest_id), keys.user_objects(keys.OFFLOAD_PREFIX, user_id)
        async for page in self._table.pages(source, prefix=keys.ATTACHMENT_PREFIX):
            bound = [row for row in page if row.get(rows.THREAD, {}).get("S") == thread_id]
            for row in bound:
                await copy_file(rows.sort_id(row, keys.ATTACHMENT_PREFIX))
                await self._copy(row, target, *objects)

    async def _copy(self, row: Row, partition: str, from_objects: str, to_objects: str) -> None:
        """Write the row under its new owner's key, its payload's object too; once, whatever became of it since then."""
        moved = {**row, keys.PARTITION_KEY: rows.text(partition)}
        source = object_of(row)
        if source is not None and self._bucket is not None:
            target = to_objects + source.removeprefix(from_objects)
            with suppress(MissingObjectError):  # a row that could not be read stays one
                await self._bucket.put(target, await self._bucket.get(source), row=key_of(moved))
            moved[rows.OBJECT] = rows.text(target)
        with suppress(ConditionFailedError):
            await self._table.put(moved, condition=f"attribute_not_exists(#{keys.PARTITION_KEY})")

    def _now_s(self) -> int:
        return self._clock() // 1_000_000_000
