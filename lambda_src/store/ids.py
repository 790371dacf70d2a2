"""Ids that do not collide: 128 bits, time-ordered, under upstream's prefixes. Knows no store.

Upstream's have 32 random bits: an even chance of a collision at 77,000 ids (chatkit/store.py, default_generate_id).
"""

import secrets

from chatkit.store import StoreItemType

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


def new_id(item_type: StoreItemType, *, now_ns: int) -> str:
    """`<prefix>_` and 32 hex digits: 48 bits of milliseconds, then 80 random bits."""
    milliseconds = (now_ns // 1_000_000) % (1 << _TIME_BITS)
    return f"{PREFIXES[item_type]}_{milliseconds:012x}{secrets.token_hex(_RANDOM_BYTES)}"
