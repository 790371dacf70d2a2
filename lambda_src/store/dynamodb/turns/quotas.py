"""Turn quotas in DynamoDB: one row per user that counts turns by minute, by day and while they run.

Each window is an attribute with the window's number in its name, and each running turn an attribute with its id. So one
write can count in a new window or an existing one, and a retry can detect its own write. An update can only remove
attributes that it names, so expired ones are removed by the next write that has seen the row.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lambda_src.context import RequestContext
from lambda_src.errors import UnavailableError
from lambda_src.store import bounds, keys, quota_windows
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Row
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.ports import QuotaLimits, QuotaRefused

TTL_MS = 2 * quota_windows.DAY_MS  # lasts past the end of the counted day
TRIES = 8  # each lost race means that another turn was counted or cleaned up; soon the limit itself refuses
MAX_EXPIRED = 40  # expired attributes: about 1 KB, which is what one write unit covers
MAX_REMOVED = 60  # attributes that one write removes: an expression is limited to 4 KB


@dataclass(frozen=True, slots=True)
class _Expired:
    """Expired attributes of a row: turns that crashed, and past windows."""

    dead: Sequence[str] = ()
    windows: Sequence[str] = ()

    def names(self) -> dict[str, str]:
        """Placeholder -> attribute."""
        dead = {f"dead_{number}": turn_rows.RUN + turn_id for number, turn_id in enumerate(self.dead)}
        return dead | {f"past_{number}": name for number, name in enumerate(self.windows)}

    def removed(self) -> str:
        """`#name, ...` for REMOVE."""
        return ", ".join(f"#{placeholder}" for placeholder in self.names())

    def still_there(self) -> list[str]:
        """Conditions that let only one writer subtract these crashed turns from the number of running ones."""
        return [f"attribute_exists(#dead_{number})" for number in range(len(self.dead))]


class Quotas(LedgerPart):
    """The quotas of every user."""

    @within_budget
    async def spend_quota(self, turn_id: str, limits: QuotaLimits, *, context: RequestContext) -> QuotaRefused | None:
        """Count a turn, or return the limit that it would exceed.

        One request; a second one if crashed turns take up the limit, and about every forty turns to clean up.
        """
        user_id, deadline_ms = context.user.id, context.deadline_ms
        bounds.writable(user_id, turn_id)
        now_ms = self._now_ms()
        minute, day = quota_windows.windows(now_ms)
        expired = _Expired()
        for _ in range(TRIES):
            try:
                old = await self._add_turn(user_id, turn_id, limits, expired, now_ms=now_ms, deadline_ms=deadline_ms)
            except ConditionFailedError as fault:
                spent = turn_rows.spending_of(fault.old, minute=minute, day=day)
                if turn_id in spent.runs:
                    return None  # a retry after a lost response
                refused = quota_windows.refusal(spent, limits, now_ms=now_ms)
                if refused is not None:
                    return refused
                expired = _expired(fault.old, now_ms=now_ms)
                continue
            if len(expired.names()) == 0:
                await self._sweep(user_id, _expired(old, now_ms=now_ms))
            return None
        raise UnavailableError("This user is sending too many requests at once.")

    @within_budget
    async def end_quota(self, turn_id: str, *, context: RequestContext) -> None:
        """Stop counting the turn as running."""
        if not bounds.are_ids(context.user.id, turn_id):
            return
        try:
            await self._table.update(
                _key(context.user.id),
                f"SET #{turn_rows.RUNNING} = #{turn_rows.RUNNING} - :one REMOVE #run",
                condition="attribute_exists(#run)",
                values={":one": rows.number(1)},
                names={"run": turn_rows.RUN + turn_id},
            )
        except ConditionFailedError:
            return

    async def _add_turn(
        self,
        user_id: str,
        turn_id: str,
        limits: QuotaLimits,
        expired: _Expired,
        *,
        now_ms: int,
        deadline_ms: int | None,
    ) -> Row:
        minute, day = quota_windows.windows(now_ms)
        values = {
            ":zero": rows.number(0),
            ":one": rows.number(1),
            ":change": rows.number(1 - len(expired.dead)),
            ":expires_ms": rows.number(quota_windows.run_expires_ms(now_ms=now_ms, deadline_ms=deadline_ms)),
            ":ttl": turn_rows.ttl(now_ms + TTL_MS),
        }
        conditions = ["attribute_not_exists(#run)", *expired.still_there()]
        for name, limit in (
            ("minute", limits.per_minute),
            ("day", limits.per_day),
            (turn_rows.RUNNING, limits.running and limits.running + len(expired.dead)),
        ):
            if limit:
                conditions.append(f"(attribute_not_exists(#{name}) OR #{name} < :{name})")
                values[f":{name}"] = rows.number(limit)
        remove = f" REMOVE {expired.removed()}" if expired.names() else ""
        return await self._table.update(
            _key(user_id),
            f"SET #minute = if_not_exists(#minute, :zero) + :one, #day = if_not_exists(#day, :zero) + :one, "
            f"#{turn_rows.RUNNING} = if_not_exists(#{turn_rows.RUNNING}, :zero) + :change, #run = :expires_ms, "
            f"#{keys.TTL_ATTRIBUTE} = :ttl{remove}",
            condition=" AND ".join(conditions),
            values=values,
            names={"minute": minute, "day": day, "run": turn_rows.RUN + turn_id, **expired.names()},
        )

    async def _sweep(self, user_id: str, expired: _Expired) -> None:
        """Remove expired attributes once there are many. Errors are ignored: the turn itself is already counted."""
        if len(expired.names()) < MAX_EXPIRED:
            return
        with suppress(ConditionFailedError, UnavailableError):
            await self._table.update(
                _key(user_id),
                f"SET #{turn_rows.RUNNING} = #{turn_rows.RUNNING} - :dead REMOVE {expired.removed()}",
                condition=" AND ".join(expired.still_there() or ["attribute_exists(#pk)"]),
                values={":dead": rows.number(len(expired.dead))},
                names=expired.names(),
            )


def _expired(row: Row, *, now_ms: int) -> _Expired:
    """As many expired attributes as one write may remove, crashed turns first."""
    minute, day = quota_windows.windows(now_ms)
    dead = turn_rows.spending_of(row, minute=minute, day=day).dead(now_ms=now_ms)[:MAX_REMOVED]
    past = [name for name in row if quota_windows.is_past(name, now_ms=now_ms)]
    return _Expired(dead, past[: MAX_REMOVED - len(dead)])


def _key(user_id: str) -> Key:
    return keys.user_partition(user_id), keys.QUOTA
