"""Limits of every store: ids, page sizes and orders that callers may pass, and how long an operation may take.

ChatKit's server passes ids, limits and orders through unchecked (docs/stores.md, "Bad input").
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from chatkit.store import NotFoundError, StoreItemType

from lambda_src.errors import UnavailableError

MAX_ID_BYTES = 512  # two of them and their prefixes must fit into DynamoDB's 2,048 bytes of partition key
MAX_LIMIT = 100  # rows of a page: 100 items of 40 KB are the 4 MB that still load in one turn
MIN_LIMIT = 1
LONGEST_INVOCATION_S = 900  # the most that this stack lets a turn run: infra/stage/schema.py takes no longer time-out
LATE_WRITES_S = LONGEST_INVOCATION_S  # a turn whose thread was deleted may write that long: its id stays refused
UNBOUND_S = 2 * 24 * 3600  # how long an attachment waits for its message; its bytes in pending/ are gone after a day
OPERATION_BUDGET_S = 4.5  # a user waits at most 5 s longer for a fault; four time-outs of two seconds would take 8
PREFIXES: dict[StoreItemType, str] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
}
_TIME_BITS = 48  # milliseconds: enough until the year 10889, as in UUID version 7
_RANDOM_BYTES = 10  # the other 80 bits

P = ParamSpec("P")
R = TypeVar("R")


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


def within_budget(operation: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`operation`, but UnavailableError after OPERATION_BUDGET_S. A write under way may then still land."""

    @wraps(operation)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(OPERATION_BUDGET_S):
                return await operation(*args, **kwargs)
        except TimeoutError as fault:
            raise UnavailableError(f"The store did not answer within {OPERATION_BUDGET_S} seconds.") from fault

    return bounded


def new_id(item_type: StoreItemType, *, now_ns: int) -> str:
    """`<prefix>_` and 32 hex digits: 48 bits of milliseconds, then 80 random bits.

    Upstream's ids have 32 random bits: an even chance of a collision at 77,000 ids (chatkit/store.py,
    default_generate_id).
    """
    milliseconds = (now_ns // 1_000_000) % (1 << _TIME_BITS)
    return f"{PREFIXES[item_type]}_{milliseconds:012x}{secrets.token_hex(_RANDOM_BYTES)}"
