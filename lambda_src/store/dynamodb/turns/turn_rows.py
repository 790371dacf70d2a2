"""Attributes of the rows that turns leave: lease, journal, duplicate guard, quota. Pure; sends nothing.

None of these rows has an `order`, so none is in the index; each has a TTL, which only tidies up: what is over is told
by times in milliseconds that every read looks at.
"""

from lambda_src.store import keys
from lambda_src.store.clock import ROOM_NS
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row
from lambda_src.store.ports import IdempotencyConflict, TurnRow
from lambda_src.store.quota_windows import Spending

TURN_ID = "turn_id"  # S: who has the lease, or the key
EXPIRES_MS = "expires_ms"  # N: until when, in milliseconds since 1970
MARK = "mark"  # S: made by each call for itself; tells our own write after a lost answer
STOP = "stop"  # BOOL: somebody asked the turn to stop
ENDED = "ended"  # BOOL: the turn is over, or somebody folded what it left; under a key: it lost its lease
REFUSAL = "refusal"  # S: why the request that claimed the key was refused
STOP_OF = "stop_of"  # S: the turn, or the name, that was to be stopped before the key was bound to a thread
STOP_UNTIL_MS = "stop_until_ms"  # N: how long that is meant
LAST_ORDER = "last_order"  # N: nanoseconds since 1970; handed over by the last renewal, and a bit for each lease since
FIRST_ORDER = "first_order"  # N: where the turn that took the lease began, as far as its process knew
BODY_HASH = "body_hash"  # B: of the request that claimed the key
RUNNING = "running"  # N: how many attributes begin with RUN
RUN = "run_"  # N each, the turn's id behind it: when that turn has ended at the latest, in milliseconds since 1970
# Also N: one attribute for each window (quota.windows), which counts its turns

CLAIM = ", ".join(f"#{name}" for name in (TURN_ID, BODY_HASH, MARK, EXPIRES_MS))
CLAIM_FORGOTTEN = ", ".join(f"#{name}" for name in (rows.THREAD_ID, REFUSAL, ENDED))
"""What a new claim takes from the one before it."""

# What a lease says of the one before it.
BEFORE = {
    "before_turn_id": TURN_ID,
    "before_expires_ms": EXPIRES_MS,
    "before_stop": STOP,
    "before_ended": ENDED,
    "before_first_order": FIRST_ORDER,
}
BEFORE_FORGOTTEN = ", ".join(f"#{name}" for name in BEFORE)
DEFAULTS = {
    TURN_ID: rows.text(""),
    EXPIRES_MS: rows.number(0),
    STOP: {"BOOL": False},
    ENDED: {"BOOL": False},
    FIRST_ORDER: rows.number(0),
    LAST_ORDER: rows.number(0),
}
"""What is copied from a row that lacks an attribute: the first lease of a thread, or one by an older release."""

LEASE_ORDER = 2 * ROOM_NS  # what each lease adds to LAST_ORDER: more than where the next one begins

UNENDED = "unended"  # L: the turn's id alone, until it has ended: what whoever takes its lease puts behind UNRECOVERED
UNRECOVERED = "unfolded"  # L of S: the turns whose journals are still to be recovered, oldest first
NONE_LEFT: dict[str, list[dict[str, str]]] = {"L": []}


def turn_of(row: Row) -> TurnRow | None:
    """The lease that a row stands for; None for no row and for a tombstone."""
    last_order = max(_number(row, LAST_ORDER), _number(row, FIRST_ORDER))
    return _turn(row, "", last_order, tuple(held["S"] for held in row.get(UNRECOVERED, NONE_LEFT)["L"]))


def turn_before(row: Row) -> TurnRow | None:
    """The lease that the one in `row` was taken from; None when there was none."""
    unrecovered = tuple(held["S"] for held in row.get(UNRECOVERED, NONE_LEFT)["L"])
    last_order = max(_number(row, LAST_ORDER) - LEASE_ORDER, _number(row, "before_first_order"))
    return _turn(row, "before_", last_order, () if _flag(row, "before_ended") else unrecovered[:-1])


def _turn(row: Row, own: str, last_order: int, unrecovered: tuple[str, ...]) -> TurnRow | None:
    turn_id = _text(row, own + TURN_ID)
    if not turn_id:
        return None
    return TurnRow(
        turn_id=turn_id,
        expires_ms=_number(row, own + EXPIRES_MS),
        stop=_flag(row, own + STOP),
        ended=_flag(row, own + ENDED),
        last_order=last_order,
        unrecovered=unrecovered,
    )


def claim_of(row: Row, *, body_hash: bytes | None, now_ms: int) -> IdempotencyConflict | None:
    """Who has the key of a row now; None when nobody does. A body is the same where one of the two is unknown."""
    if TURN_ID not in row or _number(row, EXPIRES_MS) <= now_ms:
        return None
    held = row.get(BODY_HASH, {}).get("B")
    thread_id = _text(row, rows.THREAD_ID) or None
    return IdempotencyConflict(
        _text(row, TURN_ID),
        thread_id,
        same_body=held is None or body_hash in (None, held),
        refusal=_text(row, REFUSAL) or None,
        ended=_flag(row, ENDED),
    )


def stop_of(row: Row, *, now_ms: int) -> str | None:
    """What somebody named to stop under a key, if that is still meant."""
    return _text(row, STOP_OF) if _number(row, STOP_UNTIL_MS) > now_ms else None


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
