"""Payloads of rows: in the row itself, or in S3 if they are too large for it."""

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
PAYLOAD_MAX_BYTES = 16 * 1024 * 1024  # of JSON; three times what the contract guarantees, and fits in Lambda's memory


@dataclass(frozen=True, slots=True)
class Stored:
    """How a row refers to its payload: attributes to set and to remove, and the object that was written, if any."""

    attributes: Mapping[str, Mapping[str, Any]]
    removed: tuple[str, ...]
    digest: bytes
    object_key: str | None


def expiring(stored: Stored, expires_s: int | None) -> Stored:
    """`stored`, with a TTL of `expires_s`; None: never."""
    if expires_s is None:
        return stored
    return replace(stored, attributes={**stored.attributes, keys.TTL_ATTRIBUTE: rows.number(expires_s)})


class Payloads:
    """Writes and reads payloads. Without a bucket, a payload that does not fit in a row is refused."""

    def __init__(self, bucket: PayloadBucket | None) -> None:
        self._bucket = bucket

    async def store(self, data: bytes, *, row: Key, object_prefix: str) -> Stored:
        """Prepare `data` for `row`; a payload that is too large for it is in the bucket when this returns.

        `object_prefix` ends with a slash. TooLargeError if it fits in neither.
        """
        if len(data) > PAYLOAD_MAX_BYTES:
            raise TooLargeError(f"This has {len(data)} bytes; the limit is {PAYLOAD_MAX_BYTES}.")
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
                f"This has {len(packed.data)} bytes packed; without a bucket the limit is {INLINE_MAX_BYTES}."
            )
        key = object_prefix + secrets.token_hex(8)
        await self._bucket.put(key, packed.data, row=row)
        return Stored(common | {rows.OBJECT: rows.text(key)}, (rows.PAYLOAD,), digest, key)

    async def load(self, row: Row) -> bytes:
        """The JSON of `row`; codec.UnreadableError if it is damaged, gone or from a newer release."""
        if not rows.schema_known(row):
            raise codec.UnreadableError("written by a newer release")
        return codec.unpack(await self.raw(row))

    async def raw(self, row: Row) -> codec.Packed:
        """The stored bytes; codec.UnreadableError if there are none."""
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
        """Remove an object that no row refers to any more.

        A failure is ignored: the write before it has succeeded, and the sweep removes the object later.
        """
        if key is not None and self._bucket is not None:
            with suppress(UnavailableError):
                await self._bucket.delete(key)


def object_of(row: Row) -> str | None:
    """The key of the object with a row's payload, if it has one."""
    return row[rows.OBJECT]["S"] if rows.OBJECT in row else None
