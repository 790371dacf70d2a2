"""Payloads of rows, and what they become: items, attachments, placeholders. Knows no page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chatkit.types import Attachment, ThreadItem
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncSession

from lambda_src.errors import ConflictError, TooLargeError
from lambda_src.store import codec
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.schema import items
from lambda_src.store.reading import Reader

PAYLOAD_MAX_BYTES = 16 * 1024 * 1024  # of JSON, as on DynamoDB: what one store takes, all take
_NS = 1_000_000_000


def payload_values(data: bytes, *, expires_s: int | None) -> dict[str, Any]:
    """The columns of a payload. TooLargeError over 16 MB."""
    if len(data) > PAYLOAD_MAX_BYTES:
        raise TooLargeError(f"This is {len(data)} bytes; at most {PAYLOAD_MAX_BYTES} can be kept.")
    packed = codec.pack(data)
    return {
        "payload": packed.data,
        "encoding": packed.encoding,
        "schema": codec.SCHEMA_VERSION,
        "digest": codec.digest(data),
        "expires_s": expires_s,
    }


def data_of(row: RowMapping) -> bytes:
    """The JSON of a row; codec.UnreadableError when it is damaged or from a newer release."""
    if row["schema"] > codec.SCHEMA_VERSION:
        raise codec.UnreadableError("written by a newer release")
    return unpacked(row)


def unpacked(row: RowMapping) -> bytes:
    """The same, whoever wrote it."""
    if row["encoding"] not in ("json", "gzip") or row["payload"] is None:
        raise codec.UnreadableError("an unknown encoding")
    return codec.unpack(codec.Packed(bytes(row["payload"]), row["encoding"]))


class PayloadRows:
    """Rows of items and attachments, read and made."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def item_values(self, user_id: str, thread_id: str, item: ThreadItem, *, expires_s: int | None) -> dict[str, Any]:
        """The columns of an item, but for its place."""
        key = {"user_id": user_id, "thread_id": thread_id, "id": item.id, "is_open": codec.is_open(item)}
        return key | payload_values(codec.dump(item), expires_s=expires_s)

    async def same_or_conflict(self, session: AsyncSession, values: Mapping[str, Any]) -> None:
        """ConflictError unless the row under the item's id has the same content."""
        of_item = sql.of_user(items, values["user_id"], thread_id=values["thread_id"], id=values["id"])
        standing = (await session.execute(select(items.c.digest).where(of_item))).scalar_one_or_none()
        if standing != values["digest"]:
            raise ConflictError("Another item of this thread has this id.")

    def read_item(self, row: RowMapping) -> ThreadItem:
        """The item of a row, or a placeholder for one that cannot be read (counted, and kept as it is)."""
        arrived = datetime.fromtimestamp(row["place"] / _NS, UTC)
        return self._reader.item(row["id"], row["thread_id"], _readable(row), arrived=arrived)

    def read_attachment(self, row: RowMapping) -> Attachment:
        """The attachment of a row, or a placeholder for one that cannot be read."""
        return self._reader.attachment(row["id"], _readable(row))


def _readable(row: RowMapping) -> bytes | None:
    """As `data_of`; None where that cannot read it."""
    try:
        return data_of(row)
    except codec.UnreadableError:
        return None
