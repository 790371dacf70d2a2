"""Builds the SQL statements of PostgresStore. Pure: executes nothing."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.sql.dml import ReturningInsert

from lambda_src.store.postgres.schema import attachments, feedback, items, threads


def unexpired(table: Table, now_s: int) -> ColumnElement[bool]:
    """Rows that have not expired."""
    return or_(table.c.expires_s.is_(None), table.c.expires_s > now_s)


def of_user(table: Table, user_id: str, **equal: str) -> ColumnElement[bool]:
    """Rows of one user whose columns have these values."""
    return and_(table.c.user_id == user_id, *(table.c[name] == value for name, value in equal.items()))


def not_deleted(user_id: str, thread_id: str) -> ColumnElement[bool]:
    """Whether the thread is not marked as deleted: hides items that a late run writes to it."""
    return ~exists().where(of_user(threads, user_id, id=thread_id), threads.c.deleted_s.is_not(None))


def living_items(user_id: str, thread_id: str, now_s: int) -> Select[Any]:
    """The items of a thread that are neither deleted nor expired."""
    return select(items).where(
        of_user(items, user_id, thread_id=thread_id),
        items.c.payload.is_not(None),
        unexpired(items, now_s),
        not_deleted(user_id, thread_id),
    )


def living_threads(user_id: str, now_s: int) -> Select[Any]:
    """The threads of a user that are neither deleted nor expired."""
    return select(threads).where(of_user(threads, user_id), threads.c.deleted_s.is_(None), unexpired(threads, now_s))


def page(
    rows: Select[Any], table: Table, *, after: tuple[int, str] | None, limit: int, descending: bool
) -> Select[Any]:
    """The first `limit` rows after a position, in order."""
    place = tuple_(table.c.place, table.c.id)
    if after is not None:
        rows = rows.where(place < after if descending else place > after)
    ordered = (table.c.place.desc(), table.c.id.desc()) if descending else (table.c.place, table.c.id)
    return rows.order_by(*ordered).limit(limit)


def write_item(
    values: Mapping[str, Any], *, now_ns: int, only_over: ColumnElement[bool] | None = None
) -> ReturningInsert[Any]:
    """Upsert an item: a new one after all others, an existing one in its position. Returns the id if it was written.

    A new item's `place` is the later of the clock and one more than the thread's newest, unless `values` has one. An
    existing row is overwritten only if `only_over` is true for it.
    """
    of_thread = of_user(items, values["user_id"], thread_id=values["thread_id"])
    newest = select(func.max(items.c.place) + 1).where(of_thread).scalar_subquery()
    new = insert(items).values({"place": func.greatest(now_ns, newest), "deleted_s": None, **values})
    updated = {name: new.excluded[name] for name in values if name not in ("user_id", "thread_id", "id", "place")}
    gone = or_(items.c.payload.is_(None), items.c.expires_s <= now_ns // 1_000_000_000)
    place = case((gone, new.excluded.place), else_=items.c.place)
    return new.on_conflict_do_update(
        index_elements=[items.c.user_id, items.c.thread_id, items.c.id],
        set_={**updated, "place": place, "deleted_s": None},
        where=only_over,
    ).returning(items.c.id)


def prolong_thread(user_id: str, thread_id: str, *, expires_s: int, now_s: int) -> Update:
    """Extend the expiry of a thread to at least `expires_s`, if the thread exists: it lasts as long as its items."""
    shorter = or_(threads.c.expires_s.is_(None), threads.c.expires_s < expires_s)
    there = and_(of_user(threads, user_id, id=thread_id), threads.c.deleted_s.is_(None), unexpired(threads, now_s))
    return update(threads).where(there, shorter).values(expires_s=expires_s)


def free_for(now_s: int, *, workflow: bool) -> ColumnElement[bool]:
    """Whether a new item may replace a row: it is deleted or expired, or `workflow` and the row is an open workflow."""
    free = or_(items.c.payload.is_(None), items.c.expires_s <= now_s)
    return or_(free, items.c.is_open) if workflow else free


def delete_items(now_s: int) -> Update:
    """Delete the content of items; their rows remain valid as cursors."""
    return update(items).values(payload=None, digest=b"", is_open=False, expires_s=None, deleted_s=now_s)


def write_feedback(user_id: str, thread_id: str, item_id: str, kind: str) -> Insert:
    """Store the feedback on an item; the latest wins."""
    key = {"user_id": user_id, "thread_id": thread_id, "item_id": item_id}
    new = insert(feedback).values(**key, kind=kind)
    return new.on_conflict_do_update(index_elements=list(key), set_={"kind": kind})


def delete_contents(user_id: str, thread_id: str) -> list[Delete]:
    """Delete everything in a thread."""
    return [
        delete(table).where(of_user(table, user_id, thread_id=thread_id)) for table in (items, attachments, feedback)
    ]
