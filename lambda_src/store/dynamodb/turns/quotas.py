"""A user's quota: one row that counts turns by minute, by day and while they run. Knows no turn's life.

Each window is an attribute with the window's number in its name, each running turn one with its id: so one write can
count in a window that is new as well as in one that is not, and a retry finds what it wrote. An update knows no names
but those it is given; what is over is therefore removed by the next write that has seen the row.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lambda_src.errors import UnavailableError
from lambda_src.store import keys, quota_windows
from lambda_src.store.aws_calls import ConditionFailedError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Key, Row, Table
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.ports import QuotaLimits, QuotaRefused

TTL_MS = 2 * quota_windows.DAY_MS  # past the end of the day that is counted
TRIES = 8  # each lost race means that another turn got through or cleared up; then the limit itself says no
LITTER_MAX = 40  # attributes of the past: about 1 KB, which is what one write unit holds
REMOVED_MAX = 60  # attributes removed by one write, whose expressions may have 4 KB


@dataclass(frozen=True, slots=True)
class _Litter:
    """What a row still has that is over: turns that crashed, and windows."""

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
        """Conditions under which this many turns are taken off the running ones, and no other writer does the same."""
        return [f"attribute_exists(#dead_{number})" for number in range(len(self.dead))]


class Quotas:
    """The quotas of every user. `clock` in nanoseconds since 1970."""

    def __init__(self, table: Table, *, clock: Callable[[], int]) -> None:
        self._table = table
        self._clock = clock

    async def spend(
        self, user_id: str, turn_id: str, limits: QuotaLimits, *, deadline_ms: int | None
    ) -> QuotaRefused | None:
        """Count a turn, or say which limit it would pass.

        One request; one more when crashed turns stand in the way, and once in some forty turns to clear up.
        """
        now_ms = self._now_ms()
        minute, day = quota_windows.windows(now_ms)
        litter = _Litter()
        for _ in range(TRIES):
            try:
                old = await self._count(user_id, turn_id, limits, litter, now_ms=now_ms, deadline_ms=deadline_ms)
            except ConditionFailedError as fault:
                spent = turn_rows.spending_of(fault.old, minute=minute, day=day)
                if turn_id in spent.runs:
                    return None  # our own write, whose answer was lost
                refused = quota_windows.refusal(spent, limits, now_ms=now_ms)
                if refused is not None:
                    return refused
                litter = _litter(fault.old, now_ms=now_ms)
                continue
            if len(litter.names()) == 0:
                await self._sweep(user_id, _litter(old, now_ms=now_ms))
            return None
        raise UnavailableError("Too many requests of this user at once.")

    async def end(self, user_id: str, turn_id: str) -> None:
        """The turn no longer runs."""
        try:
            await self._table.update(
                _key(user_id),
                f"SET #{turn_rows.RUNNING} = #{turn_rows.RUNNING} - :one REMOVE #run",
                condition="attribute_exists(#run)",
                values={":one": rows.number(1)},
                names={"run": turn_rows.RUN + turn_id},
            )
        except ConditionFailedError:
            return

    async def _count(
        self,
        user_id: str,
        turn_id: str,
        limits: QuotaLimits,
        litter: _Litter,
        *,
        now_ms: int,
        deadline_ms: int | None,
    ) -> Row:
        minute, day = quota_windows.windows(now_ms)
        values = {
            ":zero": rows.number(0),
            ":one": rows.number(1),
            ":change": rows.number(1 - len(litter.dead)),
            ":expires_ms": rows.number(quota_windows.run_expires_ms(now_ms=now_ms, deadline_ms=deadline_ms)),
            ":ttl": turn_rows.ttl(now_ms + TTL_MS),
        }
        conditions = ["attribute_not_exists(#run)", *litter.still_there()]
        for name, limit in (
            ("minute", limits.per_minute),
            ("day", limits.per_day),
            (turn_rows.RUNNING, limits.running and limits.running + len(litter.dead)),
        ):
            if limit:
                conditions.append(f"(attribute_not_exists(#{name}) OR #{name} < :{name})")
                values[f":{name}"] = rows.number(limit)
        remove = f" REMOVE {litter.removed()}" if litter.names() else ""
        return await self._table.update(
            _key(user_id),
            f"SET #minute = if_not_exists(#minute, :zero) + :one, #day = if_not_exists(#day, :zero) + :one, "
            f"#{turn_rows.RUNNING} = if_not_exists(#{turn_rows.RUNNING}, :zero) + :change, #run = :expires_ms, "
            f"#{keys.TTL_ATTRIBUTE} = :ttl{remove}",
            condition=" AND ".join(conditions),
            values=values,
            names={"minute": minute, "day": day, "run": turn_rows.RUN + turn_id, **litter.names()},
        )

    async def _sweep(self, user_id: str, litter: _Litter) -> None:
        """Remove what is over, once there is much of it. The turn is counted by now, so a fault stays quiet here."""
        if len(litter.names()) < LITTER_MAX:
            return
        with suppress(ConditionFailedError, UnavailableError):
            await self._table.update(
                _key(user_id),
                f"SET #{turn_rows.RUNNING} = #{turn_rows.RUNNING} - :dead REMOVE {litter.removed()}",
                condition=" AND ".join(litter.still_there() or ["attribute_exists(#pk)"]),
                values={":dead": rows.number(len(litter.dead))},
                names=litter.names(),
            )

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000


def _litter(row: Row, *, now_ms: int) -> _Litter:
    """As much as one write may remove, crashed turns first."""
    minute, day = quota_windows.windows(now_ms)
    dead = turn_rows.spending_of(row, minute=minute, day=day).dead(now_ms=now_ms)[:REMOVED_MAX]
    past = [name for name in row if quota_windows.is_past(name, now_ms=now_ms)]
    return _Litter(dead, past[: REMOVED_MAX - len(dead)])


def _key(user_id: str) -> Key:
    return keys.user_partition(user_id), keys.QUOTA
