"""Thread rows in PostgreSQL: the fields as one JSON object of JSON strings, merged under a row lock."""

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
    """The fields that were passed to `fields_data`; codec.UnreadableError if damaged or from a newer release."""
    if row["schema"] > codec.SCHEMA_VERSION:
        raise codec.UnreadableError("written by a newer release")
    try:
        fields: dict[str, str] = json.loads(bytes(row["fields"]))
    except ValueError as fault:
        raise codec.UnreadableError("its fields are damaged") from fault
    return fields


class ThreadRows:
    """Reads and saves threads, and keeps a snapshot of each object."""

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
        """Write the fields that changed since the object was loaded or saved; all fields if it never was.

        `in_turn`: a field that another writer has changed since keeps that value, which is copied into the object; an
        object that was never loaded or saved is a new thread, and ConflictError if its id is taken.
        NotFoundError if the thread was deleted or has expired since; ConflictError if this release cannot read the row.
        """
        fields = codec.dump_thread(thread)
        name = keys.thread_partition(user_id, thread.id)
        changes = self._snapshots.changes(thread, fields, thread=name)
        if changes is not None and not changes.after:
            return
        locked = select(threads).where(sql.of_user(threads, user_id, id=thread.id)).with_for_update()
        existing = (await session.execute(locked)).mappings().one_or_none()
        if existing is not None and existing["deleted_s"] is not None:
            raise thread_not_found(thread.id)
        if existing is not None and existing["expires_s"] is not None and existing["expires_s"] <= now_s:
            existing = None
        if existing is None and changes is not None:
            raise thread_not_found(thread.id)
        if existing is not None and existing["schema"] > codec.SCHEMA_VERSION:
            raise ConflictError(UNREADABLE)
        is_new = in_turn and changes is None
        if is_new and existing is not None:
            if _readable_fields(existing) != fields:
                raise ConflictError(TAKEN)
            self._snapshots.keep(thread, thread=name, fields=fields)
            return
        stored, place = dict(fields), codec.thread_time_us(thread.created_at)
        if existing is not None:
            place = existing["place"]
            if changes is not None:
                stored = self._snapshots.merged(
                    thread, changes, stored=_readable_fields(existing), thread=name, in_turn=in_turn
                )
        values = {"place": place, "fields": fields_data(stored), "schema": codec.SCHEMA_VERSION, "expires_s": expires_s}
        key = {"user_id": user_id, "id": thread.id}
        # Without a row to lock, the thread may have been created and deleted since.
        free: ColumnElement[bool] = threads.c.deleted_s.is_(None)
        if is_new:
            free = and_(free, threads.c.expires_s <= now_s)
        upsert = insert(threads).values(**key, **values, deleted_s=None)
        upsert = upsert.on_conflict_do_update(index_elements=list(key), set_=values, where=free)
        if (await session.execute(upsert.returning(threads.c.id))).first() is None:
            raise ConflictError(TAKEN) if is_new else thread_not_found(thread.id)
        self._snapshots.keep(thread, thread=name, fields=codec.dump_thread(thread))

    def read(self, row: RowMapping) -> ThreadMetadata:
        """The thread of a row, or a placeholder if it cannot be read (the row is counted and left unchanged)."""
        fields: Mapping[str, str] | None
        try:
            fields = fields_of(row)
        except codec.UnreadableError:
            fields = None
        return self._reader.thread(row["id"], fields, name=keys.thread_partition(row["user_id"], row["id"]))


def _readable_fields(row: RowMapping) -> dict[str, str]:
    """`fields_of`, but ConflictError if they cannot be read."""
    try:
        return fields_of(row)
    except codec.UnreadableError:
        raise ConflictError(UNREADABLE) from None
