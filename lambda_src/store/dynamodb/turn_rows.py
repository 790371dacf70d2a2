"""Attributes of the rows that turns leave: lease, journal, duplicate guard, quota. Pure; sends nothing.

None of these rows has an `order`, so none is in the index; each has a TTL, which only tidies up: what is over is told
by times in milliseconds that every read looks at.
"""

from lambda_src.store import keys
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row
from lambda_src.store.ports import GuardLost, TurnRow
from lambda_src.store.quota import Spending

TURN_ID = "turn_id"  # S: who has the lease, or the key
EXPIRES_MS = "expires_ms"  # N: until when, in milliseconds since 1970
MARK = "mark"  # S: made by each call for itself; tells our own write after a lost answer
STOP = "stop"  # BOOL: somebody asked the turn to stop
ENDED = "ended"  # BOOL: the turn is over, or somebody folded what it left
LAST_ORDER = "last_order"  # N: arrival of the thread's newest item, in nanoseconds since 1970
BODY_HASH = "body_hash"  # B: of the request that claimed the key
RUNNING = "running"  # N: how many attributes begin with RUN
RUN = "run_"  # N each, the turn's id behind it: when that turn has ended at the latest, in milliseconds since 1970
# Also N: one attribute for each window (quota.windows), which counts its turns

# What a lease says of the one before it. An update cannot branch, so it copies both what decides and what is meant.
BEFORE = {
    "before_turn_id": TURN_ID,
    "before_expires_ms": EXPIRES_MS,
    "before_stop": STOP,
    "before_ended": ENDED,
    "older_turn_id": "before_turn_id",
    "older_ended": "before_ended",
}
BEFORE_FORGOTTEN = ", ".join(f"#{name}" for name in BEFORE)
DEFAULTS = {
    TURN_ID: rows.text(""),
    EXPIRES_MS: rows.number(0),
    STOP: {"BOOL": False},
    ENDED: {"BOOL": False},
    "before_turn_id": rows.text(""),
    "before_ended": {"BOOL": False},
}
"""What is copied from a row that lacks an attribute: the first lease of a thread, or one by an older release."""


def turn_of(row: Row) -> TurnRow | None:
    """The lease that a row stands for; None for no row and for a tombstone."""
    return _turn(row, ("", "before_"))


def turn_before(row: Row) -> TurnRow | None:
    """The lease that the one in `row` was taken from; None when there was none."""
    return _turn(row, ("before_", "older_"))


def _turn(row: Row, prefixes: tuple[str, str]) -> TurnRow | None:
    own, before = prefixes
    turn_id = _text(row, own + TURN_ID)
    if not turn_id:
        return None
    unfolded = None if _flag(row, before + ENDED) else _text(row, before + TURN_ID)
    return TurnRow(
        turn_id=turn_id,
        expires_ms=_number(row, own + EXPIRES_MS),
        stop=_flag(row, own + STOP),
        ended=_flag(row, own + ENDED),
        last_order=_number(row, LAST_ORDER),
        unfolded=unfolded or None,
    )


def claim_of(row: Row, *, body_hash: bytes | None, now_ms: int) -> GuardLost | None:
    """Who has the key of a row now; None when nobody does. A body is the same where one of the two is unknown."""
    if TURN_ID not in row or _number(row, EXPIRES_MS) <= now_ms:
        return None
    held = row.get(BODY_HASH, {}).get("B")
    thread_id = _text(row, rows.THREAD_ID) or None
    return GuardLost(_text(row, TURN_ID), thread_id, same_body=held is None or body_hash in (None, held))


def spending_of(row: Row, *, minute: str, day: str) -> Spending:
    """What a quota row says was spent in these windows."""
    runs = {name.removeprefix(RUN): int(held["N"]) for name, held in row.items() if name.startswith(RUN)}
    return Spending(_number(row, minute), _number(row, day), runs)


def over(partition: str, *, last_order: int, ttl_s: int) -> Row:
    """The lease of a turn that is over: what a thread that changed hands begins with."""
    return {
        keys.PARTITION_KEY: rows.text(partition),
        keys.SORT_KEY: rows.text(keys.TURN),
        keys.TTL_ATTRIBUTE: rows.number(ttl_s),
        TURN_ID: rows.text("handed-over-to-this-user"),
        EXPIRES_MS: rows.number(0),
        STOP: {"BOOL": False},
        ENDED: {"BOOL": True},
        LAST_ORDER: rows.number(last_order),
    }


def ttl(expires_ms: int) -> dict[str, str]:
    """The attribute by which DynamoDB removes a row: whole seconds, rounded up."""
    return rows.number(-(-expires_ms // 1000))


def _text(row: Row, name: str) -> str:
    return str(row.get(name, {}).get("S", ""))


def _number(row: Row, name: str) -> int:
    return int(row.get(name, {}).get("N", "0"))


def _flag(row: Row, name: str) -> bool:
    return bool(row.get(name, {}).get("BOOL", False))
