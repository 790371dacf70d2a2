"""ChatKit's Store in memory: for development, and as the reference for the other stores. Lost with the process.

Keeps encoded values, as a database would: a loaded object is a copy, and a value that cannot be stored fails here too.
"""

import math
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import Attachment, FeedbackKind, Page, ThreadItem, ThreadMetadata, WorkflowItem

from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError
from lambda_src.store import bounds, codec, keys
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.memory.ledger import MemoryLedger
from lambda_src.store.memory.rows import AttachmentRow, GoneRow, ItemRow, ThreadRow, UserRows, page_of
from lambda_src.store.ports import (
    Claim,
    CopyFile,
    Count,
    Erased,
    Record,
    count_nothing,
    thread_already_exists,
)
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import TAKEN, Snapshots, thread_not_found

if TYPE_CHECKING:
    from lambda_src.store.memory.userdata import MemoryUserRows

_NS = 1_000_000_000
T = TypeVar("T")


class MemoryHandover:
    """ports.Handover."""

    def __init__(self, users: dict[str, UserRows], clock: Callable[[], int]) -> None:
        self._users = users
        self._clock = clock

    async def claim_guest(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        bounds.writable(context.user.id, guest_id)
        guest = self._users.setdefault(guest_id, UserRows())
        if guest.claimed_by not in (None, context.user.id):
            raise ConflictError("Another user has already taken over this guest's threads.")
        guest.claimed_by, guest.is_being_claimed = context.user.id, True

    async def end_claim(self, guest_id: str, context: RequestContext) -> None:
        """ports.Handover."""
        self._users.setdefault(guest_id, UserRows()).is_being_claimed = False

    async def claimed_guests(self) -> AsyncIterator[Claim]:
        """ports.Handover."""
        for guest_id, guest in list(self._users.items()):
            if guest.is_being_claimed and guest.claimed_by is not None:
                yield Claim(guest_id, guest.claimed_by)

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """ports.Handover."""
        bounds.writable(context.user.id, guest_id, thread_id)
        guest = self._users.get(guest_id, UserRows())
        for attachment_id in guest.bound_to(thread_id):
            await copy_file(attachment_id)
        if thread_id not in guest.threads:
            return True
        if thread_id in self._users.setdefault(context.user.id, UserRows()).threads:
            raise thread_already_exists(thread_id)
        turn = guest.ledger.turns.get(thread_id)
        if turn is not None and not turn.ended:
            return False
        user_id = context.user.id
        guest.hand_over(thread_id, self._users[user_id], user_id=user_id, now_s=self._clock() // _NS)
        return True


class MemoryStore(MemoryHandover, Store[RequestContext]):
    """ChatKit's Store, FeedbackStore, UserData, Sweeps and Handover in memory.

    `clock` is in nanoseconds since 1970. `retention_s` = 0 keeps data forever. `beside` is a store whose rows this one
    shares, as two processes share a table. `ledger` keeps the turns of these threads.
    """

    def __init__(
        self,
        *,
        beside: "MemoryStore | None" = None,
        clock: Callable[[], int] = time.time_ns,
        retention_s: int = 0,
        count: Count = count_nothing,
    ) -> None:
        super().__init__({} if beside is None else beside._users, clock)
        self._retention_s = retention_s
        self._clocks = ThreadClocks(clock, on_ahead=lambda: count("clock_ahead"))
        self._snapshots = Snapshots()
        self._reader = Reader(count, self._snapshots)
        self.ledger = MemoryLedger(self._users, self._clocks, clock=clock, count=count)

    def generate_thread_id(self, context: RequestContext) -> str:
        """A new thread id of 128 bits."""
        return bounds.new_id("thread", now_ns=self._clock())

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        """A new item id of 128 bits."""
        return bounds.new_id(item_type, now_ns=self._clock())

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        """The thread. NotFoundError if it is missing or someone else's."""
        bounds.readable(context.user.id, thread_id)
        user = self._user(context)
        thread = user.threads.get(thread_id)
        if thread is None or not self._alive(thread.expires_s):
            raise thread_not_found(thread_id)
        return self._read_thread(thread_id, thread, context)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Write what changed since `thread` was loaded or saved, or all of it if it never was.

        In a turn an object that was never loaded or saved is a new thread: ConflictError if its id is taken.
        """
        bounds.writable(context.user.id, thread.id)
        user = self._user(context)
        fields = codec.dump_thread(thread)
        name = _name(context, thread.id)
        changes = self._snapshots.changes(thread, fields, thread=name)
        existing = user.threads.get(thread.id)
        if existing is not None and not self._alive(existing.expires_s):
            existing = None
        if thread.id in user.gone or (changes is not None and existing is None):
            raise thread_not_found(thread.id)
        in_turn = context.turn_id is not None
        if changes is None and existing is not None and in_turn and existing.fields != fields:
            raise ConflictError(TAKEN)
        if changes is None or existing is None:
            order = keys.order_of(codec.thread_time_us(thread.created_at), thread.id)
            user.threads[thread.id] = ThreadRow(existing.order if existing else order, dict(fields), self._expiry())
        else:
            in_turn = context.turn_id is not None
            existing.fields = self._snapshots.merged(
                thread, changes, stored=existing.fields, thread=name, in_turn=in_turn
            )
            existing.expires_s = self._expiry()
        self._snapshots.keep(thread, thread=name, fields=codec.dump_thread(thread))

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        """A page of the user's threads by creation, 1 to 100. NotFoundError for an unknown cursor."""
        descending = bounds.descending(order)
        bounds.readable(context.user.id, *([] if after is None else [after]))
        user = self._user(context)
        cursor = None
        if after is not None:
            row = user.threads.get(after) or user.gone.get(after)
            if row is None:
                raise thread_not_found(after)
            cursor = row.order
        by_order = {t.order: thread_id for thread_id, t in user.threads.items() if self._alive(t.expires_s)}
        orders, has_more = page_of(list(by_order), cursor, bounds.clamped(limit), descending=descending)
        data = [self._read_thread(by_order[order], user.threads[by_order[order]], context) for order in orders]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread, its items, feedback and attachments. No-op if it does not exist."""
        user = self._user(context)
        thread = user.threads.get(thread_id)
        user.delete_thread(thread_id)
        if thread is not None:
            user.gone[thread_id] = GoneRow(thread.order, self._clock() // _NS)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """A page of items by arrival, 1 to 100; empty for a missing thread. NotFoundError for an unknown cursor."""
        descending = bounds.descending(order)
        user = self._user(context)
        items = {} if thread_id in user.gone else user.items.get(thread_id, {})
        cursor = None
        if after is not None:
            if after not in items:
                raise NotFoundError("There is no such item in this thread.")
            cursor = items[after].order
        living = {i.order: i for i in items.values() if i.data is not None and self._alive(i.expires_s)}
        orders, has_more = page_of(list(living), cursor, bounds.clamped(limit), descending=descending)
        for order in orders:
            self._clocks.follow(_name(context, thread_id), keys.arrived_ns(order))
        data = [self._read_item(thread_id, living[order]) for order in orders]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item. NotFoundError if it, or its thread, is missing or someone else's."""
        item = self._living(thread_id, item_id, context)
        if item is None:
            raise NotFoundError("There is no such item in this thread.")
        return self._read_item(thread_id, item)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Add a new item. Adding it again is a no-op, and an open workflow is replaced in place; else ConflictError."""
        bounds.writable(context.user.id, thread_id, item.id)
        data = codec.dump(item)
        existing = self._living(thread_id, item.id, context)
        if existing is not None and existing.data != data and not _replaceable(existing, item):
            raise ConflictError("Another item of this thread has this id.")
        self._write(thread_id, item.id, data, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Write the item; an existing one keeps its position."""
        bounds.writable(context.user.id, thread_id, item.id)
        self._write(thread_id, item.id, codec.dump(item), context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item; no-op if it does not exist. It remains valid as a cursor."""
        item = self._user(context).items.get(thread_id, {}).get(item_id)
        self.ledger.catch_up(thread_id, context)
        window_end = self._clocks.window_end(_name(context, thread_id), context.turn_id)
        if item is not None and (window_end is None or keys.arrived_ns(item.order) < window_end):
            item.data = None

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Write the attachment's metadata."""
        bounds.writable(context.user.id, attachment.id)
        expires_s = self._attachment_expiry(attachment.thread_id, context)
        self._user(context).attachments[attachment.id] = AttachmentRow(
            codec.dump(attachment), attachment.thread_id, expires_s
        )

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment. NotFoundError if it is missing or someone else's."""
        row = self._user(context).attachments.get(attachment_id)
        if row is None or not self._alive(row.expires_s):
            raise NotFoundError("There is no such attachment.")
        return self._reader.attachment(attachment_id, row.data)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the attachment's metadata; no-op if it does not exist."""
        self._user(context).attachments.pop(attachment_id, None)

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> list[str]:
        """ports.FeedbackStore."""
        await self.load_thread(thread_id, context)
        living = [item_id for item_id in item_ids if self._living(thread_id, item_id, context) is not None]
        for item_id in living:
            self._user(context).feedback[thread_id, item_id] = feedback
        return [""] * len(living)

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps."""
        now_s = self._clock() // _NS
        return sum((user.sweep(now_s=now_s) for user in self._users.values()), Erased())

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: a delete in memory leaves nothing behind."""
        return Erased()

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """ports.Sweeps: there is no bucket."""
        return 0

    async def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """ports.UserData."""
        from lambda_src.store.userdata import export  # noqa: PLC0415 - only operators need it

        async for record in export(self._user_rows(context), context.user.id):
            yield record

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """ports.UserData."""
        from lambda_src.store.userdata import restore  # noqa: PLC0415 - only operators need it

        return await restore(self._user_rows(context), record, context.user.id)

    def _user_rows(self, context: RequestContext) -> "MemoryUserRows":
        from lambda_src.store.memory.userdata import MemoryUserRows  # noqa: PLC0415 - only operators need it

        return MemoryUserRows(
            self._user(context),
            now_s=self._clock() // _NS,
            thread_expiry=self._expiry(),
            item_expiry=lambda thread_id: self._expiry_of_new_items(thread_id, context),
            attachment_expiry=lambda thread_id: self._attachment_expiry(thread_id, context),
        )

    async def erase_user(self, context: RequestContext) -> AsyncIterator[Erased]:
        """ports.UserData."""
        user = self._users.pop(context.user.id, UserRows())
        now_s = self._clock() // _NS
        gone = {thread_id: GoneRow(thread.order, now_s) for thread_id, thread in user.threads.items()}
        self._users[context.user.id] = UserRows(gone=user.gone | gone)
        items = sum(item.data is not None for items in user.items.values() for item in items.values())
        yield Erased(threads=len(user.threads), items=items, attachments=len(user.attachments))

    def _user(self, context: RequestContext) -> UserRows:
        return self._users.setdefault(context.user.id, UserRows())

    def _alive(self, expires_s: float) -> bool:
        return expires_s > self._clock() // _NS

    def _expiry(self) -> float:
        return self._clock() // _NS + self._retention_s if self._retention_s else math.inf

    def _expiry_of_new_items(self, thread_id: str, context: RequestContext) -> float:
        """When an item that is added to the thread now expires. Extends the thread's expiry to match."""
        thread = self._user(context).threads.get(thread_id)
        if thread is None or not self._alive(thread.expires_s):
            return self._expiry()
        thread.expires_s = max(thread.expires_s, self._expiry()) if self._retention_s else math.inf
        return thread.expires_s

    def _attachment_expiry(self, thread_id: str | None, context: RequestContext) -> float:
        if thread_id is not None:
            return self._expiry_of_new_items(thread_id, context)
        return self._clock() // _NS + bounds.attachment_kept_s(self._retention_s, None)

    def _living(self, thread_id: str, item_id: str, context: RequestContext) -> ItemRow | None:
        user = self._user(context)
        item = None if thread_id in user.gone else user.items.get(thread_id, {}).get(item_id)
        return item if item is not None and item.data is not None and self._alive(item.expires_s) else None

    def _write(self, thread_id: str, item_id: str, data: bytes, context: RequestContext) -> None:
        items = self._user(context).items.setdefault(thread_id, {})
        existing = items.get(item_id)
        expires_s = self._expiry_of_new_items(thread_id, context)
        if existing is not None and existing.data is not None and self._alive(existing.expires_s):
            existing.data, existing.expires_s = data, expires_s
        else:
            self.ledger.catch_up(thread_id, context)
            arrived = self._clocks.next(_name(context, thread_id), context.turn_id)
            items[item_id] = ItemRow(item_id, keys.order_of(arrived, item_id), data, expires_s)

    def _read_thread(self, thread_id: str, row: ThreadRow, context: RequestContext) -> ThreadMetadata:
        return self._reader.thread(thread_id, dict(row.fields), name=_name(context, thread_id))

    def _read_item(self, thread_id: str, row: ItemRow) -> ThreadItem:
        arrived = datetime.fromtimestamp(keys.arrived_ns(row.order) / _NS, UTC)
        return self._reader.item(row.id, thread_id, row.data, arrived=arrived)


def _name(context: RequestContext, thread_id: str) -> str:
    return keys.thread_partition(context.user.id, thread_id)


def _replaceable(existing: ItemRow, item: ThreadItem) -> bool:
    """Whether both are workflows and the existing one is open: stream_agent_response adds it again to continue it."""
    return isinstance(item, WorkflowItem) and codec.is_open_workflow(existing.data or b"")
