"""What a caller may hand to a store: ids, limits, orders. Pure; the same in all stores.

ChatKit's server passes all three through unchecked (docs/stores.md, "Bad input").
"""

from chatkit.store import NotFoundError

MAX_ID_BYTES = 512  # two of them and their prefixes must fit into DynamoDB's 2,048 bytes of partition key
MAX_LIMIT = 100  # rows of a page: 100 items of 40 KB are the 4 MB that still load in one turn
MIN_LIMIT = 1
LONGEST_INVOCATION_S = 900  # the most that this stack lets a turn run: infra/stage/schema.py takes no longer time-out
LATE_WRITES_S = LONGEST_INVOCATION_S  # a turn whose thread was deleted may write that long: its id stays refused
UNBOUND_S = 2 * 24 * 3600  # how long an attachment waits for its message; its bytes in pending/ are gone after a day


def is_id(text: str) -> bool:
    """Whether `text` can be the id of anything kept: 1 to 512 bytes of UTF-8 without NUL."""
    if not text or "\0" in text:
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False


def are_ids(*texts: str) -> bool:
    """Whether each of them can."""
    return all(is_id(text) for text in texts)


def readable(*ids: str) -> None:
    """NotFoundError unless every id can be the id of something: what cannot be kept is missing."""
    for text in ids:
        if not is_id(text):
            raise NotFoundError("There is nothing under this id.")


def writable(*ids: str) -> None:
    """ValueError unless every id can be the id of something."""
    for text in ids:
        if not is_id(text):
            raise ValueError(f"An id must be 1 to {MAX_ID_BYTES} bytes of UTF-8 without NUL.")


def clamped(limit: int) -> int:
    """The rows of a page: `limit`, but at least 1 and at most 100."""
    return max(MIN_LIMIT, min(limit, MAX_LIMIT))


def descending(order: str) -> bool:
    """True for "desc", False for "asc"; ValueError for anything else."""
    if order not in ("asc", "desc"):
        raise ValueError('The order of a page is "asc" or "desc".')
    return order == "desc"


def tolerance_s(retention_s: int, *, in_turn: bool) -> int:
    """How many seconds earlier than its own retention an item may expire, so that a turn prolongs its thread once."""
    return min(LONGEST_INVOCATION_S, retention_s // 100) if in_turn else 0


def attachment_kept_s(retention_s: int, thread_id: str | None) -> int:
    """How many seconds an attachment is kept; 0 is for ever. One that no message has named yet goes soon."""
    if thread_id is not None:
        return retention_s
    return min(retention_s, UNBOUND_S) if retention_s else UNBOUND_S
