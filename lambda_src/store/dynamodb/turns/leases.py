"""The lease of a thread: one row that a turn takes, renews and ends, each by one conditional write. Knows no journal.

A deleted thread's tombstone has the same key, so the same write tells a turn that its thread is deleted.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal

from chatkit.store import NotFoundError

from lambda_src.store import keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.clock import ThreadClocks
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Table
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.ports import LeaseTaken, TurnRow

TTL_MS = 7 * 86_400_000  # a week: past any journal's, so that whoever finds one knows whose it is and whether it ended
_YES: Mapping[str, Any] = {"BOOL": True}
_NO: Mapping[str, Any] = {"BOOL": False}

_MINE = f"#{turn_rows.TURN_ID} = :{turn_rows.TURN_ID}"
_NOT_THIS_CALL = f"(attribute_not_exists(#{turn_rows.MARK}) OR #{turn_rows.MARK} <> :{turn_rows.MARK})"
_COPIED = ", ".join(f"#{to} = if_not_exists(#{name}, :no_{name})" for to, name in turn_rows.BEFORE.items())
_LEFT = (
    f"#{turn_rows.UNRECOVERED} = list_append(if_not_exists(#{turn_rows.UNRECOVERED}, :none_left), "
    f"if_not_exists(#{turn_rows.UNENDED}, :none_left)), "
    f"#{turn_rows.LAST_ORDER} = if_not_exists(#{turn_rows.LAST_ORDER}, :no_{turn_rows.LAST_ORDER}) + :lease_order"
)
_DEFAULTS = {f":no_{name}": value for name, value in turn_rows.DEFAULTS.items()}
_DEFAULTS |= {":none_left": turn_rows.NONE_LEFT, ":lease_order": rows.number(turn_rows.LEASE_ORDER)}


class Leases:
    """The leases of every thread. `clock` in nanoseconds since 1970; `clocks` order the items of the same store."""

    def __init__(self, table: Table, clocks: ThreadClocks, *, clock: Callable[[], int]) -> None:
        self._table = table
        self._clocks = clocks
        self._clock = clock

    async def take(self, user_id: str, thread_id: str, turn_id: str, *, lease_ms: int) -> LeaseTaken:
        """Take the lease from its holder; NotFoundError when a tombstone has replaced it."""
        key = _key(user_id, thread_id)
        first = self._clocks.first(key[0])
        self._clocks.hold(key[0], turn_id, first)  # at once: a new thread's message is written beside this
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
        try:
            old = await self._table.update(
                key,
                f"SET {_COPIED}, {_LEFT}, {rows.setting(attributes)}",
                condition=f"attribute_not_exists(#{rows.DELETED_AT}) AND {_NOT_THIS_CALL}",
                values=rows.valued(attributes) | _DEFAULTS,
            )
            previous = turn_rows.turn_of(old)
        except ConditionFailedError as fault:
            if rows.is_tombstone(fault.old):
                raise NotFoundError("This thread has been deleted.") from None
            previous = turn_rows.turn_before(fault.old)  # our own write, whose answer was lost
        if previous is not None:
            self._clocks.follow(key[0], previous.last_order)
            self._clocks.hold(key[0], turn_id, max(first, self._clocks.first(key[0])))
        return LeaseTaken(previous)

    async def renew(
        self, user_id: str, thread_id: str, turn_id: str, *, lease_ms: int
    ) -> Literal["held", "stopped", "superseded"]:
        """Prolong the lease, or say why not."""
        key = _key(user_id, thread_id)
        ahead = self._clocks.ahead(key[0])
        attributes = {turn_rows.EXPIRES_MS: rows.number(self._now_ms() + lease_ms), **self._kept_up(ahead)}
        try:
            await self._table.update(
                key,
                f"SET {rows.setting(attributes)} REMOVE {turn_rows.BEFORE_FORGOTTEN}, #{turn_rows.UNRECOVERED}",
                condition=f"{_MINE} AND #{turn_rows.STOP} = :no AND #{turn_rows.ENDED} = :no",
                values={**rows.valued(attributes), f":{turn_rows.TURN_ID}": rows.text(turn_id), ":no": _NO},
            )
        except ConditionFailedError as fault:
            standing = turn_rows.turn_of(fault.old)
            if standing is not None and standing.turn_id == turn_id and standing.stop and not standing.ended:
                return "stopped"
            return "superseded"
        self._clocks.hold(key[0], turn_id, ahead)
        return "held"

    async def catch_up(self, user_id: str, thread_id: str, turn_id: str | None) -> None:
        """Before a turn writes or deletes: if it has read something behind its room, hand a later time on.

        No request otherwise. Changes nothing when another turn has the lease.
        """
        key = _key(user_id, thread_id)
        if turn_id is None or not self._clocks.is_outrun(key[0], turn_id):
            return
        ahead = self._clocks.ahead(key[0])
        attributes = self._kept_up(ahead)
        try:
            await self._table.update(
                key,
                f"SET {rows.setting(attributes)}",
                condition=f"{_MINE} AND #{turn_rows.ENDED} = :no",
                values={**rows.valued(attributes), f":{turn_rows.TURN_ID}": rows.text(turn_id), ":no": _NO},
            )
        except ConditionFailedError:
            self._clocks.lose(key[0], turn_id)
        else:
            self._clocks.hold(key[0], turn_id, ahead)

    async def end(self, user_id: str, thread_id: str, turn_id: str, *, died: bool) -> bool:
        """Mark the turn as ended; False when the lease is no longer its. NotFoundError when the thread is deleted."""
        key = _key(user_id, thread_id)
        ended_ms = 0 if died else self._now_ms()
        attributes = {turn_rows.ENDED: _YES, turn_rows.EXPIRES_MS: rows.number(ended_ms)}
        attributes |= self._kept_up(self._clocks.ahead(key[0]))
        forgotten = f"{turn_rows.BEFORE_FORGOTTEN}, #{turn_rows.UNRECOVERED}, #{turn_rows.UNENDED}"
        try:
            await self._table.update(
                key,
                f"SET {rows.setting(attributes)} REMOVE {forgotten}",
                condition=f"{_MINE} AND #{turn_rows.ENDED} = :no",
                values={**rows.valued(attributes), f":{turn_rows.TURN_ID}": rows.text(turn_id), ":no": _NO},
            )
        except ConditionFailedError as fault:
            if rows.is_tombstone(fault.old):
                raise NotFoundError("This thread has been deleted.") from None
            standing = turn_rows.turn_of(fault.old)
            return standing is not None and standing.turn_id == turn_id  # again, our own lost answer included
        return True

    async def delete(self, user_id: str, thread_id: str) -> None:
        """Put a tombstone in the lease's place, as a delete of the thread does."""
        partition, sort = _key(user_id, thread_id)
        tombstone = {
            keys.PARTITION_KEY: rows.text(partition),
            keys.SORT_KEY: rows.text(sort),
            rows.DELETED_AT: rows.number(self._now_ms() // 1000),
            keys.TTL_ATTRIBUTE: self._ttl(),
        }
        await self._table.put(tombstone)

    async def ask_to_stop(self, user_id: str, thread_id: str, turn_id: str | None) -> TurnRow | None:
        """Set the stop flag of the running turn; None when there is none, or not this one."""
        condition = f"#{turn_rows.ENDED} = :no AND #{turn_rows.EXPIRES_MS} > :now"
        values = {":yes": _YES, ":no": _NO, ":now": rows.number(self._now_ms())}
        if turn_id is not None:
            condition += f" AND {_MINE}"
            values[f":{turn_rows.TURN_ID}"] = rows.text(turn_id)
        try:
            old = await self._table.update(
                _key(user_id, thread_id), f"SET #{turn_rows.STOP} = :yes", condition=condition, values=values
            )
        except ConditionFailedError:
            return None
        return turn_rows.turn_of({**old, turn_rows.STOP: _YES})

    async def load(self, user_id: str, thread_id: str) -> TurnRow | None:
        """The current lease."""
        row = await self._table.get(_key(user_id, thread_id))
        return None if row is None else turn_rows.turn_of(row)

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000

    def _ttl(self) -> Mapping[str, str]:
        return turn_rows.ttl(self._now_ms() + TTL_MS)

    def _kept_up(self, last_order: int) -> dict[str, Mapping[str, Any]]:
        """What each write of the holder brings up to date: the TTL, and behind what its successor's items come."""
        return {keys.TTL_ATTRIBUTE: self._ttl(), turn_rows.LAST_ORDER: rows.number(last_order)}


def _key(user_id: str, thread_id: str) -> Key:
    return keys.thread_partition(user_id, thread_id), keys.TURN
