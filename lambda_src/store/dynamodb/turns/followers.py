"""The followers of a user's turns in DynamoDB: one row with one attribute per follower."""

from collections.abc import Callable

from lambda_src.store import followers, keys
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row, Table
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.followers import EXPIRES_MS, MAX_EXPIRED, Follower

PREFIX = "follower_"


class Followers:
    """The followers of every user. `clock` in nanoseconds since 1970."""

    def __init__(self, table: Table, *, clock: Callable[[], int]) -> None:
        self._table, self._clock = table, clock

    async def note(self, user_id: str, follower: Follower) -> bool:
        """Renew the follower's entry; False if it must leave. One request; a second to remove many expired entries."""
        now_ms = self._clock() // 1_000_000
        key = keys.user_partition(user_id), keys.FOLLOWERS
        until_ms = now_ms + EXPIRES_MS
        old = await self._table.update(
            key,
            f"SET #own = :until, #{keys.TTL_ATTRIBUTE} = :ttl",
            values={":until": rows.number(until_ms), ":ttl": turn_rows.ttl(until_ms)},
            names={"own": PREFIX + follower.entry},
        )
        entries = _entries(old)
        if len(expired := list(followers.expired(entries, now_ms=now_ms))) >= MAX_EXPIRED:
            names = {f"past_{number}": PREFIX + name for number, name in enumerate(expired[:MAX_EXPIRED])}
            removed = ", ".join(f"#{placeholder}" for placeholder in names)
            await self._table.update(key, f"REMOVE {removed}", condition="", values={}, names=names)
        return followers.may_stay(follower, entries, now_ms=now_ms)


def _entries(row: Row) -> dict[str, int]:
    return {name.removeprefix(PREFIX): int(value["N"]) for name, value in row.items() if name.startswith(PREFIX)}
