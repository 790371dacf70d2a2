"""Turn leases in DynamoDB: one row per thread, which a turn takes, renews and ends by conditional writes.

A deleted thread's tombstone has the same key, so that the same write detects that the thread is deleted.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Literal

from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.errors import ThreadHeldError
from lambda_src.store import bounds, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.clock import WINDOW_NS
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Row, Update
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.ports import LeaseTaken, TurnRow

TTL_MS = 7 * 86_400_000  # a week: longer than any journal's, so that a journal's turn can always be looked up
_YES: Mapping[str, Any] = {"BOOL": True}
_NO: Mapping[str, Any] = {"BOOL": False}

_MINE = f"#{turn_rows.TURN_ID} = :{turn_rows.TURN_ID}"
_NOT_THIS_CALL = f"(attribute_not_exists(#{turn_rows.MARK}) OR #{turn_rows.MARK} <> :{turn_rows.MARK})"
_ORDERS = (turn_rows.FIRST_ORDER, turn_rows.LAST_ORDER)
_AFTER = "".join(f" AND (attribute_not_exists(#{name}) OR #{name} <= :before)" for name in _ORDERS)
"""The turn's window begins after those of all earlier turns; if not, the lease is taken again, with a later one."""
_COPIED = ", ".join(f"#{to} = if_not_exists(#{name}, :no_{name})" for to, name in turn_rows.BEFORE.items())
_CARRIED_OVER = (
    f"#{turn_rows.UNRECOVERED} = list_append(if_not_exists(#{turn_rows.UNRECOVERED}, :empty), "
    f"if_not_exists(#{turn_rows.UNENDED}, :empty)), "
    f"#{turn_rows.LAST_ORDER} = if_not_exists(#{turn_rows.LAST_ORDER}, :no_{turn_rows.LAST_ORDER}) + :lease_order"
)
_DEFAULTS = {f":no_{name}": value for name, value in turn_rows.DEFAULTS.items()}
_DEFAULTS |= {":empty": turn_rows.EMPTY_LIST, ":lease_order": rows.number(turn_rows.LEASE_ORDER)}


