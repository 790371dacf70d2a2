"""Export and import of what is kept about a user, the same for every store. Knows no engine; operators' work.

A store brings its `UserRows`: the few reads and writes that differ from engine to engine.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lambda_src.errors import ConflictError
from lambda_src.store import bounds, codec, export_records
from lambda_src.store.ports import Record


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread: its fields as JSON texts, and its place."""

    id: str
    fields: Mapping[str, str]
    order: int


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item: its stored JSON and its place."""

    id: str
    data: bytes
    order: int


@dataclass(frozen=True, slots=True)
class AttachmentRecord:
    """An attachment: its stored JSON, and the thread of its message, if it has one."""

    id: str
    data: bytes
    thread_id: str | None


class UserRows(Protocol):
    """The rows of users. Reads leave out what is deleted or expired; the `add_` methods write over it."""

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
        """Write the thread, empty; None, or the fields of the thread that has its id already."""
        ...

    async def add_item(self, user_id: str, thread_id: str, item: ItemRecord) -> bytes | None:
        """Write the item; None, or the codec.digest of the item that has its id already."""
        ...

    async def add_attachment(self, user_id: str, attachment: AttachmentRecord) -> bytes | None:
        """Write the attachment; None, or the codec.digest of the attachment that has its id already."""
        ...

    async def set_feedback(self, user_id: str, thread_id: str, item_id: str, kind: str) -> str | None:
        """Write the feedback on an item, and return what it was before."""
        ...


async def export(rows: UserRows, user_id: str) -> AsyncIterator[Record]:
    """Threads by creation, each followed by its items by arrival and its feedback; attachments last."""
    async for thread in rows.threads(user_id):
        yield export_records.thread_record(thread.id, thread.fields, order=thread.order)
        async for item in rows.items(user_id, thread.id):
            yield export_records.record("item", item.id, item.data, thread_id=thread.id, order=item.order)
        async for item_id, kind in rows.feedback(user_id, thread.id):
            yield export_records.feedback_record(item_id, kind, thread_id=thread.id)
    async for attachment in rows.attachments(user_id):
        yield export_records.record("attachment", attachment.id, attachment.data, thread_id=attachment.thread_id)


async def restore(rows: UserRows, record: Record, user_id: str) -> bool:
    """ports.UserData.import_record."""
    record_id, thread_id = record["id"], record.get("thread_id")
    bounds.writable(user_id, record_id, *([] if thread_id is None else [thread_id]))
    standing: object
    wanted: object
    match record["kind"]:
        case "thread":
            wanted = export_records.fields_of(record)
            standing = await rows.add_thread(user_id, ThreadRecord(record_id, wanted, record["order"]))
        case "item":
            data = export_records.data_of(record)
            wanted = codec.digest(data)
            standing = await rows.add_item(user_id, record["thread_id"], ItemRecord(record_id, data, record["order"]))
        case "attachment":
            data = export_records.data_of(record)
            wanted = codec.digest(data)
            standing = await rows.add_attachment(user_id, AttachmentRecord(record_id, data, thread_id))
        case "feedback":
            before = await rows.set_feedback(user_id, record["thread_id"], record_id, record["value"])
            return before != str(record["value"])
        case kind:
            raise ValueError(f"A record of an unknown kind: {kind}.")
    if standing is not None and standing != wanted:
        raise ConflictError(f"Another {record['kind']} has the id {record_id}.")
    return standing is None
