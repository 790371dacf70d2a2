"""Threads in DynamoDB: one row each, with one attribute per field of the thread."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chatkit.types import Page, ThreadMetadata

from lambda_src.errors import ConflictError, TooLargeError
from lambda_src.store import bounds, codec, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.clock import MAX_THREADS
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Put, Row, Table, Update, key_of
from lambda_src.store.reading import Reader
from lambda_src.store.thread_snapshots import TAKEN, UNREADABLE, Changes, Snapshots, thread_not_found

THREAD_MAX_BYTES = 150 * 1024  # all fields together; as for items, half of 400 KB minus room for the keys
NO_VALUES: Mapping[str, Mapping[str, Any]] = {}
_NS = 1_000_000_000


class Threads:
    """The threads of every user. `retention_s` = 0 keeps them for ever."""

    def __init__(
        self, table: Table, snapshots: Snapshots, *, clock: Callable[[], int], reader: Reader, retention_s: int
    ) -> None:
        self._table = table
        self._clock = clock
        self._retention_s = retention_s
        self._snapshots = snapshots
        self._reader = reader
        self._expiries: OrderedDict[str, int] = OrderedDict()  # epoch seconds, by _name

    def _now_s(self) -> int:
        return self._clock() // _NS

    async def load(self, user_id: str, thread_id: str) -> ThreadMetadata:
        """The thread; NotFoundError if it is missing, deleted or someone else's."""
        row = await self._table.get(_key(user_id, thread_id))
        if row is None or not rows.is_alive(row, now_s=self._now_s()):
            raise thread_not_found(thread_id)
        return self._read(row)

    async def save(self, user_id: str, thread: ThreadMetadata, *, in_turn: bool = False) -> None:
        """Write the fields that changed since the object was loaded or saved; all fields if it never was.

        `in_turn`: a field that another writer has changed since keeps that value, which is copied into the object; an
        object that was never loaded or saved is a new thread, and ConflictError if its id is taken.
        NotFoundError if the thread was deleted or has expired since; ConflictError if this release cannot read the row.
        """
        fields = _fields(thread)
        key = _key(user_id, thread.id)
        changes = self._snapshots.changes(thread, fields, thread=_name(key))
        while changes is None or changes.after:
            try:
                await self._apply(self._change(key, thread, fields, changes, in_turn=in_turn))
                break
            except ConditionFailedError as fault:
                if not rows.is_alive(fault.old, now_s=self._now_s()):
                    raise thread_not_found(thread.id) from None
                if not rows.schema_known(fault.old):
                    raise ConflictError(UNREADABLE) from None
                stored = rows.thread_fields(fault.old)
                if changes is None:
                    if stored != fields:
                        raise ConflictError(TAKEN) from None
                    break  # a retry after a lost response
                theirs = changes.lost_to(stored)
                fields = self._snapshots.take_over(thread, fields, theirs, thread=_name(key))
                changes = changes.without(theirs, stored=stored)
        self._snapshots.keep(thread, thread=_name(key), fields=fields)

    def creation(self, user_id: str, thread: ThreadMetadata) -> Update:
        """The write of a transaction that creates a thread. Call `note_creation` if the transaction succeeds."""
        return self._change(_key(user_id, thread.id), thread, _fields(thread), None, in_turn=True)

    def note_creation(self, thread: ThreadMetadata, creation: Update) -> None:
        """Take a snapshot of the created thread, so that the next save writes only what has changed since."""
        self._snapshots.keep(thread, thread=_name(creation.key), fields=codec.dump_thread(thread))
        self._note_update(creation)

    async def expiry_of_new_items(self, user_id: str, thread_id: str, *, in_turn: bool) -> int | None:
        """When an item that is added to the thread now expires; None: never. Extends the thread's expiry to match.

        One request if the thread would expire earlier, as far as this process knows; none without retention. Items of
        a thread that does not exist expire on their own.
        """
        if not self._retention_s:
            return None
        key = _key(user_id, thread_id)
        now_s = self._now_s()
        expires_s = now_s + self._retention_s
        cached_s = self._expiries.get(_name(key), 0)
        if cached_s >= expires_s - bounds.tolerance_s(self._retention_s, in_turn=in_turn):
            return cached_s
        try:
            await self._table.update(
                key,
                "SET #expires_at = :wanted",
                condition=f"({rows.LISTED}) AND ({rows.NOT_EXPIRED}) AND {rows.EXPIRES_BEFORE}",
                values={":wanted": rows.number(expires_s), ":now": rows.number(now_s)},
            )
        except ConditionFailedError as fault:
            if not rows.is_alive(fault.old, now_s=now_s):
                return expires_s
            expires_s = int(fault.old[keys.TTL_ATTRIBUTE]["N"])
        self._note_expiry(key, expires_s)
        return expires_s

    def _note_expiry(self, key: Key, expires_s: int) -> None:
        self._expiries[_name(key)] = expires_s
        self._expiries.move_to_end(_name(key))
        if len(self._expiries) > MAX_THREADS:
            self._expiries.popitem(last=False)

    async def restore(
        self, user_id: str, thread_id: str, fields: Mapping[str, str], *, order: int
    ) -> Mapping[str, str] | None:
        """Restore an exported thread in its position. Returns the fields of an existing thread with its id, else None.

        ConditionFailedError if a deleted thread with its id is not completely swept yet.
        """
        key = _key(user_id, thread_id)
        row = await self._table.get(key)
        if row is not None and rows.is_alive(row, now_s=self._now_s()):
            return rows.thread_fields(row)
        if row is not None and keys.ORDER_KEY in row:  # expired: drop its position and fields too
            await self._table.delete(key)
        await self._apply(self._update(key, order, fields, condition=rows.NOT_DELETED))
        return None

    async def page(self, user_id: str, *, after: str | None, limit: int, descending: bool) -> Page[ThreadMetadata]:
        """Up to `limit` threads after the cursor `after`: one request, two with a cursor. NotFoundError for an unknown
        cursor.
        """
        cursor = None
        now_s = self._now_s()
        if after is not None:
            cursor = rows.cursor_of(await self._table.get(_key(user_id, after)), now_s=now_s)
            if cursor is None:
                raise thread_not_found(after)
        listed = await self._table.listed(
            keys.user_partition(user_id),
            after=cursor,
            descending=descending,
            want=limit + 1,
            alive=lambda row: rows.is_alive(row, now_s=now_s),
        )
        data = [self._read(row) for row in listed[:limit]]
        has_more = len(listed) > limit
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def delete(self, user_id: str, thread_id: str, *, also: Iterable[Row] = ()) -> bool:
        """Delete a thread for its user and schedule its sweep, in one transaction; False if it does not exist.

        `also`: rows to write in the same transaction.
        """
        key = _key(user_id, thread_id)
        items = keys.thread_partition(user_id, thread_id)
        now = rows.number(self._now_s())
        tombstone = {keys.PARTITION_KEY: rows.text(items), rows.DELETED_AT: now}
        pending = {
            keys.PARTITION_KEY: rows.text(keys.sweep_partition(keys.sweep_shard(thread_id))),
            keys.SORT_KEY: rows.text(keys.sweep_sort(user_id, thread_id)),
            rows.USER_ID: rows.text(user_id),
            rows.THREAD_ID: rows.text(thread_id),
            rows.DELETED_AT: now,
        }
        fields = ", ".join(f"#{rows.FIELD}{name}" for name in sorted(codec.THREAD_FIELDS))
        try:
            await self._table.transact(
                Update(
                    key,
                    f"SET #was_order = #order, #deleted_at = :now REMOVE #order, #expires_at, #{rows.SCHEMA}, {fields}",
                    {":now": now},
                    condition=rows.LISTED,
                ),
                Put(tombstone | {keys.SORT_KEY: rows.text(keys.GONE), keys.ORDER_KEY: rows.text(keys.FIRST_ORDER)}),
                Put(tombstone | {keys.SORT_KEY: rows.text(keys.TURN), keys.ORDER_KEY: rows.text(keys.LAST_ORDER)}),
                Put(pending),
                *map(Put, also),
            )
        except ConditionFailedError:
            return False
        return True

    def _change(
        self, key: Key, thread: ThreadMetadata, fields: dict[str, str], changes: Changes | None, *, in_turn: bool
    ) -> Update:
        """The write of `changes`, or of all fields of an object that was never loaded or saved."""
        conditions = [rows.NOT_DELETED if changes is None else rows.LISTED, rows.SCHEMA_KNOWN]
        seen: dict[str, Mapping[str, Any]] = {":schema_known": rows.number(codec.SCHEMA_VERSION)}
        if changes is not None or in_turn:
            conditions.append(rows.NOT_LISTED if changes is None else rows.NOT_EXPIRED)
            seen[":now"] = rows.number(self._now_s())
        if changes is not None and in_turn:
            for name, text in changes.before.items():
                field = rows.FIELD + name
                conditions.append(f"attribute_not_exists(#{field})" if text is None else f"#{field} = :seen_{name}")
                seen |= {} if text is None else {f":seen_{name}": rows.text(text)}
        written = fields if changes is None else changes.after
        position = codec.thread_time_us(thread.created_at)
        return self._update(key, position, written, condition=" AND ".join(f"({c})" for c in conditions), seen=seen)

    def _update(
        self,
        key: Key,
        order: int,
        fields: Mapping[str, str],
        *,
        condition: str,
        seen: Mapping[str, Mapping[str, Any]] = NO_VALUES,
    ) -> Update:
        attributes: dict[str, dict[str, Any]] = {rows.FIELD + name: rows.text(text) for name, text in fields.items()}
        attributes[rows.SCHEMA] = rows.number(codec.SCHEMA_VERSION)
        removal = ""
        if self._retention_s:
            attributes[keys.TTL_ATTRIBUTE] = rows.number(self._now_s() + self._retention_s)
        else:
            removal = " REMOVE #expires_at"
        position = rows.text(keys.order_of(order, key[1].removeprefix(keys.THREAD_PREFIX)))
        return Update(
            key,
            f"SET #order = if_not_exists(#order, :order), {rows.setting(attributes)}{removal}",
            {":order": position, **rows.valued(attributes), **seen},
            condition=condition,
        )

    async def _apply(self, update: Update) -> None:
        await self._table.apply(update)
        self._note_update(update)

    def _note_update(self, update: Update) -> None:
        if (expires_s := expiry_of(update)) is not None:
            self._note_expiry(update.key, expires_s)

    def _read(self, row: Row) -> ThreadMetadata:
        """The thread of a row, or a placeholder if it cannot be read (the row is counted and left unchanged)."""
        thread_id = rows.sort_id(row, keys.THREAD_PREFIX)
        if keys.TTL_ATTRIBUTE in row:
            self._note_expiry(key_of(row), int(row[keys.TTL_ATTRIBUTE]["N"]))
        fields = rows.thread_fields(row) if rows.schema_known(row) else None
        return self._reader.thread(thread_id, fields, name=_name(key_of(row)))


def expiry_of(update: Update) -> int | None:
    """When the thread written by `update` expires, in epoch seconds; None: never."""
    expires_s = update.values.get(f":{keys.TTL_ATTRIBUTE}")
    return None if expires_s is None else int(expires_s["N"])


def _fields(thread: ThreadMetadata) -> dict[str, str]:
    """The thread's fields as JSON texts. TooLargeError when a row has no room for them."""
    fields = codec.dump_thread(thread)
    size = sum(len(text.encode()) for text in fields.values())
    if size > THREAD_MAX_BYTES:
        raise TooLargeError(f"This thread's fields have {size} bytes; the limit is {THREAD_MAX_BYTES}.")
    return fields


def _key(user_id: str, thread_id: str) -> Key:
    return keys.user_partition(user_id), keys.thread_sort(thread_id)


def _name(key: Key) -> str:
    """A key as one string, by which snapshots identify the thread."""
    return "\0".join(key)