class Leases(LedgerPart):
    """The leases of every thread."""

    @within_budget
    async def take_lease(self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext) -> LeaseTaken:
        """Take the lease from its holder; NotFoundError if a tombstone has replaced it, ThreadHeldError if the thread
        waits for a person or has one.
        """
        bounds.writable(context.user.id, thread_id, turn_id)
        key = _key(context.user.id, thread_id)
        condition = f"{rows.NOT_DELETED} AND {turn_rows.NOT_HELD} AND {_NOT_THIS_CALL}"
        previous: TurnRow | None = None
        for order in (_AFTER, _AFTER, ""):  # "": the clock of an earlier turn is too far ahead to be followed
            first = self._hold_first(key[0], turn_id)  # before the write: a new thread's message is saved concurrently
            taking = self._taking(key, turn_id, first, lease_ms, condition + order)
            try:
                previous = turn_rows.turn_of(await self._table.apply(taking))
            except ConditionFailedError as fault:
                if rows.is_tombstone(fault.old):
                    raise NotFoundError("This thread has been deleted.") from None
                if turn_rows.hold_of(fault.old) is not None:
                    raise ThreadHeldError from None
                if not is_taken_by(taking, fault.old):
                    self._clocks.follow(key[0], turn_rows.last_order_of(fault.old))
                    continue
                previous = turn_rows.turn_before(fault.old)  # a retry after a lost response
            break
        if previous is not None:
            self._clocks.follow(key[0], previous.last_order)
        return LeaseTaken(previous)

    def _first_lease(self, user_id: str, thread_id: str, turn_id: str, *, lease_ms: int) -> Update:
        """The write of a transaction that takes the first lease of a new thread."""
        key = _key(user_id, thread_id)
        first = self._hold_first(key[0], turn_id)
        return self._taking(key, turn_id, first, lease_ms, f"attribute_not_exists(#{keys.PARTITION_KEY})")

    @within_budget
    async def renew_lease(
        self, thread_id: str, turn_id: str, *, lease_ms: int, context: RequestContext
    ) -> Literal["held", "stopped", "superseded"]:
        """Extend the lease, or return why that failed."""
        bounds.writable(context.user.id, thread_id, turn_id)
        key = _key(context.user.id, thread_id)
        ahead = self._clocks.ahead(key[0])
        attributes = {turn_rows.EXPIRES_MS: rows.number(self._now_ms() + lease_ms), **self._renewed(ahead)}
        removed = f"{turn_rows.BEFORE_ATTRIBUTES}, #{turn_rows.UNRECOVERED}"
        try:
            await self._renew(key, turn_id, attributes, removed, f" AND #{turn_rows.STOP} = :no")
        except ConditionFailedError as fault:
            current = turn_rows.turn_of(fault.old)
            if current is not None and current.turn_id == turn_id and current.stop and not current.ended:
                return "stopped"
            return "superseded"
        self._clocks.hold(key[0], turn_id, ahead)
        return "held"

    async def catch_up(self, user_id: str, thread_id: str, turn_id: str | None) -> None:
        """Call before a turn writes or deletes: store a later time if it has read an item past its window.

        No request otherwise. No-op if another turn has the lease.
        """
        key = _key(user_id, thread_id)
        if turn_id is None or not self._clocks.needs_new_window(key[0], turn_id):
            return
        ahead = self._clocks.ahead(key[0])
        try:
            await self._renew(key, turn_id, self._renewed(ahead))
        except ConditionFailedError:
            self._clocks.lose(key[0], turn_id)
        else:
            self._clocks.hold(key[0], turn_id, ahead)

    async def _end_lease(self, user_id: str, thread_id: str, turn_id: str, *, died: bool) -> bool:
        """Mark the turn as ended; False if another turn has the lease. NotFoundError if the thread is deleted."""
        key = _key(user_id, thread_id)
        ended_ms = 0 if died else self._now_ms()
        attributes = {turn_rows.ENDED: _YES, turn_rows.EXPIRES_MS: rows.number(ended_ms)}
        attributes |= self._renewed(self._clocks.ahead(key[0]))
        removed = f"{turn_rows.BEFORE_ATTRIBUTES}, #{turn_rows.UNRECOVERED}, #{turn_rows.UNENDED}"
        try:
            await self._renew(key, turn_id, attributes, removed)
        except ConditionFailedError as fault:
            if rows.is_tombstone(fault.old):
                raise NotFoundError("This thread has been deleted.") from None
            current = turn_rows.turn_of(fault.old)
            return current is not None and current.turn_id == turn_id  # it had ended before
        return True

    async def _delete_lease(self, user_id: str, thread_id: str) -> None:
        """Replace the lease by a tombstone, as deleting the thread does."""
        partition, sort = _key(user_id, thread_id)
        tombstone = {
            keys.PARTITION_KEY: rows.text(partition),
            keys.SORT_KEY: rows.text(sort),
            rows.DELETED_AT: rows.number(self._now_ms() // 1000),
            keys.TTL_ATTRIBUTE: self._ttl(),
        }
        await self._table.put(tombstone)

    @within_budget
    async def ask_to_stop(self, thread_id: str, turn_id: str | None, *, context: RequestContext) -> TurnRow | None:
        """Set the stop flag of the running turn; None if no turn, or not this turn, is running."""
        if not bounds.are_ids(context.user.id, thread_id, *([] if turn_id is None else [turn_id])):
            return None
        condition = f"#{turn_rows.ENDED} = :no AND #{turn_rows.EXPIRES_MS} > :now"
        values = {":yes": _YES, ":no": _NO, ":now": rows.number(self._now_ms())}
        if turn_id is not None:
            condition += f" AND {_MINE}"
            values[f":{turn_rows.TURN_ID}"] = rows.text(turn_id)
        try:
            old = await self._table.update(
                _key(context.user.id, thread_id), f"SET #{turn_rows.STOP} = :yes", condition=condition, values=values
            )
        except ConditionFailedError:
            return None
        return turn_rows.turn_of({**old, turn_rows.STOP: _YES})

    @within_budget
    async def load_turn(self, thread_id: str, *, context: RequestContext) -> TurnRow | None:
        """The thread's lease, whether its turn has ended or not."""
        if not bounds.are_ids(context.user.id, thread_id):
            return None
        row = await self._table.get(_key(context.user.id, thread_id))
        return None if row is None else turn_rows.turn_of(row)

    async def _renew(
        self,
        key: Key,
        turn_id: str,
        attributes: Mapping[str, Mapping[str, Any]],
        removed: str = "",
        condition: str = "",
    ) -> None:
        """Set attributes if the turn has the lease and has not ended. The TTL of a held thread is left as it is.

        A turn that asked for a person ends in a thread that is held: then this takes a second request.
        """
        removal = f" REMOVE {removed}" if removed else ""
        condition = f"{_MINE} AND #{turn_rows.ENDED} = :no{condition}"
        values = {f":{turn_rows.TURN_ID}": rows.text(turn_id), ":no": _NO}
        try:
            await self._table.update(
                key,
                f"SET {rows.setting(attributes)}{removal}",
                condition=f"{condition} AND {turn_rows.NOT_HELD}",
                values={**rows.valued(attributes), **values},
            )
        except ConditionFailedError as fault:
            if turn_rows.hold_of(fault.old) is None or rows.is_tombstone(fault.old):
                raise
            attributes = {name: value for name, value in attributes.items() if name != keys.TTL_ATTRIBUTE}
            await self._table.update(
                key,
                f"SET {rows.setting(attributes)}{removal}",
                condition=condition,
                values={**rows.valued(attributes), **values},
            )

    def _hold_first(self, partition: str, turn_id: str) -> int:
        """The order after which the items of the turn come, as far as this process knows."""
        first = self._clocks.first(partition)
        self._clocks.hold(partition, turn_id, first)
        return first

    def _taking(self, key: Key, turn_id: str, first: int, lease_ms: int, condition: str) -> Update:
        """The write that takes the lease. The row keeps what a recovery needs to know of the previous lease."""
        attributes = {
            turn_rows.TURN_ID: rows.text(turn_id),
            turn_rows.FIRST_ORDER: rows.number(first),
            turn_rows.EXPIRES_MS: rows.number(self._now_ms() + lease_ms),
            turn_rows.STOP: _NO,
            turn_rows.ENDED: _NO,
            turn_rows.MARK: rows.text(secrets.token_hex(8)),
            turn_rows.UNENDED: {"L": [rows.text(turn_id)]},
            keys.TTL_ATTRIBUTE: self._ttl(),
        }
        values = rows.valued(attributes) | _DEFAULTS
        if ":before" in condition:
            values[":before"] = rows.number(first - WINDOW_NS)
        return Update(key, f"SET {_COPIED}, {_CARRIED_OVER}, {rows.setting(attributes)}", values, condition=condition)

    def _ttl(self) -> Mapping[str, str]:
        return turn_rows.ttl(self._now_ms() + TTL_MS)

    def _renewed(self, last_order: int) -> dict[str, Mapping[str, Any]]:
        """Attributes that every write of the holder updates: the TTL, and after which order the next turn starts."""
        return {keys.TTL_ATTRIBUTE: self._ttl(), turn_rows.LAST_ORDER: rows.number(last_order)}


def is_taken_by(taking: Update, row: Row) -> bool:
    """Whether `row` is the lease that `taking` wrote, so that its response was lost."""
    return row.get(turn_rows.MARK) == taking.values[f":{turn_rows.MARK}"]


def _key(user_id: str, thread_id: str) -> Key:
    return keys.thread_partition(user_id, thread_id), keys.TURN
