"""Export and import of a user's data, the same for every store.

Each store implements `UserRows`, the few reads and writes that differ between stores. An export has one JSON object
per thread, item, attachment and feedback: `value` is the stored JSON, `order` the row's position
(docs/reference/commands.md, "Exports"). Stored bytes that are not valid JSON are exported as base64 in `raw`.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lambda_src.errors import ConflictError
from lambda_src.store import bounds, codec
from lambda_src.store.ports import Record


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread: its fields, each as JSON, and its position."""

    id: str
    fields: Mapping[str, str]
    order: int


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item: its stored JSON and its position."""

    id: str
    data: bytes
    order: int


@dataclass(frozen=True, slots=True)
class AttachmentRecord:
    """An attachment: its stored JSON, and the thread of its message, if any."""

    id: str
    data: bytes
    thread_id: str | None


class UserRows(Protocol):
    """The rows of users. Reads skip deleted and expired rows; the `add_` methods overwrite them."""

    def threads(self, user_id: str) -> AsyncIterator[ThreadRecord]:
        """The user's threads by creation."""
        ...

    def items(self, user_id: str, thread_id: str) -> AsyncIterator[ItemRecord]:
        """A thread's items by arrival."""
        ...

    def feedback(self, user_id: str, thread_id: str) -> AsyncIterator[tuple[str, str]]:
        """(item, kind of feedback) of a thread, by item."""
        ...

    def attachments(self, user_id: str) -> AsyncIterator[AttachmentRecord]:
        """The user's attachments by id."""
        ...

    async def add_thread(self, user_id: str, thread: ThreadRecord) -> Mapping[str, str] | None:
        """Create the thread without items. Returns the fields of an existing thread with its id, else None."""
        ...

    async def add_item(self, user_id: str, thread_id: str, item: ItemRecord) -> bytes | None:
        """Create the item. Returns the codec.digest of an existing item with its id, else None."""
        ...

    async def add_attachment(self, user_id: str, attachment: AttachmentRecord) -> bytes | None:
        """Create the attachment. Returns the codec.digest of an existing attachment with its id, else None."""
        ...

    async def set_feedback(self, user_id: str, thread_id: str, item_id: str, kind: str) -> str | None:
        """Write the feedback on an item, and return the previous one."""
        ...


async def export(rows: UserRows, user_id: str) -> AsyncIterator[Record]:
    """All records: threads by creation, each followed by its items by arrival and its feedback; attachments last."""
    async for thread in rows.threads(user_id):
        yield thread_record(thread.id, thread.fields, order=thread.order)
        async for item in rows.items(user_id, thread.id):
            yield json_record("item", item.id, item.data, thread_id=thread.id, order=item.order)
        async for item_id, kind in rows.feedback(user_id, thread.id):
            yield feedback_record(item_id, kind, thread_id=thread.id)
    async for attachment in rows.attachments(user_id):
        yield json_record("attachment", attachment.id, attachment.data, thread_id=attachment.thread_id)


async def restore(rows: UserRows, record: Record, user_id: str) -> bool:
    """ports.UserData.import_record."""
    record_id, thread_id = record["id"], record.get("thread_id")
    bounds.writable(user_id, record_id, *([] if thread_id is None else [thread_id]))
    existing: object
    wanted: object
    match record["kind"]:
        case "thread":
            wanted = fields_of(record)
            existing = await rows.add_thread(user_id, ThreadRecord(record_id, wanted, record["order"]))
        case "item":
            data = data_of(record)
            wanted = codec.digest(data)
            existing = await rows.add_item(user_id, record["thread_id"], ItemRecord(record_id, data, record["order"]))
        case "attachment":
            data = data_of(record)
            wanted = codec.digest(data)
            existing = await rows.add_attachment(user_id, AttachmentRecord(record_id, data, thread_id))
        case "feedback":
            before = await rows.set_feedback(user_id, record["thread_id"], record_id, record["value"])
            return before != str(record["value"])
        case kind:
            raise ValueError(f"A record has an unknown kind: {kind}.")
    if existing is not None and existing != wanted:
        raise ConflictError(f"Another {record['kind']} has the id {record_id}.")
    return existing is None


Kind = Literal["thread", "item", "attachment", "feedback"]


def json_record(kind: Kind, record_id: str, data: bytes, **more: object) -> Record:
    """The record of an item or attachment, given its stored JSON."""
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
    """The record of a thread, given its fields, each as JSON."""
    value = {name: json.loads(text) for name, text in sorted(fields.items())}
    return {"kind": "thread", "id": thread_id, "order": order, "value": value}


def fields_of(exported: Record) -> dict[str, str]:
    """The fields that were passed to `thread_record`."""
    return {name: dump(value) for name, value in exported["value"].items()}


def feedback_record(item_id: str, kind: str, *, thread_id: str) -> Record:
    """The record of the feedback on an item."""
    return {"kind": "feedback", "id": item_id, "thread_id": thread_id, "value": kind}


def data_of(exported: Record) -> bytes:
    """The stored JSON that was passed to `json_record`."""
    if "raw" in exported:
        return b64decode(exported["raw"])
    return dump(exported["value"]).encode()


def dump(value: object) -> str:
    """JSON as stores write it: compact, with only the necessary escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
