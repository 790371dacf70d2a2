"""SQL statements of PostgresStore, as functions that build them. Knows no session."""

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
    """Rows whose time is not over."""
    return or_(table.c.expires_s.is_(None), table.c.expires_s > now_s)


def of_user(table: Table, user_id: str, **equal: str) -> ColumnElement[bool]:
    """Rows of one user, and of the columns named."""
    return and_(table.c.user_id == user_id, *(table.c[name] == value for name, value in equal.items()))


def not_deleted(user_id: str, thread_id: str) -> ColumnElement[bool]:
    """Whether the thread is not known to be deleted: an item of a late run stays unseen."""
    return ~exists().where(of_user(threads, user_id, id=thread_id), threads.c.deleted_s.is_not(None))


def living_items(user_id: str, thread_id: str, now_s: int) -> Select[Any]:
    """The items of a thread that are there for a reader."""
    return select(items).where(
        of_user(items, user_id, thread_id=thread_id),
        items.c.payload.is_not(None),
        unexpired(items, now_s),
        not_deleted(user_id, thread_id),
    )


def living_threads(user_id: str, now_s: int) -> Select[Any]:
    """The threads of a user that are there for a reader."""
    return select(threads).where(of_user(threads, user_id), threads.c.deleted_s.is_(None), unexpired(threads, now_s))


def page(
    rows: Select[Any], table: Table, *, after: tuple[int, str] | None, limit: int, descending: bool
) -> Select[Any]:
    """`limit` of the rows beyond a place, in order."""
    place = tuple_(table.c.place, table.c.id)
    if after is not None:
        rows = rows.where(place < after if descending else place > after)
    ordered = (table.c.place.desc(), table.c.id.desc()) if descending else (table.c.place, table.c.id)
    return rows.order_by(*ordered).limit(limit)


def write_item(
    values: Mapping[str, Any], *, now_ns: int, only_over: ColumnElement[bool] | None = None
) -> ReturningInsert[Any]:
    """Write an item: a new one after all that have arrived, an older one in its place. Returns the id if it wrote.

    The place is the database's to give: the clock, or one after the thread's newest, whichever is later; `values` may
    bring one. A row that stands there is written over when `only_over` holds for it.
    """
    of_thread = of_user(items, values["user_id"], thread_id=values["thread_id"])
    newest = select(func.max(items.c.place) + 1).where(of_thread).scalar_subquery()
    new = insert(items).values({"place": func.greatest(now_ns, newest), "deleted_s": None, **values})
    kept = {name: new.excluded[name] for name in values if name not in ("user_id", "thread_id", "id", "place")}
    gone = or_(items.c.payload.is_(None), items.c.expires_s <= now_ns // 1_000_000_000)
    place = case((gone, new.excluded.place), else_=items.c.place)
    return new.on_conflict_do_update(
        index_elements=[items.c.user_id, items.c.thread_id, items.c.id],
        set_={**kept, "place": place, "deleted_s": None},
        where=only_over,
    ).returning(items.c.id)


def prolong_thread(user_id: str, thread_id: str, *, expires_s: int, now_s: int) -> Update:
    """Keep a thread that is there until `expires_s` at least: as long as its newest item."""
    shorter = or_(threads.c.expires_s.is_(None), threads.c.expires_s < expires_s)
    there = and_(of_user(threads, user_id, id=thread_id), threads.c.deleted_s.is_(None), unexpired(threads, now_s))
    return update(threads).where(there, shorter).values(expires_s=expires_s)


def free_for(now_s: int, *, workflow: bool) -> ColumnElement[bool]:
    """Where an item may be added: nothing is there, or a workflow that a workflow may replace."""
    free = or_(items.c.payload.is_(None), items.c.expires_s <= now_s)
    return or_(free, items.c.is_open) if workflow else free


def delete_items(now_s: int) -> Update:
    """Delete the content of items; their rows still serve as cursors."""
    return update(items).values(payload=None, digest=b"", is_open=False, expires_s=None, deleted_s=now_s)


def write_feedback(user_id: str, thread_id: str, item_id: str, kind: str) -> Insert:
    """Keep the feedback on an item; the latest wins."""
    key = {"user_id": user_id, "thread_id": thread_id, "item_id": item_id}
    new = insert(feedback).values(**key, kind=kind)
    return new.on_conflict_do_update(index_elements=list(key), set_={"kind": kind})


def delete_contents(user_id: str, thread_id: str) -> list[Delete]:
    """Delete everything that is in a thread."""
    return [
        delete(table).where(of_user(table, user_id, thread_id=thread_id)) for table in (items, attachments, feedback)
    ]
