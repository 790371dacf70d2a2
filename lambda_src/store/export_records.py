"""What an export holds: one JSON object per thread, item, attachment and feedback. Pure; the same for every store.

`value` is the stored JSON, `order` the row's place (docs/stores.md, "Export"). What is stored but is no JSON any more
stands as base64 in `raw`, so that nothing is lost on the way.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Literal

from lambda_src.store.ports import Record

Kind = Literal["thread", "item", "attachment", "feedback"]


def record(kind: Kind, record_id: str, data: bytes, **more: object) -> Record:
    """One line of an export about the stored JSON `data`."""
    try:
        payload: dict[str, Any] = {"value": json.loads(data)}
    except ValueError:
        payload = {"raw": b64encode(data).decode()}
    return {
        "kind": kind,
        "id": record_id,
        **{name: value for name, value in more.items() if value is not None},
        **payload,
    }


def thread_record(thread_id: str, fields: Mapping[str, str], *, order: int) -> Record:
    """The line of a thread, from its fields as JSON texts."""
    value = {name: json.loads(text) for name, text in sorted(fields.items())}
    return {"kind": "thread", "id": thread_id, "order": order, "value": value}


def fields_of(exported: Record) -> dict[str, str]:
    """The fields that `thread_record` was given."""
    return {name: dump(value) for name, value in exported["value"].items()}


def feedback_record(item_id: str, kind: str, *, thread_id: str) -> Record:
    """The line of the feedback on an item."""
    return {"kind": "feedback", "id": item_id, "thread_id": thread_id, "value": kind}


def data_of(exported: Record) -> bytes:
    """The stored JSON that `record` was given."""
    if "raw" in exported:
        return b64decode(exported["raw"])
    return dump(exported["value"]).encode()


def dump(value: object) -> str:
    """JSON as stores write it: one line, nothing escaped that need not be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
