"""ChatKit's Store on one DynamoDB table. Knows no HTTP, no token, no model.

Each method validates its ids, applies the time budget, and delegates to the class that owns the rows.
docs/reference/stores.md lists the cost of each method.
"""

import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from chatkit.store import Store, StoreItemType
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    FeedbackKind,
    Page,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
)

from lambda_src.context import RequestContext
from lambda_src.store import bounds
from lambda_src.store.aws_calls import Calls, ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.dynamodb.attachments import Attachments
from lambda_src.store.dynamodb.items import Items
from lambda_src.store.dynamodb.maintenance.sweep import Sweeper
from lambda_src.store.dynamodb.payload_bucket import PayloadBucket
from lambda_src.store.dynamodb.payloads import Payloads
from lambda_src.store.dynamodb.table import Table
from lambda_src.store.dynamodb.threads import Threads, expiry_of
from lambda_src.store.dynamodb.turns.leases import is_taken_by
from lambda_src.store.dynamodb.turns.ledger import DynamoDBLedger
from lambda_src.store.ports import Claim, CopyFile, Count, Erased, Finding, Rated, Record, count_nothing
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import Snapshots

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from lambda_src.store.dynamodb.maintenance.handover import TableHandover
    from lambda_src.store.dynamodb.maintenance.userdata import UserRows


