"""Rows of threads: the fields as one JSON object of JSON texts, merged under the row's lock. Knows no page."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from chatkit.store import NotFoundError
from chatkit.types import ThreadMetadata
from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lambda_src.store import codec, keys
from lambda_src.store.ports import Count
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.schema import threads
from lambda_src.store.snapshots import Snapshot, Snapshots


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

    def __init__(self, snapshots: Snapshots, *, count: Count) -> None:
        self._snapshots = snapshots
        self._count = count

    async def save(self, session: AsyncSession, user_id: str, thread: ThreadMetadata, *, expires_s: int | None) -> None:
        """Write what changed since the object was seen. NotFoundError when it was deleted since it was loaded."""
        fields = codec.dump_thread(thread)
        name = keys.thread_partition(user_id, thread.id)
        known = self._snapshots.of(thread)
        if known is not None and known.thread != name:
            known = None
        locked = select(threads).where(sql.of_user(threads, user_id, id=thread.id)).with_for_update()
        standing = (await session.execute(locked)).mappings().one_or_none()
        merged = dict(fields)
        place = codec.thread_time_us(thread.created_at)
        if standing is not None and standing["deleted_s"] is not None:
            if known is not None:
                raise NotFoundError("This thread has been deleted.")
            for statement in sql.clear_thread(user_id, thread.id):  # what a late run added to the deleted one
                await session.execute(statement)
        elif standing is not None:
            before = {} if known is None else known.fields
            changed = {field: text for field, text in fields.items() if before.get(field) != text}
            merged = (fields_of(standing) if known is not None else {}) | changed
            place = standing["place"]
        values = {"place": place, "fields": fields_data(merged), "schema": codec.SCHEMA_VERSION}
        values |= {"expires_s": expires_s, "deleted_s": None}
        key = {"user_id": user_id, "id": thread.id}
        upsert = insert(threads).values(**key, **values)
        await session.execute(upsert.on_conflict_do_update(index_elements=list(key), set_=values))
        loaded = known is not None and known.loaded
        self._snapshots.keep(thread, Snapshot(name, fields, loaded=loaded))

    def read(self, row: RowMapping) -> ThreadMetadata:
        """The thread of a row, or a placeholder for one that cannot be read (counted, and kept as it is)."""
        try:
            fields = fields_of(row)
            thread = codec.load_thread(fields)
        except codec.UnreadableError:
            self._count("unreadable_row")
            return codec.unreadable_thread(row["id"], created_at=datetime.fromtimestamp(0, UTC))
        name = keys.thread_partition(row["user_id"], row["id"])
        self._snapshots.keep(thread, Snapshot(name, fields, loaded=True))
        return thread

    def forget_saved(self, user_id: str, thread_id: str) -> None:
        """After a delete: an object that was only saved may be saved anew."""
        self._snapshots.forget_saved(keys.thread_partition(user_id, thread_id))
