"""The followers of a user's turns in DynamoDB: one row with one attribute per follower."""

from lambda_src.context import RequestContext
from lambda_src.store import bounds, followers, keys
from lambda_src.store.bounds import within_budget
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row
from lambda_src.store.dynamodb.turns import turn_rows
from lambda_src.store.dynamodb.turns.base import LedgerPart
from lambda_src.store.followers import EXPIRES_MS, MAX_EXPIRED, Follower

PREFIX = "follower_"


class Followers(LedgerPart):
    """The followers of every user."""

    @within_budget
    async def note_follower(self, follower: Follower, *, context: RequestContext) -> bool:
        """Renew the follower's entry; False if it must leave. One request; a second to remove many expired entries."""
        bounds.writable(context.user.id, follower.turn_id)
        now_ms = self._now_ms()
        key = keys.user_partition(context.user.id), keys.FOLLOWERS
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