class DynamoDBStore(Store[RequestContext]):
    """ChatKit's Store, FeedbackStore, NewThreads, UserData, Sweeps and Handover on one table.

    `client` and `s3` are low-level boto3 clients made with aws_calls.CLIENT_CONFIG; without `bucket` and `s3`, a value
    that does not fit in a row is a TooLargeError. `clock` is in nanoseconds since 1970. `retention_s` = 0 keeps data
    forever. `executor` runs boto3's blocking calls; None = the event loop's default. `ledger` keeps the turns of these
    threads; `table` is for rows that do not belong to the store, such as counters.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table_name: str,
        *,
        bucket: str | None = None,
        s3: "S3Client | None" = None,
        clock: Callable[[], int] = time.time_ns,
        retention_s: int = 0,
        count: Count = count_nothing,
        executor: Executor | None = None,
    ) -> None:
        calls = Calls(executor)
        objects = PayloadBucket(s3, bucket, calls=calls) if bucket is not None and s3 is not None else None
        self._objects = objects
        self._payloads = payloads = Payloads(objects)
        self._clock = clock
        self.table = Table(client, table_name, calls=calls)
        clocks = ThreadClocks(clock, on_ahead=lambda: count("clock_ahead"))
        snapshots = Snapshots()
        reader = Reader(count, snapshots)
        self.ledger = DynamoDBLedger(self.table, clocks, clock=clock, count=count)
        self._threads = Threads(self.table, snapshots, clock=clock, reader=reader, retention_s=retention_s)
        self._items = Items(self.table, payloads, clocks, self.ledger, clock=clock, reader=reader)
        self._attachments = Attachments(self.table, payloads, clock=clock, reader=reader, retention_s=retention_s)
        self._sweeper = Sweeper(self.table, objects, clock=clock)

    def generate_thread_id(self, context: RequestContext) -> str:
        """A new thread id of 128 bits."""
        return bounds.new_id("thread", now_ns=self._clock())

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        """A new item id of 128 bits."""
        return bounds.new_id(item_type, now_ns=self._clock())

    @within_budget
    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        """The thread. NotFoundError if it is missing, deleted or someone else's."""
        bounds.readable(context.user.id, thread_id)
        return await self._threads.load(context.user.id, thread_id)

    @within_budget
    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Write what changed since `thread` was loaded or saved, or all of it if it never was.

        ValueError for an id that cannot be stored; TooLargeError; NotFoundError if the thread is deleted;
        ConflictError if this release cannot read the row.
        """
        bounds.writable(context.user.id, thread.id)
        await self._threads.save(context.user.id, thread, in_turn=context.turn_id is not None)

    @within_budget
    async def begin_thread(self, thread: ThreadMetadata, message: UserMessageItem, context: RequestContext) -> bool:
        """ports.NewThreads, in one transaction."""
        user_id = context.user.id
        bounds.writable(user_id, thread.id, message.id)
        creation = self._threads.creation(user_id, thread)
        lease, binding = self.ledger.registration(thread.id, context)
        item = await self._items.creation(
            user_id, thread.id, message, turn_id=context.turn_id, expires_s=expiry_of(creation)
        )
        try:
            await self.table.transact(lease, binding, creation, item)
        except ConditionFailedError as fault:
            if not is_taken_by(lease, fault.old):
                await self._items.delete_payload(item)
                return False
        self._threads.note_creation(thread, creation)
        return True

    @within_budget
    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        """A page of the user's threads by creation, 1 to 100.

        NotFoundError for an unknown cursor, ValueError for an unknown order.
        """
        descending = bounds.descending(order)
        bounds.readable(context.user.id, *([] if after is None else [after]))
        return await self._threads.page(
            context.user.id, after=after, limit=bounds.clamped(limit), descending=descending
        )

    @within_budget
    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread and everything in it, in one request. No-op if it does not exist.

        `sweep_thread` or the hourly `sweep` removes the rows.
        """
        if bounds.is_id(context.user.id) and bounds.is_id(thread_id):
            await self._threads.delete(context.user.id, thread_id)

    @within_budget
    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """A page of items by arrival, 1 to 100; empty for a missing or foreign thread.

        NotFoundError for a cursor that is not of this thread, ValueError for an unknown order.
        """
        descending = bounds.descending(order)
        if not bounds.is_id(context.user.id) or not bounds.is_id(thread_id):
            return Page()
        if after is not None:
            bounds.readable(after)
        return await self._items.page(
            context.user.id, thread_id, after=after, limit=bounds.clamped(limit), descending=descending
        )

    @within_budget
    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item. NotFoundError if it, or its thread, is missing, deleted or someone else's."""
        bounds.readable(context.user.id, thread_id, item_id)
        return await self._items.load(context.user.id, thread_id, item_id)

    @within_budget
    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Add a new item. Adding it again is a no-op, and an open workflow is replaced in place.

        ConflictError if another item has its id; ValueError for an id that cannot be stored; TooLargeError.
        """
        bounds.writable(context.user.id, thread_id, item.id)
        expires_s = await self._expiry(thread_id, context)
        await self._items.add(
            context.user.id,
            thread_id,
            item,
            turn_id=context.turn_id,
            expires_s=expires_s,
            source=_source(item, context),
        )

    @within_budget
    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Write the item; an existing one keeps its position. ValueError, TooLargeError."""
        bounds.writable(context.user.id, thread_id, item.id)
        expires_s = await self._expiry(thread_id, context)
        await self._items.save(context.user.id, thread_id, item, turn_id=context.turn_id, expires_s=expires_s)

    @within_budget
    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item; no-op if it does not exist. It remains valid as a cursor for a day."""
        if bounds.is_id(context.user.id) and bounds.is_id(thread_id) and bounds.is_id(item_id):
            await self._items.delete(context.user.id, thread_id, item_id, turn_id=context.turn_id)

    @within_budget
    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Write the attachment's metadata. ValueError for an id that cannot be stored; TooLargeError."""
        thread_ids = [] if attachment.thread_id is None else [attachment.thread_id]
        bounds.writable(context.user.id, attachment.id, *thread_ids)
        expires_s = None if attachment.thread_id is None else await self._expiry(attachment.thread_id, context)
        await self._attachments.save(context.user.id, attachment, expires_s=expires_s)

    @within_budget
    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment. NotFoundError if it, or its thread, is missing, deleted or someone else's."""
        bounds.readable(context.user.id, attachment_id)
        return await self._attachments.load(context.user.id, attachment_id)

    @within_budget
    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the attachment's metadata; no-op if it does not exist. The AttachmentStore deletes its bytes."""
        if bounds.is_id(context.user.id) and bounds.is_id(attachment_id):
            await self._attachments.delete(context.user.id, attachment_id)

    @within_budget
    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> list[str]:
        """ports.FeedbackStore."""
        bounds.readable(context.user.id, thread_id)
        valid_ids = [item_id for item_id in item_ids if bounds.is_id(item_id)]
        return await self._items.add_feedback(context.user.id, thread_id, valid_ids, feedback)

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: what remains of deleted threads."""
        return await self._sweeper.sweep(stop=stop)

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: what remains of one deleted thread."""
        if not bounds.is_id(context.user.id) or not bounds.is_id(thread_id):
            return Erased()
        return await self._sweeper.sweep_thread(context.user.id, thread_id, stop=stop)

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """ports.Sweeps: objects that no row refers to."""
        return await self._sweeper.orphans(everything=everything, stop=stop)

    @within_budget
    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        bounds.writable(context.user.id, guest_id)
        await self._handover().claim(guest_id, context.user.id)

    @within_budget
    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        await self._handover().end_claim(guest_id)

    def claimed_guests(self) -> AsyncIterator[Claim]:
        """ports.Handover."""
        return self._handover().claims()

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """ports.Handover. No time budget: copying a long thread takes time."""
        bounds.writable(context.user.id, guest_id, thread_id)
        return await self._handover().hand_over(thread_id, guest_id, context.user.id, copy_file=copy_file)

    def _handover(self) -> "TableHandover":
        from lambda_src.store.dynamodb.maintenance.handover import TableHandover  # noqa: PLC0415 - once per guest

        return TableHandover(self.table, self._objects, self._threads, self._sweeper, clock=self._clock)

    async def _expiry(self, thread_id: str, context: RequestContext) -> int | None:
        in_turn = context.turn_id is not None
        return await self._threads.expiry_of_new_items(context.user.id, thread_id, in_turn=in_turn)

    def inspect(self) -> AsyncIterator[Finding | None]:
        """ports.Inspects."""
        from lambda_src.store.dynamodb.maintenance.inspect import inspect  # noqa: PLC0415 - only operators need it

        return inspect(self.table, self._payloads)

    def rated(self, feedback: FeedbackKind) -> AsyncIterator[Rated]:
        """ports.Inspects."""
        from lambda_src.store.dynamodb.maintenance.inspect import rated  # noqa: PLC0415 - only operators need it

        return rated(self.table, feedback)

    def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """ports.UserData."""
        from lambda_src.store.userdata import export  # noqa: PLC0415 - only operators need it

        return export(self._user_rows(), context.user.id)

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """ports.UserData."""
        from lambda_src.store.userdata import restore  # noqa: PLC0415 - only operators need it

        return await restore(self._user_rows(), record, context.user.id)

    def erase_user(self, context: RequestContext) -> AsyncIterator[Erased]:
        """ports.UserData."""
        return self._user_rows().erase(context.user.id)

    def _user_rows(self) -> "UserRows":
        from lambda_src.store.dynamodb.maintenance.userdata import UserRows  # noqa: PLC0415 - only operators need it

        return UserRows(
            self.table,
            self._objects,
            self._payloads,
            threads=self._threads,
            items=self._items,
            attachments=self._attachments,
            sweeper=self._sweeper,
        )


def _source(item: ThreadItem, context: RequestContext) -> str | None:
    """The model and the release that write an answer, if the stage counts its usage."""
    turn = context.turn
    if turn is None or not turn.is_counted or not isinstance(item, AssistantMessageItem):
        return None
    return f"{turn.model or ''}#{context.release}"
