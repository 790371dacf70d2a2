"""Rows of threads: the fields as one JSON object of JSON texts, merged under the row's lock. Knows no page."""

import json
from collections.abc import Mapping

from chatkit.types import ThreadMetadata
from sqlalchemy import ColumnElement, RowMapping, and_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lambda_src.errors import ConflictError
from lambda_src.store import codec, keys
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.schema import threads
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import TAKEN, UNREADABLE, Snapshots, thread_not_found


def fields_data(fields: Mapping[str, str]) -> bytes:
    """The column of a thread's fields."""
    return json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()


def fields_of(row: RowMapping) -> dict[str, str]:
    """What `fields_data` was given; codec.UnreadableError when it is damaged or from a newer release."""
    if row["schema"] > codec.SCHEMA_VERSION:
        raise codec.UnreadableError("written by a newer release")
    try:
        fields: dict[str, str] = json.loads(bytes(row["fields"]))
    except ValueError as fault:
        raise codec.UnreadableError("no fields") from fault
    return fields


class ThreadRows:
    """Reads and saves threads, and knows what each object was when it was seen last."""

    def __init__(self, snapshots: Snapshots, reader: Reader) -> None:
        self._snapshots = snapshots
        self._reader = reader

    async def save(
        self,
        session: AsyncSession,
        user_id: str,
        thread: ThreadMetadata,
        *,
        expires_s: int | None,
        now_s: int,
        in_turn: bool,
    ) -> None:
        """Write what changed since the object was loaded or saved, or all of an unknown object's.

        `in_turn`: a field that somebody else has changed since keeps their value, and the object takes it over; an
        unknown object is a new thread, and ConflictError when another one has its id.
        NotFoundError when the thread is deleted, or is gone although the object was loaded or saved before;
        ConflictError when this release cannot read the row.
        """
        fields = codec.dump_thread(thread)
        name = keys.thread_partition(user_id, thread.id)
        changes = self._snapshots.changes(thread, fields, thread=name)
        if changes is not None and not changes.after:
            return
        locked = select(threads).where(sql.of_user(threads, user_id, id=thread.id)).with_for_update()
        standing = (await session.execute(locked)).mappings().one_or_none()
        if standing is not None and standing["deleted_s"] is not None:
            raise thread_not_found(thread.id)
        if standing is not None and standing["expires_s"] is not None and standing["expires_s"] <= now_s:
            standing = None
        if standing is None and changes is not None:
            raise thread_not_found(thread.id)
        if standing is not None and standing["schema"] > codec.SCHEMA_VERSION:
            raise ConflictError(UNREADABLE)
        is_new = in_turn and changes is None
        if is_new and standing is not None:
            if _readable_fields(standing) != fields:
                raise ConflictError(TAKEN)
            self._snapshots.keep(thread, thread=name, fields=fields)
            return
        stored, place = dict(fields), codec.thread_time_us(thread.created_at)
        if standing is not None:
            place = standing["place"]
            if changes is not None:
                stored = self._snapshots.merged(
                    thread, changes, stored=_readable_fields(standing), thread=name, in_turn=in_turn
                )
        values = {"place": place, "fields": fields_data(stored), "schema": codec.SCHEMA_VERSION, "expires_s": expires_s}
        key = {"user_id": user_id, "id": thread.id}
        free: ColumnElement[bool] = threads.c.deleted_s.is_(
            None
        )  # deleted between the lock and here, where there was no row to lock
        if is_new:
            free = and_(free, threads.c.expires_s <= now_s)
        upsert = insert(threads).values(**key, **values, deleted_s=None)
        upsert = upsert.on_conflict_do_update(index_elements=list(key), set_=values, where=free)
        if (await session.execute(upsert.returning(threads.c.id))).first() is None:
            raise ConflictError(TAKEN) if is_new else thread_not_found(thread.id)
        self._snapshots.keep(thread, thread=name, fields=codec.dump_thread(thread))

    def read(self, row: RowMapping) -> ThreadMetadata:
        """The thread of a row, or a placeholder for one that cannot be read (counted, and kept as it is)."""
        fields: Mapping[str, str] | None
        try:
            fields = fields_of(row)
        except codec.UnreadableError:
            fields = None
        return self._reader.thread(row["id"], fields, name=keys.thread_partition(row["user_id"], row["id"]))


def _readable_fields(row: RowMapping) -> dict[str, str]:
    """As `fields_of`; ConflictError where that cannot read them."""
    try:
        return fields_of(row)
    except codec.UnreadableError:
        raise ConflictError(UNREADABLE) from None
