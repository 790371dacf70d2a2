"""Duplicate guards: which turn has a request's key, one row each in the user's partition. Knows no header, no body.

A turn's own id is such a key too: that is how its thread is found again.
"""

import secrets
from collections.abc import Callable

from lambda_src.store import keys
from lambda_src.store.calls import ConditionFailedError
from lambda_src.store.dynamodb import rows, turn_rows
from lambda_src.store.dynamodb.table import Key, Table
from lambda_src.store.ports import GuardLost

_FREE = f"attribute_not_exists(#{turn_rows.TURN_ID})"
_OVER = f"#{turn_rows.EXPIRES_MS} <= :now"
_MINE = f"#{turn_rows.TURN_ID} = :{turn_rows.TURN_ID}"


class Guards:
    """The keys of every user. `clock` in nanoseconds since 1970."""

    def __init__(self, table: Table, *, clock: Callable[[], int]) -> None:
        self._table = table
        self._clock = clock

    async def claim(self, user_id: str, key: str, turn_id: str, *, body_hash: bytes, ttl_s: int) -> GuardLost | None:
        """Claim a key that is free or over; who has it, when it is neither."""
        now_ms = self._now_ms()
        mark = secrets.token_hex(8)
        attributes = {
            turn_rows.TURN_ID: rows.text(turn_id),
            turn_rows.BODY_HASH: rows.binary(body_hash),
            turn_rows.MARK: rows.text(mark),
            turn_rows.EXPIRES_MS: rows.number(now_ms + ttl_s * 1000),
            keys.TTL_ATTRIBUTE: turn_rows.ttl(now_ms + ttl_s * 1000),
        }
        try:
            await self._table.update(
                _key(user_id, key),
                f"SET {rows.setting(attributes)} REMOVE #{rows.THREAD_ID}",
                condition=f"{_FREE} OR {_OVER}",
                values={**rows.valued(attributes), ":now": rows.number(now_ms)},
            )
        except ConditionFailedError as fault:
            if fault.old.get(turn_rows.MARK, {}).get("S") == mark:
                return None  # our own write, whose answer was lost
            return turn_rows.claim_of(fault.old, body_hash=body_hash, now_ms=now_ms)
        return None

    async def load(self, user_id: str, key: str) -> GuardLost | None:
        """Who has a key now."""
        row = await self._table.get(_key(user_id, key))
        return None if row is None else turn_rows.claim_of(row, body_hash=None, now_ms=self._now_ms())

    async def bind(self, user_id: str, key: str, turn_id: str, *, thread_id: str, ttl_s: int) -> None:
        """Note the thread under a key that is free or the turn's."""
        expires_ms = self._now_ms() + ttl_s * 1000
        attributes = {
            turn_rows.TURN_ID: rows.text(turn_id),
            rows.THREAD_ID: rows.text(thread_id),
            turn_rows.EXPIRES_MS: rows.number(expires_ms),
            keys.TTL_ATTRIBUTE: turn_rows.ttl(expires_ms),
        }
        try:
            await self._table.update(
                _key(user_id, key),
                f"SET {rows.setting(attributes)}",
                condition=f"{_FREE} OR {_MINE}",
                values=rows.valued(attributes),
            )
        except ConditionFailedError:
            return  # another turn has the key by now

    async def release(self, user_id: str, key: str, turn_id: str) -> None:
        """Empty the row of a key that is the turn's; its TTL takes it away."""
        forgotten = (turn_rows.TURN_ID, turn_rows.BODY_HASH, turn_rows.MARK, turn_rows.EXPIRES_MS, rows.THREAD_ID)
        try:
            await self._table.update(
                _key(user_id, key),
                f"SET #{keys.TTL_ATTRIBUTE} = :ttl REMOVE {', '.join(f'#{name}' for name in forgotten)}",
                condition=_MINE,
                values={":ttl": turn_rows.ttl(self._now_ms()), f":{turn_rows.TURN_ID}": rows.text(turn_id)},
            )
        except ConditionFailedError:
            return  # not ours, or given back before

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000


def _key(user_id: str, key: str) -> Key:
    return keys.user_partition(user_id), keys.request_sort(key)
