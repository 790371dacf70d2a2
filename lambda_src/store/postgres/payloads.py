"""Encodes and decodes the payload columns of items and attachments in PostgreSQL."""

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

PAYLOAD_MAX_BYTES = 16 * 1024 * 1024  # of JSON, the same limit as on DynamoDB
_NS = 1_000_000_000


def payload_values(data: bytes, *, expires_s: int | None) -> dict[str, Any]:
    """The columns of a payload. TooLargeError over 16 MB."""
    if len(data) > PAYLOAD_MAX_BYTES:
        raise TooLargeError(f"This has {len(data)} bytes; the limit is {PAYLOAD_MAX_BYTES}.")
    packed = codec.pack(data)
    return {
        "payload": packed.data,
        "encoding": packed.encoding,
        "schema": codec.SCHEMA_VERSION,
        "digest": codec.digest(data),
        "expires_s": expires_s,
    }


def data_of(row: RowMapping) -> bytes:
    """The JSON of a row; codec.UnreadableError if it is damaged or from a newer release."""
    if row["schema"] > codec.SCHEMA_VERSION:
        raise codec.UnreadableError("written by a newer release")
    return unpacked(row)


def unpacked(row: RowMapping) -> bytes:
    """The JSON of a row of any release; codec.UnreadableError if it is damaged."""
    if row["encoding"] not in ("json", "gzip") or row["payload"] is None:
        raise codec.UnreadableError("an unknown encoding")
    return codec.unpack(codec.Packed(bytes(row["payload"]), row["encoding"]))


class PayloadRows:
    """Builds and reads the rows of items and attachments."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def item_values(self, user_id: str, thread_id: str, item: ThreadItem, *, expires_s: int | None) -> dict[str, Any]:
        """The columns of an item, except its position."""
        key = {"user_id": user_id, "thread_id": thread_id, "id": item.id, "is_open": codec.is_open(item)}
        return key | payload_values(codec.dump(item), expires_s=expires_s)

    async def same_or_conflict(self, session: AsyncSession, values: Mapping[str, Any]) -> None:
        """ConflictError unless the row under the item's id has the same content."""
        of_item = sql.of_user(items, values["user_id"], thread_id=values["thread_id"], id=values["id"])
        existing = (await session.execute(select(items.c.digest).where(of_item))).scalar_one_or_none()
        if existing != values["digest"]:
            raise ConflictError("Another item of this thread has this id.")

    def read_item(self, row: RowMapping) -> ThreadItem:
        """The item of a row, or a placeholder if it cannot be read (the row is counted and left unchanged)."""
        arrived = datetime.fromtimestamp(row["place"] / _NS, UTC)
        return self._reader.item(row["id"], row["thread_id"], _readable(row), arrived=arrived)

    def read_attachment(self, row: RowMapping) -> Attachment:
        """The attachment of a row, or a placeholder if it cannot be read."""
        return self._reader.attachment(row["id"], _readable(row))


def _readable(row: RowMapping) -> bytes | None:
    """`data_of`, or None if the row cannot be read."""
    try:
        return data_of(row)
    except codec.UnreadableError:
        return None
