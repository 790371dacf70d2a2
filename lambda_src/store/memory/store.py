"""The Store contract in dictionaries: for development, and as the others' reference. Lost with the process.

Keeps the same encoded values as a table would, so a loaded object is a copy, and what cannot be stored fails here too.
Knows no HTTP, no token, no model.
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
from lambda_src.store.memory.rows import AttachmentRow, GoneRow, ItemRow, ThreadRow, UserRows, window
from lambda_src.store.ports import Claim, CopyFile, Count, Erased, Record, TurnLedger, already_theirs, count_nothing
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
            raise ConflictError("This guest's threads were taken over by somebody else.")
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
            raise already_theirs(thread_id)
        turn = guest.ledger.turns.get(thread_id)
        if turn is not None and not turn.ended:
            return False
        guest.hand_over(thread_id, self._users[context.user.id], now_s=self._clock() // _NS)
        return True


class MemoryStore(MemoryHandover, Store[RequestContext]):
    """ChatKit's Store, FeedbackStore, UserData, Sweeps and Handover in dictionaries.

    `clock` is in nanoseconds since 1970. `retention_s` = 0 keeps for ever. `beside` is a store whose rows are shared,
    as two processes share a table.
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
        self._ledger = MemoryLedger(self._users, self._clocks, clock=clock, count=count)

    @property
    def ledger(self) -> TurnLedger:
        """Leases, journals, guards and quotas of the turns in this store's threads."""
        return self._ledger

    def generate_thread_id(self, context: RequestContext) -> str:
        """A new thread id of 128 bits."""
        return bounds.new_id("thread", now_ns=self._clock())

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        """A new item id of 128 bits."""
        return bounds.new_id(item_type, now_ns=self._clock())

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        """The thread. NotFoundError when it is missing or someone else's."""
        bounds.readable(context.user.id, thread_id)
        user = self._user(context)
        thread = user.threads.get(thread_id)
        if thread is None or not self._alive(thread.expires_s):
            raise thread_not_found(thread_id)
        return self._read_thread(thread_id, thread, context)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Write what changed since `thread` was loaded or saved, or the whole of an object not seen before.

        In a turn such an object is a new thread: ConflictError when another one has its id.
        """
        bounds.writable(context.user.id, thread.id)
        user = self._user(context)
        fields = codec.dump_thread(thread)
        name = _name(context, thread.id)
        changes = self._snapshots.changes(thread, fields, thread=name)
        standing = user.threads.get(thread.id)
        if standing is not None and not self._alive(standing.expires_s):
            standing = None
        if thread.id in user.gone or (changes is not None and standing is None):
            raise thread_not_found(thread.id)
        in_turn = context.turn_id is not None
        if changes is None and standing is not None and in_turn and standing.fields != fields:
            raise ConflictError(TAKEN)
        if changes is None or standing is None:
            order = keys.order_of(codec.thread_time_us(thread.created_at), thread.id)
            user.threads[thread.id] = ThreadRow(standing.order if standing else order, dict(fields), self._expiry())
        else:
            in_turn = context.turn_id is not None
            standing.fields = self._snapshots.merged(
                thread, changes, stored=standing.fields, thread=name, in_turn=in_turn
            )
            standing.expires_s = self._expiry()
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
            marked = user.threads.get(after) or user.gone.get(after)
            if marked is None:
                raise thread_not_found(after)
            cursor = marked.order
        places = {t.order: thread_id for thread_id, t in user.threads.items() if self._alive(t.expires_s)}
        shown, has_more = window(list(places), cursor, bounds.clamped(limit), descending=descending)
        data = [self._read_thread(places[place], user.threads[places[place]], context) for place in shown]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread, its items, feedback and attachments. Quiet when it is missing."""
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
        shown, has_more = window(list(living), cursor, bounds.clamped(limit), descending=descending)
        for place in shown:
            self._clocks.follow(_name(context, thread_id), keys.arrived_ns(place))
        data = [self._read_item(thread_id, living[place]) for place in shown]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item. NotFoundError when it, or its thread, is missing or someone else's."""
        item = self._living(thread_id, item_id, context)
        if item is None:
            raise NotFoundError("There is no such item in this thread.")
        return self._read_item(thread_id, item)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep a new item, once: the same again is quiet, an open workflow is replaced in place, else ConflictError."""
        bounds.writable(context.user.id, thread_id, item.id)
        data = codec.dump(item)
        standing = self._living(thread_id, item.id, context)
        if standing is not None and standing.data != data and not _replaceable(standing, item):
            raise ConflictError("Another item of this thread has this id.")
        self._write(thread_id, item.id, data, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep the item, new or not; an older one keeps its place."""
        bounds.writable(context.user.id, thread_id, item.id)
        self._write(thread_id, item.id, codec.dump(item), context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item; quiet when it is missing. It still serves as a cursor."""
        item = self._user(context).items.get(thread_id, {}).get(item_id)
        self._ledger.catch_up(thread_id, context)
        reach = self._clocks.reach(_name(context, thread_id), context.turn_id)
        if item is not None and (reach is None or keys.arrived_ns(item.order) < reach):
            item.data = None

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Keep the attachment's description, new or not."""
        bounds.writable(context.user.id, attachment.id)
        expires_s = self._attachment_expiry(attachment.thread_id, context)
        self._user(context).attachments[attachment.id] = AttachmentRow(
            codec.dump(attachment), attachment.thread_id, expires_s
        )

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment. NotFoundError when it is missing or someone else's."""
        kept = self._user(context).attachments.get(attachment_id)
        if kept is None or not self._alive(kept.expires_s):
            raise NotFoundError("There is no such attachment.")
        return self._reader.attachment(attachment_id, kept.data)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the attachment's description; quiet when it is missing."""
        self._user(context).attachments.pop(attachment_id, None)

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """ports.FeedbackStore."""
        await self.load_thread(thread_id, context)
        for item_id in item_ids:
            if self._living(thread_id, item_id, context) is not None:
                self._user(context).feedback[thread_id, item_id] = feedback

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps."""
        now_s = self._clock() // _NS
        return sum((user.sweep(now_s=now_s) for user in self._users.values()), Erased())

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: a delete here leaves nothing to be done."""
        return Erased()

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """ports.Sweeps: there is no bucket."""
        return 0

    async def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """ports.UserData."""
        from lambda_src.store.userdata import export  # noqa: PLC0415 - operators' work

        async for record in export(self._user_rows(context), context.user.id):
            yield record

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """ports.UserData."""
        from lambda_src.store.userdata import restore  # noqa: PLC0415 - operators' work

        return await restore(self._user_rows(context), record, context.user.id)

    def _user_rows(self, context: RequestContext) -> "MemoryUserRows":
        from lambda_src.store.memory.userdata import MemoryUserRows  # noqa: PLC0415 - operators' work

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
        """When what arrives in the thread now expires: with the thread, which is kept until then."""
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
        standing = items.get(item_id)
        expires_s = self._expiry_of_new_items(thread_id, context)
        if standing is not None and standing.data is not None and self._alive(standing.expires_s):
            standing.data, standing.expires_s = data, expires_s
        else:
            self._ledger.catch_up(thread_id, context)
            arrived = self._clocks.next(_name(context, thread_id), context.turn_id)
            items[item_id] = ItemRow(item_id, keys.order_of(arrived, item_id), data, expires_s)

    def _read_thread(self, thread_id: str, kept: ThreadRow, context: RequestContext) -> ThreadMetadata:
        return self._reader.thread(thread_id, dict(kept.fields), name=_name(context, thread_id))

    def _read_item(self, thread_id: str, kept: ItemRow) -> ThreadItem:
        arrived = datetime.fromtimestamp(keys.arrived_ns(kept.order) / _NS, UTC)
        return self._reader.item(kept.id, thread_id, kept.data, arrived=arrived)


def _name(context: RequestContext, thread_id: str) -> str:
    return keys.thread_partition(context.user.id, thread_id)


def _replaceable(standing: ItemRow, item: ThreadItem) -> bool:
    """An open workflow may be added again: stream_agent_response does so when the next run goes on with it."""
    return isinstance(item, WorkflowItem) and codec.is_open_workflow(standing.data or b"")
