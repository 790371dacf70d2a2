"""Attributes of the rows that belong to turns: lease, journal, idempotency key, quota. Pure; sends nothing.

None of these rows has an `order`, so none is in the index. Each has a TTL, but only for cleanup: every read checks the
expiry times in milliseconds.
"""

from lambda_src.store import keys
from lambda_src.store.clock import WINDOW_NS
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.table import Row
from lambda_src.store.ports import Hold, IdempotencyConflict, TurnRow
from lambda_src.store.quota_windows import Spending

TURN_ID = "turn_id"  # S: the turn that has the lease, or the key
EXPIRES_MS = "expires_ms"  # N: milliseconds since 1970
MARK = "mark"  # S: random, new for each call; identifies a write whose response was lost
STOP = "stop"  # BOOL: a client asked the turn to stop
ENDED = "ended"  # BOOL: the turn has ended, or was recovered after a crash; under a key: it lost its lease
REFUSAL = "refusal"  # S: why the request that claimed the key was refused
STOP_OF = "stop_of"  # S: the turn, or the name, that a client asked to stop before the key was bound to a thread
STOP_UNTIL_MS = "stop_until_ms"  # N: until when that request is valid, in milliseconds since 1970
LAST_ORDER = "last_order"  # N: nanoseconds since 1970; stored by the last renewal, plus LEASE_ORDER per lease since
FIRST_ORDER = "first_order"  # N: the start of the turn's window when it took the lease, as far as its process knew
BODY_HASH = "body_hash"  # B: of the request that claimed the key
HELD_BY = "held_by"  # S: the operator who has the thread, "" while it waits for one; absent otherwise
HELD_MS = "held_ms"  # N: since when, in milliseconds since 1970
HELD_UNTIL_MS = "held_until_ms"  # N: when the role of that operator expires; 0 or absent if that is not known
MATTER = "matter"  # S: the id of the handoff in the operators' inbox
RUNNING = "running"  # N: how many attributes begin with RUN
RUN = "run_"  # N: prefix, followed by a turn's id: by when that turn has ended, in milliseconds since 1970
# Also N: one attribute for each window (quota_windows.windows), which counts its turns

CLAIM = ", ".join(f"#{name}" for name in (TURN_ID, BODY_HASH, MARK, EXPIRES_MS))
CLAIM_DETAILS = ", ".join(f"#{name}" for name in (rows.THREAD_ID, REFUSAL, ENDED))
"""Attributes of the previous claim that a new claim removes."""

# Attributes in which a lease keeps a copy of the previous one.
BEFORE = {
    "before_turn_id": TURN_ID,
    "before_expires_ms": EXPIRES_MS,
    "before_stop": STOP,
    "before_ended": ENDED,
    "before_first_order": FIRST_ORDER,
}
BEFORE_ATTRIBUTES = ", ".join(f"#{name}" for name in BEFORE)
DEFAULTS = {
    TURN_ID: rows.text(""),
    EXPIRES_MS: rows.number(0),
    STOP: {"BOOL": False},
    ENDED: {"BOOL": False},
    FIRST_ORDER: rows.number(0),
    LAST_ORDER: rows.number(0),
}
"""Values to copy from a row that lacks an attribute: a thread's first lease, or a lease of an older release."""

LEASE_ORDER = 2 * WINDOW_NS  # each lease adds this to LAST_ORDER, so that it is past the start of the next window

UNENDED = "unended"  # L: only the turn's id, until it ends; the next lease appends it to UNRECOVERED
UNRECOVERED = "unfolded"  # L of S: the turns whose journals are still to be recovered, oldest first
EMPTY_LIST: dict[str, list[dict[str, str]]] = {"L": []}
HOLD = (HELD_BY, HELD_MS, HELD_UNTIL_MS, MATTER)
NOT_HELD = f"attribute_not_exists(#{HELD_BY})"


def turn_of(row: Row) -> TurnRow | None:
    """The lease in a row; None for an empty row and for a tombstone."""
    unrecovered = tuple(value["S"] for value in row.get(UNRECOVERED, EMPTY_LIST)["L"])
    return _turn(row, "", last_order_of(row), unrecovered, hold=hold_of(row))


def last_order_of(row: Row) -> int:
    """The latest time that the turns of a lease have stored: their items are ordered within WINDOW_NS after it."""
    return max(_number(row, LAST_ORDER), _number(row, FIRST_ORDER))


def hold_of(row: Row) -> Hold | None:
    """Who has the thread of a lease, or that it waits for a person; None if the assistant has it."""
    if HELD_BY not in row:
        return None
    return Hold(_text(row, HELD_BY), _number(row, HELD_MS), _text(row, MATTER), _number(row, HELD_UNTIL_MS))


def turn_before(row: Row) -> TurnRow | None:
    """The lease before the one in `row`; None if there was none."""
    unrecovered = tuple(value["S"] for value in row.get(UNRECOVERED, EMPTY_LIST)["L"])
    last_order = max(_number(row, LAST_ORDER) - LEASE_ORDER, _number(row, "before_first_order"))
    return _turn(row, "before_", last_order, () if _flag(row, "before_ended") else unrecovered[:-1])


def _turn(
    row: Row, own: str, last_order: int, unrecovered: tuple[str, ...], *, hold: Hold | None = None
) -> TurnRow | None:
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
        hold=hold,
    )


def claim_of(row: Row, *, body_hash: bytes | None, now_ms: int) -> IdempotencyConflict | None:
    """The turn that has the key of a row now, if any. `same_body` is True if either hash is unknown."""
    if TURN_ID not in row or _number(row, EXPIRES_MS) <= now_ms:
        return None
    value = row.get(BODY_HASH, {}).get("B")
    thread_id = _text(row, rows.THREAD_ID) or None
    return IdempotencyConflict(
        _text(row, TURN_ID),
        thread_id,
        same_body=value is None or body_hash in (None, value),
        refusal=_text(row, REFUSAL) or None,
        ended=_flag(row, ENDED),
    )


def stop_of(row: Row, *, now_ms: int) -> str | None:
    """What a client asked to stop under a key, if that request is still valid."""
    return _text(row, STOP_OF) if _number(row, STOP_UNTIL_MS) > now_ms else None


def spending_of(row: Row, *, minute: str, day: str) -> Spending:
    """The turns that a quota row counts in these windows."""
    runs = {name.removeprefix(RUN): int(value["N"]) for name, value in row.items() if name.startswith(RUN)}
    return Spending(_number(row, minute), _number(row, day), runs)


def over(partition: str, *, last_order: int, ttl_s: int, before: Row) -> Row:
    """The lease of an ended turn, with which a thread starts after it is handed over. Keeps the hold of the row
    `before`, and then has no TTL.
    """
    hold = {name: before[name] for name in HOLD if name in before}
    return {
        keys.PARTITION_KEY: rows.text(partition),
        keys.SORT_KEY: rows.text(keys.TURN),
        **({} if hold else {keys.TTL_ATTRIBUTE: rows.number(ttl_s)}),
        TURN_ID: rows.text("handed-over-to-this-user"),
        EXPIRES_MS: rows.number(0),
        STOP: {"BOOL": False},
        ENDED: {"BOOL": True},
        LAST_ORDER: rows.number(last_order),
        **hold,
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
