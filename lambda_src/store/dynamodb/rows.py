"""Attribute names, conditions and accessors of the table's rows. Pure; sends nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambda_src.store import codec, keys
from lambda_src.store.dynamodb.table import Row

PAYLOAD = "payload"  # B: the model's JSON, or its gzip
ENCODING = "encoding"  # S: json | gzip
OBJECT = "object"  # S: key of the object that holds the payload instead
SCHEMA = "schema"  # N: codec.SCHEMA_VERSION of the release that wrote the payload
DIGEST = "digest"  # B: of the JSON; identifies a write whose response was lost
OPEN = "open"  # BOOL: a workflow that the next run may replace
WAS_ORDER = "was_order"  # S: a deleted row's order, so that it remains valid as a cursor for a day
DELETED_AT = "deleted_at"  # N: epoch seconds; only on tombstones and pending sweeps
CLEARED_AT = "cleared_at"  # N: epoch seconds; on a pending sweep of which only the final pass is left
BEGAN_AT = "began_at"  # N: epoch seconds; when the pass over the bucket began
WALKED_TO = "walked_to"  # S: the key of the last object that the pass checked
IS_DONE = "is_done"  # BOOL: the pass is complete
THREAD = "thread"  # S: the thread that an attachment is bound to
SOURCE = "source"  # S: model, `#` and release that wrote an answer; only if the stage counts its usage
FEEDBACK = "feedback"  # S: positive | negative
USER_ID = "user_id"  # S: the owner of the thread of a pending sweep
THREAD_ID = "thread_id"  # S: the thread of a pending sweep
INBOX = "inbox"  # S: the partition of a matter, in the row of its thread that leads to it
MATTER = "matter"  # S: as above, its sort key
FIELD = "field_"  # S: prefix; one field of a thread each, as JSON, so that two writers can change two fields

CURSOR_TTL_S = 86_400  # a day: longer than anyone leaves a list half scrolled

NOT_LISTED = "attribute_not_exists(#order) OR #expires_at <= :now"
NOT_EXPIRED = "attribute_not_exists(#order) OR attribute_not_exists(#expires_at) OR #expires_at > :now"
EXPIRES_BEFORE = "(attribute_not_exists(#expires_at) OR #expires_at < :wanted)"
STILL_OPEN = f"attribute_exists(#order) AND #{OPEN} = :yes"
LISTED = "attribute_exists(#order)"
NOT_DELETED = f"attribute_not_exists(#{DELETED_AT})"
SCHEMA_KNOWN = f"attribute_not_exists(#{SCHEMA}) OR #{SCHEMA} <= :schema_known"


def text(value: str) -> dict[str, Any]:
    """A string attribute."""
    return {"S": value}


def number(value: int) -> dict[str, Any]:
    """A number attribute."""
    return {"N": str(value)}


def binary(value: bytes) -> dict[str, Any]:
    """A bytes attribute."""
    return {"B": value}


def is_alive(row: Row, *, now_s: int) -> bool:
    """Whether a row is listed and has not expired: DynamoDB removes expired rows up to days late."""
    return keys.ORDER_KEY in row and (keys.TTL_ATTRIBUTE not in row or int(row[keys.TTL_ATTRIBUTE]["N"]) > now_s)


def is_expired(row: Row, *, now_s: int) -> bool:
    """Whether the row has expired."""
    return keys.TTL_ATTRIBUTE in row and int(row[keys.TTL_ATTRIBUTE]["N"]) <= now_s


def is_tombstone(row: Row | None) -> bool:
    """Whether the row marks its thread as deleted."""
    return row is not None and DELETED_AT in row


def cursor_of(row: Row | None, *, now_s: int) -> str | None:
    """The order of a row, deleted or not, for a page to continue from; None if it has none or has expired."""
    if row is None or is_expired(row, now_s=now_s):
        return None
    for attribute in (keys.ORDER_KEY, WAS_ORDER):
        if attribute in row:
            return str(row[attribute]["S"])
    return None


def sort_id(row: Row, prefix: str) -> str:
    """The id in a row's sort key."""
    return str(row[keys.SORT_KEY]["S"]).removeprefix(prefix)


def matter_key(row: Row) -> tuple[str, str]:
    """The key of the matter that a row of a thread leads to."""
    return str(row[INBOX]["S"]), str(row[MATTER]["S"])


def arrived_at(row: Row) -> datetime:
    """When an item arrived, from its order; the time of a placeholder."""
    try:
        return datetime.fromtimestamp(keys.arrived_ns(row[keys.ORDER_KEY]["S"]) / 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):  # an order that this store did not write
        return datetime.fromtimestamp(0, UTC)


def setting(values: Mapping[str, Mapping[str, Any]]) -> str:
    """`#name = :name, ...` for an update that sets these attributes."""
    return ", ".join(f"#{name} = :{name}" for name in values)


def valued(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """`:name` -> value, for an update that sets these attributes."""
    return {f":{name}": value for name, value in values.items()}


def thread_fields(row: Row) -> dict[str, str]:
    """The fields of a thread's row, each as JSON."""
    return {name.removeprefix(FIELD): value["S"] for name, value in row.items() if name.startswith(FIELD)}


def schema_known(row: Row) -> bool:
    """Whether this release can read the row's payload."""
    return SCHEMA in row and int(row[SCHEMA]["N"]) <= codec.SCHEMA_VERSION
