"""ChatKit's Store on PostgreSQL, through async SQLAlchemy. Knows no HTTP, no token.

For servers that do not run on Lambda, or that reach a database over TLS (docs/explanation/stores.md).
"""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import Attachment, FeedbackKind, Page, ThreadItem, ThreadMetadata, WorkflowItem
from sqlalchemy import ColumnElement, RowMapping, Select, Table, and_, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lambda_src.context import RequestContext, User
from lambda_src.store import bounds, codec, userdata
from lambda_src.store.bounds import within_budget
from lambda_src.store.ports import (
    CopyFile,
    Count,
    Erased,
    Finding,
    Rated,
    Record,
    TurnLedger,
    count_nothing,
    thread_already_exists,
)
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.handover import PostgresHandover
from lambda_src.store.postgres.payloads import PayloadRows, payload_values
from lambda_src.store.postgres.schema import attachments, items, threads
from lambda_src.store.postgres.sessions import Sessions, transaction
from lambda_src.store.postgres.threads import ThreadRows
from lambda_src.store.postgres.userdata import CURSOR_TTL_S, UserRows
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import Snapshots, thread_not_found

_NS = 1_000_000_000


class PostgresStore(PostgresHandover, Store[RequestContext]):
    """ChatKit's Store, FeedbackStore, UserData, Sweeps and Handover on PostgreSQL.

    `sessions` is an async_sessionmaker on an asyncpg engine whose database `chat migrate` has prepared.
    `clock` is in nanoseconds since 1970; `retention_s` = 0 keeps data forever. `ledger` stores the turns of these
    threads and is notified of deletions.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        clock: Callable[[], int] = time.time_ns,
        retention_s: int = 0,
        ledger: TurnLedger | None = None,
        count: Count = count_nothing,
    ) -> None:
        super().__init__(sessions)
        self._clock = clock
        self._retention_s = retention_s
        self._ledger = ledger
        snapshots = Snapshots()
        reader = Reader(count, snapshots)
        self._rows = PayloadRows(reader)
        self._threads = ThreadRows(snapshots, reader)
        self._userdata = UserRows(sessions, clock=clock, retention_s=retention_s)

    async def hand_over(self, thread_id: str, guest_id: str, context: RequestContext, *, copy_file: CopyFile) -> bool:
        """ports.Handover. Who has the thread is stored with the turns, and moves first: until then no turn begins."""
        if (ledger := self._ledger) is None:
            return await super().hand_over(thread_id, guest_id, context, copy_file=copy_file)
        guest = RequestContext(User(guest_id), context.request_id)
        is_taken = await self._has(thread_id, context)
        if not await self._has(thread_id, guest):
            return True
        if is_taken:  # read before the guest's thread, so it is not that one, moved in between
            raise thread_already_exists(thread_id)
        if not await ledger.hand_over_turns(thread_id, guest_id, context=context):
            return False
        await super().hand_over(thread_id, guest_id, context, copy_file=copy_file)
        await ledger.delete_thread(thread_id, context=guest)
        if not await self._has(thread_id, context):  # the guest deleted it meanwhile
            await ledger.delete_thread(thread_id, context=context)
        return True

    async def _has(self, thread_id: str, context: RequestContext) -> bool:
        try:
            await self.load_thread(thread_id, context)
        except NotFoundError:
            return False
        return True

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
        async with transaction(self._sessions) as session:
            wanted = sql.living_threads(context.user.id, self._now_s()).where(threads.c.id == thread_id)
            row = (await session.execute(wanted)).mappings().one_or_none()
        if row is None:
            raise thread_not_found(thread_id)
        return self._threads.read(row)

    @within_budget
    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Write what changed since `thread` was loaded or saved, or all of it if it never was.

        ValueError for an id that cannot be stored; NotFoundError if the thread is deleted;
        ConflictError if this release cannot read the row.
        """
        bounds.writable(context.user.id, thread.id)
        async with transaction(self._sessions) as session:
            in_turn = context.turn_id is not None
            await self._threads.save(
                session, context.user.id, thread, expires_s=self._expiry(), now_s=self._now_s(), in_turn=in_turn
            )

    @within_budget
    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        """A page of the user's threads by creation, 1 to 100. NotFoundError for an unknown cursor."""
        descending = bounds.descending(order)
        bounds.readable(context.user.id, *([] if after is None else [after]))
        wanted = sql.living_threads(context.user.id, self._now_s())
        rows, has_more = await self._page(
            wanted, after, limit, descending=descending, table=threads, of=sql.of_user(threads, context.user.id)
        )
        data = [self._threads.read(row) for row in rows]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    @within_budget
    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread and everything in it. No-op if it does not exist."""
        user_id = context.user.id
        if not bounds.is_id(user_id) or not bounds.is_id(thread_id):
            return
        async with transaction(self._sessions) as session:
            await session.execute(
                update(threads)
                .where(sql.of_user(threads, user_id, id=thread_id))
                .values(fields=None, expires_s=None, deleted_s=self._now_s())
            )
            for statement in sql.delete_contents(user_id, thread_id):
                await session.execute(statement)
        if self._ledger is not None:  # last: if this fails, repeating the delete reaches it again
            await self._ledger.delete_thread(thread_id, context=context)

    @within_budget
    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """A page of items by arrival, 1 to 100; empty for a missing thread. NotFoundError for an unknown cursor."""
        descending = bounds.descending(order)
        user_id = context.user.id
        if not bounds.is_id(user_id) or not bounds.is_id(thread_id):
            return Page()
        if after is not None:
            bounds.readable(after)
        wanted = sql.living_items(user_id, thread_id, self._now_s())
        of_thread = and_(sql.of_user(items, user_id, thread_id=thread_id), sql.not_deleted(user_id, thread_id))
        rows, has_more = await self._page(wanted, after, limit, descending=descending, table=items, of=of_thread)
        data = [self._rows.read_item(row) for row in rows]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    @within_budget
    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item. NotFoundError if it, or its thread, is missing, deleted or someone else's."""
        bounds.readable(context.user.id, thread_id, item_id)
        async with transaction(self._sessions) as session:
            wanted = sql.living_items(context.user.id, thread_id, self._now_s()).where(items.c.id == item_id)
            row = (await session.execute(wanted)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("There is no such item in this thread.")
        return self._rows.read_item(row)

    @within_budget
    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Add a new item. Adding it again is a no-op, and an open workflow is replaced in place; else ConflictError."""
        bounds.writable(context.user.id, thread_id, item.id)
        values = self._rows.item_values(context.user.id, thread_id, item, expires_s=self._expiry())
        free = sql.free_for(self._now_s(), workflow=isinstance(item, WorkflowItem))
        async with transaction(self._sessions) as session:
            await self._prolong(session, context.user.id, thread_id)
            adding = sql.write_item(values, now_ns=self._clock(), only_over=free)
            if (await session.execute(adding)).first() is None:
                await self._rows.same_or_conflict(session, values)

    @within_budget
    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Write the item; an existing one keeps its position."""
        bounds.writable(context.user.id, thread_id, item.id)
        values = self._rows.item_values(context.user.id, thread_id, item, expires_s=self._expiry())
        async with transaction(self._sessions) as session:
            await self._prolong(session, context.user.id, thread_id)
            await session.execute(sql.write_item(values, now_ns=self._clock()))

    @within_budget
    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item; no-op if it does not exist. It remains valid as a cursor for a day."""
        if bounds.is_id(context.user.id) and bounds.is_id(thread_id) and bounds.is_id(item_id):
            async with transaction(self._sessions) as session:
                of_item = sql.of_user(items, context.user.id, thread_id=thread_id, id=item_id)
                await session.execute(sql.delete_items(self._now_s()).where(of_item))

    @within_budget
    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Write the attachment's metadata. ValueError for an id that cannot be stored."""
        thread_ids = [] if attachment.thread_id is None else [attachment.thread_id]
        bounds.writable(context.user.id, attachment.id, *thread_ids)
        key = {"user_id": context.user.id, "id": attachment.id}
        expires_s = self._attachment_expiry(attachment.thread_id)
        values = {"thread_id": attachment.thread_id, **payload_values(codec.dump(attachment), expires_s=expires_s)}
        async with transaction(self._sessions) as session:
            if attachment.thread_id is not None:
                await self._prolong(session, context.user.id, attachment.thread_id)
            upsert = insert(attachments).values(**key, **values)
            await session.execute(upsert.on_conflict_do_update(index_elements=list(key), set_=values))

    @within_budget
    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment. NotFoundError if it is missing, deleted with its thread or someone else's."""
        bounds.readable(context.user.id, attachment_id)
        wanted = select(attachments).where(
            sql.of_user(attachments, context.user.id, id=attachment_id), sql.unexpired(attachments, self._now_s())
        )
        async with transaction(self._sessions) as session:
            row = (await session.execute(wanted)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("There is no such attachment.")
        return self._rows.read_attachment(row)

    @within_budget
    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the attachment's metadata; no-op if it does not exist."""
        if bounds.is_id(context.user.id) and bounds.is_id(attachment_id):
            async with transaction(self._sessions) as session:
                await session.execute(
                    delete(attachments).where(sql.of_user(attachments, context.user.id, id=attachment_id))
                )

    @within_budget
    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> list[str]:
        """ports.FeedbackStore."""
        await self.load_thread(thread_id, context)
        wanted = sql.living_items(context.user.id, thread_id, self._now_s()).where(
            items.c.id.in_([item_id for item_id in item_ids if bounds.is_id(item_id)])
        )
        async with transaction(self._sessions) as session:
            living = (await session.execute(wanted)).mappings().all()
            for row in living:
                await session.execute(sql.write_feedback(context.user.id, thread_id, row["id"], feedback))
        return [""] * len(living)

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: expired cursors, expired rows, and items that were written too late."""
        return await self._userdata.sweep(stop=stop)

    async def sweep_thread(self, thread_id: str, context: RequestContext, *, stop: Callable[[], bool]) -> Erased:
        """ports.Sweeps: a delete in PostgreSQL leaves nothing behind."""
        return Erased()

    async def sweep_orphans(self, *, everything: bool, stop: Callable[[], bool]) -> int:
        """ports.Sweeps: there is no bucket."""
        return 0

    def inspect(self) -> AsyncIterator[Finding | None]:
        """ports.Inspects."""
        return self._userdata.inspect()

    def rated(self, feedback: FeedbackKind) -> AsyncIterator[Rated]:
        """ports.Inspects."""
        return self._userdata.rated(feedback)

    def export_user(self, context: RequestContext) -> AsyncIterator[Record]:
        """ports.UserData."""
        return userdata.export(self._userdata, context.user.id)

    async def import_record(self, record: Record, context: RequestContext) -> bool:
        """ports.UserData."""
        return await userdata.restore(self._userdata, record, context.user.id)

    async def erase_user(self, context: RequestContext) -> AsyncIterator[Erased]:
        """ports.UserData."""
        if self._ledger is not None:  # first: if this fails, repeating the erasure still lists the threads
            threads = await self._userdata.thread_ids(context.user.id)
            threads += [thread_id async for thread_id in self._ledger.threads_of(context)]  # retention's, too
            for thread_id in dict.fromkeys(threads):
                await self._ledger.delete_thread(thread_id, context=context)
        async for erased in self._userdata.erase(context.user.id):
            yield erased

    async def _page(
        self,
        wanted: Select[Any],
        after: str | None,
        limit: int,
        *,
        descending: bool,
        table: Table,
        of: ColumnElement[bool],
    ) -> tuple[list[RowMapping], bool]:
        """The rows of a page, and whether there are more. `of` selects the rows that may be the cursor."""
        page_size = bounds.clamped(limit)
        async with transaction(self._sessions) as session:
            place = None if after is None else await self._cursor(session, table, of, after)
            statement = sql.page(wanted, table, after=place, limit=page_size + 1, descending=descending)
            rows = (await session.execute(statement)).mappings().all()
        return list(rows[:page_size]), len(rows) > page_size

    async def _cursor(
        self, session: AsyncSession, table: Table, of: ColumnElement[bool], row_id: str
    ) -> tuple[int, str]:
        """The position of a row that exists or was deleted within the last day; otherwise NotFoundError."""
        recent = or_(table.c.deleted_s.is_(None), table.c.deleted_s > self._now_s() - CURSOR_TTL_S)
        marked = select(table.c.place).where(of, table.c.id == row_id, sql.unexpired(table, self._now_s()), recent)
        place = (await session.execute(marked)).scalar_one_or_none()
        if place is None:
            raise NotFoundError("Nothing has this id.")
        return place, row_id

    async def _prolong(self, session: AsyncSession, user_id: str, thread_id: str) -> None:
        if (expires_s := self._expiry()) is not None:
            prolonging = sql.prolong_thread(user_id, thread_id, expires_s=expires_s, now_s=self._now_s())
            await session.execute(prolonging)

    def _now_s(self) -> int:
        return self._clock() // _NS

    def _attachment_expiry(self, thread_id: str | None) -> int | None:
        kept_s = bounds.attachment_kept_s(self._retention_s, thread_id)
        return self._now_s() + kept_s if kept_s else None

    def _expiry(self) -> int | None:
        return self._now_s() + self._retention_s if self._retention_s else None
