"""A person's rights on PostgreSQL: export, import, erase; and what a sweep removes. Knows no HTTP, no model."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy import Delete, RowMapping, Select, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from lambda_src.errors import ConflictError
from lambda_src.store import codec, records
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.ports import Erased, Finding, Record
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.payloads import data_of, payload_values, unpacked
from lambda_src.store.postgres.schema import attachments, feedback, items, threads
from lambda_src.store.postgres.sessions import Sessions, transaction
from lambda_src.store.postgres.threads import fields_data, fields_of

CURSOR_TTL_S = 86_400  # a day: longer than anybody leaves a half-scrolled list
EXPORT_PAGE = 100  # rows held in memory at a time
_NS = 1_000_000_000


class UserRows:
    """Everything of one user's, row by row."""

    def __init__(self, sessions: Sessions, *, clock: Callable[[], int]) -> None:
        self._sessions = sessions
        self._clock = clock

    async def export(self, user_id: str) -> AsyncIterator[Record]:
        """Threads by time, each followed by its items by arrival and its feedback; attachments last."""
        now_s = self._clock() // _NS
        async for row in self._paged(sql.living_threads(user_id, now_s), threads):
            yield records.thread_record(row["id"], fields_of(row), order=row["place"])
            thread_id = row["id"]
            async for item in self._paged(sql.living_items(user_id, thread_id, now_s), items):
                yield records.record("item", item["id"], _data(item), thread_id=thread_id, order=item["place"])
            living = sql.living_items(user_id, thread_id, now_s).with_only_columns(items.c.id)
            given = select(feedback).where(
                sql.of_user(feedback, user_id, thread_id=thread_id), feedback.c.item_id.in_(living)
            )
            for kept in await self._all(given.order_by(feedback.c.item_id)):
                yield records.feedback_record(kept["item_id"], kept["kind"], thread_id=thread_id)
        owned = select(attachments).where(sql.of_user(attachments, user_id), sql.unexpired(attachments, now_s))
        for row in await self._all(owned.order_by(attachments.c.id)):
            yield records.record("attachment", row["id"], _data(row), thread_id=row["thread_id"])

    async def restore(self, record: Record, user_id: str, *, expires_s: int | None) -> bool:
        """Put one record back; see ports.UserData."""
        key: dict[str, Any] = {"user_id": user_id, "id": record["id"]}
        match record["kind"]:
            case "thread":
                data = fields_data(records.fields_of(record))
                new = insert(threads).values(
                    **key, place=record["order"], fields=data, schema=codec.SCHEMA_VERSION, expires_s=expires_s
                )
                standing = select(threads.c.fields).where(sql.of_user(threads, user_id, id=record["id"]))
                return await self._put(new.on_conflict_do_nothing().returning(threads.c.id), standing, data)
            case "item":
                data = records.data_of(record)
                key |= {"thread_id": record["thread_id"], "place": record["order"]}
                values = key | payload_values(data, expires_s=expires_s) | {"is_open": codec.is_open_workflow(data)}
                of_item = sql.of_user(items, user_id, thread_id=record["thread_id"], id=record["id"])
                free = sql.free_for(self._clock() // _NS, workflow=False)
                new_item = sql.write_item(values, now_ns=self._clock(), only_over=free)
                return await self._put(new_item, select(items.c.digest).where(of_item), values["digest"])
            case "attachment":
                values = payload_values(records.data_of(record), expires_s=expires_s)
                new = insert(attachments).values(**key, **values, thread_id=record.get("thread_id"))
                standing = select(attachments.c.digest).where(sql.of_user(attachments, user_id, id=record["id"]))
                upsert = new.on_conflict_do_nothing().returning(attachments.c.id)
                return await self._put(upsert, standing, values["digest"])
            case "feedback":
                async with transaction(self._sessions) as session:
                    await session.execute(
                        sql.write_feedback(user_id, record["thread_id"], record["id"], record["value"])
                    )
                return True
            case kind:
                raise ValueError(f"A record of an unknown kind: {kind}.")

    async def thread_ids(self, user_id: str) -> list[str]:
        """Every thread of the user's, deleted ones too."""
        async with transaction(self._sessions) as session:
            wanted = select(threads.c.id).where(threads.c.user_id == user_id)
            return list((await session.execute(wanted)).scalars())

    async def erase(self, user_id: str) -> AsyncIterator[Erased]:
        """Remove every row of the user's, in one transaction."""
        async with transaction(self._sessions) as session:
            living = (
                select(func.count()).select_from(items).where(sql.of_user(items, user_id), items.c.payload.is_not(None))
            )
            counted = (await session.execute(living)).scalar_one()
            removed = {}
            for table in (threads, items, attachments, feedback):
                gone = await session.execute(delete(table).where(table.c.user_id == user_id).returning(table.c.user_id))
                removed[table.name] = len(gone.all())
        yield Erased(removed[threads.name], counted, removed[attachments.name])

    async def sweep(self, *, stop: Callable[[], bool]) -> Erased:
        """Remove cursors older than a day, rows whose time is over, items of deleted and of expired threads, feedback
        on items that are gone, and what marks a thread as deleted (ports.Sweeps).
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
        """One value per row: None for a sound one. Streams, so that no table has to fit into memory."""
        async with transaction(self._sessions) as session:
            async for row in (await session.stream(select(threads).where(threads.c.deleted_s.is_(None)))).mappings():
                sound = _is_sound(lambda row: codec.load_thread(fields_of(row)), row)
                yield None if sound else Finding("unreadable", row["user_id"], row["id"], row["id"])
            async for row in (await session.stream(select(items).where(items.c.payload.is_not(None)))).mappings():
                sound = _is_sound(lambda row: codec.load_item(data_of(row)), row)
                yield None if sound else Finding("unreadable", row["user_id"], row["thread_id"], row["id"])
            async for row in (await session.stream(select(attachments))).mappings():
                sound = _is_sound(lambda row: codec.load_attachment(data_of(row)), row)
                yield None if sound else Finding("unreadable", row["user_id"], row["thread_id"] or "", row["id"])

    async def _put(self, new: Any, standing: Select[Any], wanted: bytes) -> bool:  # noqa: ANN401 - two insert types
        """True when `new` wrote its row; ConflictError unless what stands in its way is the same."""
        async with transaction(self._sessions) as session:
            if (await session.execute(new)).first() is not None:
                return True
            if bytes((await session.execute(standing)).scalar_one() or b"") != wanted:
                raise ConflictError("Something else has this id.")
        return False

    async def _paged(self, wanted: Select[Any], table: Any) -> AsyncIterator[RowMapping]:  # noqa: ANN401 - a table
        """Every row in order, a page at a time, so that no export holds a transaction open."""
        after = None
        while True:
            statement = sql.page(wanted, table, after=after, limit=EXPORT_PAGE, descending=False)
            found = await self._all(statement)
            for row in found:
                yield row
            if len(found) < EXPORT_PAGE:
                return
            after = (found[-1]["place"], found[-1]["id"])

    async def _all(self, wanted: Select[Any]) -> list[RowMapping]:
        async with transaction(self._sessions) as session:
            return list((await session.execute(wanted)).mappings().all())


def _is_sound(load: Callable[[RowMapping], object], row: RowMapping) -> bool:
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
