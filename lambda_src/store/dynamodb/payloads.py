"""Payloads of rows: in the row, or in the bucket when they are too large for it. Knows no thread and no page."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lambda_src.errors import TooLargeError, UnavailableError
from lambda_src.store import codec, keys
from lambda_src.store.aws_calls import MissingObjectError
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.payload_bucket import PayloadBucket
from lambda_src.store.dynamodb.table import Key, Row

INLINE_MAX_BYTES = 150 * 1024  # an index that projects ALL halves DynamoDB's 400 KB; the rest is room for the keys
PAYLOAD_MAX_BYTES = 16 * 1024 * 1024  # of JSON; three times what the contract promises, and Lambda can still hold it


@dataclass(frozen=True, slots=True)
class Stored:
    """What a row gets for its payload: attributes to set, attributes to remove, and the object written, if any."""

    attributes: Mapping[str, Mapping[str, Any]]
    removed: tuple[str, ...]
    digest: bytes
    object_key: str | None


def expiring(stored: Stored, expires_s: int | None) -> Stored:
    """The same for a row that expires at `expires_s`; None: never."""
    if expires_s is None:
        return stored
    return replace(stored, attributes={**stored.attributes, keys.TTL_ATTRIBUTE: rows.number(expires_s)})


class Payloads:
    """Writes and reads payloads. Without a bucket, what does not fit into a row is refused."""

    def __init__(self, bucket: PayloadBucket | None) -> None:
        self._bucket = bucket

    async def store(self, data: bytes, *, row: Key, object_prefix: str) -> Stored:
        """Make `data` ready for `row`; what is too large is already in the bucket when this returns.

        `object_prefix` ends with a slash. TooLargeError when there is no place for it.
        """
        if len(data) > PAYLOAD_MAX_BYTES:
            raise TooLargeError(f"This is {len(data)} bytes; at most {PAYLOAD_MAX_BYTES} can be kept.")
        packed = codec.pack(data)
        digest = codec.digest(data)
        common = {
            rows.ENCODING: rows.text(packed.encoding),
            rows.SCHEMA: rows.number(codec.SCHEMA_VERSION),
            rows.DIGEST: rows.binary(digest),
        }
        if len(packed.data) <= INLINE_MAX_BYTES:
            return Stored(common | {rows.PAYLOAD: rows.binary(packed.data)}, (rows.OBJECT,), digest, None)
        if self._bucket is None:
            raise TooLargeError(
                f"This is {len(packed.data)} bytes; without a bucket at most {INLINE_MAX_BYTES} can be kept."
            )
        key = object_prefix + secrets.token_hex(8)
        await self._bucket.put(key, packed.data, row=row)
        return Stored(common | {rows.OBJECT: rows.text(key)}, (rows.PAYLOAD,), digest, key)

    async def load(self, row: Row) -> bytes:
        """The JSON that `row` stands for; codec.UnreadableError when it is damaged, gone or from a newer release."""
        if not rows.schema_known(row):
            raise codec.UnreadableError("written by a newer release")
        return codec.unpack(await self.raw(row))

    async def raw(self, row: Row) -> codec.Packed:
        """The stored bytes as they are; codec.UnreadableError when there are none."""
        encoding = row.get(rows.ENCODING, {}).get("S")
        if encoding != "json" and encoding != "gzip":
            raise codec.UnreadableError("an unknown encoding")
        if rows.PAYLOAD in row:
            return codec.Packed(row[rows.PAYLOAD]["B"], encoding)
        if rows.OBJECT not in row or self._bucket is None:
            raise codec.UnreadableError("no payload")
        try:
            return codec.Packed(await self._bucket.get(row[rows.OBJECT]["S"]), encoding)
        except MissingObjectError as fault:
            raise codec.UnreadableError("its object is gone") from fault

    async def delete(self, key: str | None) -> None:
        """Remove an object that no row names any more.

        Quiet when that fails: the write before it is done and acknowledged, and what is left is the sweep's.
        """
        if key is not None and self._bucket is not None:
            with suppress(UnavailableError):
                await self._bucket.delete(key)


def object_of(row: Row) -> str | None:
    """The object that holds a row's payload, if one does."""
    return row[rows.OBJECT]["S"] if rows.OBJECT in row else None
