"""Idempotency keys in DynamoDB: which turn has a request's key, one row each in the user's partition.

The row contains the turn that has the key, the thread in which it runs, and what a client asked to stop before the key
was bound to a thread.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambda_src.context import RequestContext
from lambda_src.store import bounds, keys
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Update
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.ports import Bound, IdempotencyConflict

_FREE = f"attribute_not_exists(#{turn_rows.TURN_ID}) OR #{turn_rows.EXPIRES_MS} <= :now"
_REFUSED = f"attribute_exists(#{turn_rows.REFUSAL})"
_OVER = f"(#{turn_rows.TURN_ID} = :instead_of AND attribute_exists(#{rows.THREAD_ID}))"
_UNBOUND = f"attribute_not_exists(#{rows.THREAD_ID})"
_MINE = f"#{turn_rows.TURN_ID} = :{turn_rows.TURN_ID}"


class IdempotencyKeys(LedgerPart):
    """The idempotency keys of every user."""

    @within_budget
    async def claim_request(
        self,
        key: str,
        turn_id: str,
        *,
        body_hash: bytes,
        ttl_s: int,
        instead_of: str | None = None,
        context: RequestContext,
    ) -> IdempotencyConflict | None:
        """Claim the key; if it is not free, return the turn that has it."""
        bounds.writable(context.user.id, key, turn_id)
        now_ms = self._now_ms()
        mark = secrets.token_hex(8)
        attributes = {
            turn_rows.TURN_ID: rows.text(turn_id),
            turn_rows.BODY_HASH: rows.binary(body_hash),
            turn_rows.MARK: rows.text(mark),
            **self._kept_for(ttl_s),
        }
        condition = f"{_FREE} OR {_REFUSED}"
        values = {**rows.valued(attributes), ":now": rows.number(now_ms)}
        if instead_of is not None:
            condition += f" OR {_OVER}"
            values[":instead_of"] = rows.text(instead_of)
        try:
            await self._table.update(
                _key(context.user.id, key),
                f"SET {rows.setting(attributes)} REMOVE {turn_rows.CLAIM_DETAILS}",
                condition=condition,
                values=values,
            )
        except ConditionFailedError as fault:
            if fault.old.get(turn_rows.MARK, {}).get("S") == mark:
                return None  # a retry after a lost response
            return turn_rows.claim_of(fault.old, body_hash=body_hash, now_ms=now_ms)
        return None

    @within_budget
    async def load_request(
        self, key: str, *, body_hash: bytes | None = None, context: RequestContext
    ) -> IdempotencyConflict | None:
        """The turn that has the key now, if any."""
        if not bounds.are_ids(context.user.id, key):
            return None
        row = await self._table.get(_key(context.user.id, key))
        return None if row is None else turn_rows.claim_of(row, body_hash=body_hash, now_ms=self._now_ms())

    @within_budget
    async def bind_request(
        self, key: str, turn_id: str, *, thread_id: str, ttl_s: int, context: RequestContext
    ) -> Bound | None:
        """Record the thread, if the turn has the key."""
        bounds.writable(context.user.id, key, turn_id, thread_id)
        old = await self._set(context.user.id, key, turn_id, self._bound(thread_id, ttl_s))
        return None if old is None else Bound(turn_rows.stop_of(old, now_ms=self._now_ms()))

    def _binding(self, user_id: str, key: str, turn_id: str, *, thread_id: str, ttl_s: int) -> Update:
        """`bind_request` as a write of a transaction. That returns no old row, so a recorded stop makes it fail too."""
        update = _setting(user_id, key, turn_id, self._bound(thread_id, ttl_s))
        return replace(update, condition=f"{_MINE} AND attribute_not_exists(#{turn_rows.STOP_OF})")

    @within_budget
    async def refuse_request(self, key: str, turn_id: str, refusal: str, *, context: RequestContext) -> None:
        """Record why the request was refused, if the turn has the key."""
        bounds.writable(context.user.id, key, turn_id)
        await self._set(context.user.id, key, turn_id, {turn_rows.REFUSAL: rows.text(refusal)})

    @within_budget
    async def end_request(self, key: str, turn_id: str, *, ttl_s: int, context: RequestContext) -> None:
        """Record that the turn lost its lease, if it has the key."""
        bounds.writable(context.user.id, key, turn_id)
        await self._set(context.user.id, key, turn_id, {turn_rows.ENDED: {"BOOL": True}, **self._kept_for(ttl_s)})

    @within_budget
    async def release_request(self, key: str, turn_id: str, *, context: RequestContext) -> None:
        """Empty the row, if the turn has the key; the TTL removes it."""
        if not bounds.are_ids(context.user.id, key, turn_id):
            return
        removed = f" REMOVE {turn_rows.CLAIM_DETAILS}, {turn_rows.CLAIM}"
        await self._set(context.user.id, key, turn_id, {keys.TTL_ATTRIBUTE: turn_rows.ttl(self._now_ms())}, removed)

    @within_budget
    async def stop_request(
        self, key: str, stop_of: str, *, turn_id: str | None, ttl_s: int, context: RequestContext
    ) -> IdempotencyConflict | None:
        """Record what to stop under a key that is not bound to a thread; return the turn that has the key, if any."""
        if not bounds.are_ids(context.user.id, key, stop_of, *([] if turn_id is None else [turn_id])):
            return None
        condition = _UNBOUND if turn_id is None else f"{_UNBOUND} AND {_MINE}"
        now_ms = self._now_ms()
        until_ms = now_ms + ttl_s * 1000
        attributes = {turn_rows.STOP_OF: rows.text(stop_of), turn_rows.STOP_UNTIL_MS: rows.number(until_ms)}
        values = {**rows.valued(attributes), ":ttl": turn_rows.ttl(until_ms)}
        if turn_id is not None:
            values[f":{turn_rows.TURN_ID}"] = rows.text(turn_id)
        ttl = keys.TTL_ATTRIBUTE
        expression = f"SET {rows.setting(attributes)}, #{ttl} = if_not_exists(#{ttl}, :ttl)"
        try:
            row = await self._table.update(_key(context.user.id, key), expression, condition=condition, values=values)
        except ConditionFailedError as fault:
            row = fault.old
        claim = turn_rows.claim_of(row, body_hash=None, now_ms=now_ms)
        return claim if claim is not None and turn_id in (None, claim.turn_id) else None

    async def _set(
        self, user_id: str, key: str, turn_id: str, attributes: Mapping[str, Mapping[str, Any]], removed: str = ""
    ) -> Mapping[str, Any] | None:
        """Set attributes and return the row as it was; None if the turn does not have the key."""
        try:
            return await self._table.apply(_setting(user_id, key, turn_id, attributes, removed))
        except ConditionFailedError:
            return None

    def _bound(self, thread_id: str, ttl_s: int) -> dict[str, Mapping[str, Any]]:
        return {rows.THREAD_ID: rows.text(thread_id), **self._kept_for(ttl_s)}

    def _kept_for(self, ttl_s: int) -> dict[str, Mapping[str, Any]]:
        expires_ms = self._now_ms() + ttl_s * 1000
        return {turn_rows.EXPIRES_MS: rows.number(expires_ms), keys.TTL_ATTRIBUTE: turn_rows.ttl(expires_ms)}


def _setting(
    user_id: str, key: str, turn_id: str, attributes: Mapping[str, Mapping[str, Any]], removed: str = ""
) -> Update:
    """The write that sets attributes, if the turn has the key."""
    return Update(
        _key(user_id, key),
        f"SET {rows.setting(attributes)}{removed}",
        {**rows.valued(attributes), f":{turn_rows.TURN_ID}": rows.text(turn_id)},
        condition=_MINE,
    )


def _key(user_id: str, key: str) -> Key:
    return keys.user_partition(user_id), keys.request_sort(key)
