"""Export, import, erasure, sweeps and inspection in PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from sqlalchemy import Delete, RowMapping, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from lambda_src.store import bounds, codec
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.ports import Erased, Finding, Rated
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.payloads import data_of, payload_values, unpacked
from lambda_src.store.postgres.schema import attachments, feedback, items, threads
from lambda_src.store.postgres.sessions import Sessions, transaction
from lambda_src.store.postgres.threads import fields_data, fields_of
from lambda_src.store.userdata import AttachmentRecord, ItemRecord, ThreadRecord

CURSOR_TTL_S = 86_400  # a day: longer than anyone leaves a list half scrolled
EXPORT_PAGE = 100  # rows held in memory at a time
_NS = 1_000_000_000


class UserRows:
    """userdata.UserRows, and operators' work on all rows."""

    def __init__(self, sessions: Sessions, *, clock: Callable[[], int], retention_s: int) -> None:
        self._sessions = sessions
        self._clock = clock
        self._retention_s = retention_s

    async def threads(self, user_id: str) -> AsyncIterator[ThreadRecord]:
        """userdata.UserRows."""
        async for row in self._paged(sql.living_threads(user_id, self._now_s()), threads):
            yield ThreadRecord(row["id"], fields_of(row), row["place"])

    async def items(self, user_id: str, thread_id: str) -> AsyncIterator[ItemRecord]:
        """userdata.UserRows."""
        async for row in self._paged(sql.living_items(user_id, thread_id, self._now_s()), items):
            yield ItemRecord(row["id"], _data(row), row["place"])

    async def feedback(self, user_id: str, thread_id: str) -> AsyncIterator[tuple[str, str]]:
        """userdata.UserRows."""
        living = sql.living_items(user_id, thread_id, self._now_s()).with_only_columns(items.c.id)
        given = sql.of_user(feedback, user_id, thread_id=thread_id)
        wanted = select(feedback).where(given, feedback.c.item_id.in_(living)).order_by(feedback.c.item_id)
        for row in await self._all(wanted):
            yield row["item_id"], row["kind"]

    async def attachments(self, user_id: str) -> AsyncIterator[AttachmentRecord]:
        """userdata.UserRows."""
        owned = select(attachments).where(sql.of_user(attachments, user_id), sql.unexpired(attachments, self._now_s()))
        for row in await self._all(owned.order_by(attachments.c.id)):
            yield AttachmentRecord(row["id"], _data(row), row["thread_id"])

    async def add_thread(self, user_id: str, thread: ThreadRecord) -> Mapping[str, str] | None:
        """userdata.UserRows."""
        values = {
            "place": thread.order,
            "fields": fields_data(thread.fields),
            "schema": codec.SCHEMA_VERSION,
            "expires_s": self._expires_s(is_bound=True),
        }
        of_thread = sql.of_user(threads, user_id, id=thread.id)
        async with transaction(self._sessions) as session:
            existing = (await session.execute(select(threads).where(of_thread).with_for_update())).mappings().first()
            if existing is not None and existing["deleted_s"] is None and not self._is_expired(existing):
                return fields_of(existing)
            for statement in sql.delete_contents(user_id, thread.id):
                await session.execute(statement)
            await session.execute(delete(threads).where(of_thread))
            await session.execute(insert(threads).values(user_id=user_id, id=thread.id, **values))
        return None

    async def add_item(self, user_id: str, thread_id: str, item: ItemRecord) -> bytes | None:
        """userdata.UserRows."""
        now_ns, expires_s = self._clock(), self._expires_s(is_bound=True)
        payload = payload_values(item.data, expires_s=expires_s)
        values = {"user_id": user_id, "thread_id": thread_id, "id": item.id, "place": item.order, **payload}
        values["is_open"] = codec.is_open_workflow(item.data)
        of_item = sql.of_user(items, user_id, thread_id=thread_id, id=item.id)
        adding = sql.write_item(values, now_ns=now_ns, only_over=sql.free_for(now_ns // _NS, workflow=False))
        async with transaction(self._sessions) as session:
            if expires_s is not None:
                await session.execute(sql.prolong_thread(user_id, thread_id, expires_s=expires_s, now_s=now_ns // _NS))
            if (await session.execute(adding)).first() is not None:
                return None
            return bytes((await session.execute(select(items.c.digest).where(of_item))).scalar_one())

    async def add_attachment(self, user_id: str, attachment: AttachmentRecord) -> bytes | None:
        """userdata.UserRows."""
        key = {"user_id": user_id, "id": attachment.id}
        payload = payload_values(attachment.data, expires_s=self._expires_s(is_bound=attachment.thread_id is not None))
        values = {"thread_id": attachment.thread_id, **payload}
        adding = insert(attachments).values(**key, **values)
        adding = adding.on_conflict_do_update(
            index_elements=list(key), set_=values, where=attachments.c.expires_s <= self._now_s()
        )
        of_attachment = sql.of_user(attachments, user_id, id=attachment.id)
        async with transaction(self._sessions) as session:
            if (await session.execute(adding.returning(attachments.c.id))).first() is not None:
                return None
            return bytes((await session.execute(select(attachments.c.digest).where(of_attachment))).scalar_one())

    async def set_feedback(self, user_id: str, thread_id: str, item_id: str, kind: str) -> str | None:
        """userdata.UserRows."""
        of_item = sql.of_user(feedback, user_id, thread_id=thread_id, item_id=item_id)
        async with transaction(self._sessions) as session:
            before = (await session.execute(select(feedback.c.kind).where(of_item))).scalar_one_or_none()
            await session.execute(sql.write_feedback(user_id, thread_id, item_id, kind))
        return before

    async def thread_ids(self, user_id: str) -> list[str]:
        """The ids of the user's threads, including deleted ones."""
        async with transaction(self._sessions) as session:
            wanted = select(threads.c.id).where(threads.c.user_id == user_id)
            return list((await session.execute(wanted)).scalars())

    async def erase(self, user_id: str) -> AsyncIterator[Erased]:
        """Remove everything that the user has, in one transaction.

        An empty row remains of each thread, so that a running turn cannot save it again; the hourly sweep removes it
        bounds.LATE_WRITES_S later.
        """
        async with transaction(self._sessions) as session:
            living = (
                select(func.count()).select_from(items).where(sql.of_user(items, user_id), items.c.payload.is_not(None))
            )
            counted = (await session.execute(living)).scalar_one()
            erased = await session.execute(
                update(threads)
                .where(threads.c.user_id == user_id, threads.c.deleted_s.is_(None))
                .values(fields=None, expires_s=None, deleted_s=self._now_s())
                .returning(threads.c.id)
            )
            removed = {threads.name: len(erased.all())}
            for table in (items, attachments, feedback):
                gone = await session.execute(delete(table).where(table.c.user_id == user_id).returning(table.c.user_id))
                removed[table.name] = len(gone.all())
        yield Erased(removed[threads.name], counted, removed[attachments.name])

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """Remove cursors older than a day, expired rows, items of deleted or expired threads, feedback on items that
        no longer exist, and the rows of deleted threads (ports.Sweeps).
        """
        now_s = self._clock() // _NS
        too_late = and_(
            threads.c.user_id == items.c.user_id,
            threads.c.id == items.c.thread_id,
            or_(threads.c.deleted_s.is_not(None), threads.c.expires_s <= now_s),
        )
        bound_late = and_(
            threads.c.user_id == attachments.c.user_id,
            threads.c.id == attachments.c.thread_id,
            threads.c.deleted_s.is_not(None),
        )
        rated = and_(
            items.c.user_id == feedback.c.user_id,
            items.c.thread_id == feedback.c.thread_id,
            items.c.id == feedback.c.item_id,
            items.c.payload.is_not(None),
        )
        removals: dict[str, Delete] = {
            "items": delete(items).where(
                or_(items.c.deleted_s <= now_s - CURSOR_TTL_S, items.c.expires_s <= now_s, exists().where(too_late))
            ),
            "feedback": delete(feedback).where(~exists().where(rated)),
            "attachments": delete(attachments).where(or_(attachments.c.expires_s <= now_s, exists().where(bound_late))),
            "threads": delete(threads).where(
                or_(threads.c.deleted_s <= now_s - LATE_WRITES_S, threads.c.expires_s <= now_s)
            ),
        }
        erased = Erased()
        for name, removal in removals.items():
            if stop():
                break
            async with transaction(self._sessions) as session:
                gone = len((await session.execute(removal.returning(removal.table.c.user_id))).all())
            erased += Erased() if name == "feedback" else Erased(**{name: gone})
        return erased

    async def inspect(self) -> AsyncIterator[Finding | None]:
        """One value per row: None if it is valid. Streams, so that no table has to fit in memory."""
        async with transaction(self._sessions) as session:
            async for row in (await session.stream(select(threads).where(threads.c.deleted_s.is_(None)))).mappings():
                is_valid = _is_valid(lambda row: codec.load_thread(fields_of(row)), row)
                yield None if is_valid else Finding("unreadable", row["user_id"], row["id"], row["id"])
            async for row in (await session.stream(select(items).where(items.c.payload.is_not(None)))).mappings():
                is_valid = _is_valid(lambda row: codec.load_item(data_of(row)), row)
                yield None if is_valid else Finding("unreadable", row["user_id"], row["thread_id"], row["id"])
            async for row in (await session.stream(select(attachments))).mappings():
                is_valid = _is_valid(lambda row: codec.load_attachment(data_of(row)), row)
                yield None if is_valid else Finding("unreadable", row["user_id"], row["thread_id"] or "", row["id"])

    async def rated(self, kind: str) -> AsyncIterator[Rated]:
        """ports.Inspects."""
        async with transaction(self._sessions) as session:
            wanted = select(feedback).where(feedback.c.kind == kind)
            async for row in (await session.stream(wanted)).mappings():
                yield Rated(row["user_id"], row["thread_id"], row["item_id"])

    def _now_s(self) -> int:
        return self._clock() // _NS

    def _is_expired(self, row: RowMapping) -> bool:
        return row["expires_s"] is not None and row["expires_s"] <= self._now_s()

    def _expires_s(self, *, is_bound: bool) -> int | None:
        """When a row that is written now expires. An attachment without a message is not `is_bound`."""
        kept_s = self._retention_s if is_bound else bounds.attachment_kept_s(self._retention_s, None)
        return self._now_s() + kept_s if kept_s else None

    async def _paged(self, wanted: Select[Any], table: Any) -> AsyncIterator[RowMapping]:  # noqa: ANN401 - a table
        """Every row in order, a page at a time, so that an export does not hold a transaction open."""
        after = None
        while True:
            statement = sql.page(wanted, table, after=after, limit=EXPORT_PAGE, descending=False)
            page = await self._all(statement)
            for row in page:
                yield row
            if len(page) < EXPORT_PAGE:
                return
            after = (page[-1]["place"], page[-1]["id"])

    async def _all(self, wanted: Select[Any]) -> list[RowMapping]:
        async with transaction(self._sessions) as session:
            return list((await session.execute(wanted)).mappings().all())


def _is_valid(load: Callable[[RowMapping], object], row: RowMapping) -> bool:
    try:
        load(row)
    except codec.UnreadableError:
        return False
    return True


def _data(row: RowMapping) -> bytes:
    try:
        return unpacked(row)
    except codec.UnreadableError:
        return bytes(row["payload"])
