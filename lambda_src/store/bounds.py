"""Limits that every store enforces: valid ids, page sizes and orders, and the time budget of an operation.

ChatKit's server passes ids, limits and orders through unchecked (docs/reference/stores.md, "Limits and invalid input").
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from chatkit.store import NotFoundError, StoreItemType

from lambda_src.errors import UnavailableError
from lambda_src.languages import Sentence

MAX_ID_BYTES = 512  # two ids and their prefixes must fit in DynamoDB's 2,048 bytes of partition key
MAX_LIMIT = 100  # rows per page: 100 items of 40 KB are 4 MB, which still load in one turn
MIN_LIMIT = 1
LONGEST_INVOCATION_S = 900  # Lambda's maximum; infra/stage/schema.py accepts no longer timeout
LATE_WRITES_S = LONGEST_INVOCATION_S  # how long a turn may still write to a deleted thread, whose id stays refused
UNBOUND_S = 2 * 24 * 3600  # how long an attachment waits for its message; its bytes in pending/ are deleted after a day
OPERATION_BUDGET_S = 4.5  # errors reach the user within 5 s; four timeouts of two seconds would take 8
PREFIXES: dict[StoreItemType, str] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
}
_TIME_BITS = 48  # milliseconds: lasts until the year 10889, as in UUID version 7
_RANDOM_BYTES = 10  # the other 80 bits

P = ParamSpec("P")
R = TypeVar("R")


def is_id(text: str) -> bool:
    """Whether `text` is a valid id: 1 to 512 bytes of UTF-8 without NUL."""
    if not text or "\0" in text:
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False


def are_ids(*texts: str) -> bool:
    """Whether all are valid ids."""
    return all(is_id(text) for text in texts)


def readable(*ids: str) -> None:
    """NotFoundError unless every id is valid: nothing can be stored under an invalid one."""
    for text in ids:
        if not is_id(text):
            raise NotFoundError("Nothing has this id.")


def writable(*ids: str) -> None:
    """ValueError unless every id is valid."""
    for text in ids:
        if not is_id(text):
            raise ValueError(f"An id must be 1 to {MAX_ID_BYTES} bytes of UTF-8 without NUL.")


def clamped(limit: int) -> int:
    """`limit`, but at least 1 and at most 100."""
    return max(MIN_LIMIT, min(limit, MAX_LIMIT))


def descending(order: str) -> bool:
    """True for "desc", False for "asc"; ValueError for anything else."""
    if order not in ("asc", "desc"):
        raise ValueError('The order of a page must be "asc" or "desc".')
    return order == "desc"


def tolerance_s(retention_s: int, *, in_turn: bool) -> int:
    """How many seconds too early an item may expire, so that a turn extends its thread's expiry only once."""
    return min(LONGEST_INVOCATION_S, retention_s // 100) if in_turn else 0


def attachment_kept_s(retention_s: int, thread_id: str | None) -> int:
    """How many seconds an attachment is kept; 0 = forever. One that belongs to no message yet is kept briefly."""
    if thread_id is not None:
        return retention_s
    return min(retention_s, UNBOUND_S) if retention_s else UNBOUND_S


def within_budget(operation: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Decorator: UnavailableError after OPERATION_BUDGET_S. A write that is in flight by then may still succeed."""

    @wraps(operation)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(OPERATION_BUDGET_S):
                return await operation(*args, **kwargs)
        except TimeoutError as fault:
            raise UnavailableError(
                Sentence("The store did not respond within {seconds} seconds.", seconds=OPERATION_BUDGET_S)
            ) from fault

    return bounded


def new_id(item_type: StoreItemType, *, now_ns: int) -> str:
    """`<prefix>_` and 32 hex digits: 48 bits of milliseconds, then 80 random bits.

    Upstream's ids have only 32 random bits: a 50 % chance of a collision at 77,000 ids (chatkit/store.py,
    default_generate_id).
    """
    milliseconds = (now_ns // 1_000_000) % (1 << _TIME_BITS)
    return f"{PREFIXES[item_type]}_{milliseconds:012x}{secrets.token_hex(_RANDOM_BYTES)}"
