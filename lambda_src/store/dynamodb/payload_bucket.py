"""Payloads in S3 that are too large for a row of the table. Knows keys and bytes, no row and no model.

The object is written before the row that refers to it, and deleted after it. A crash in between leaves an orphaned
object, never a row without its object; the sweep removes orphans (maintenance/sweep.py).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from lambda_src.store.aws_calls import Calls

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

METADATA_MAX_BYTES = 2000  # S3 takes 2 KB of user metadata, names included
_DELETE_BATCH = 1000  # S3's limit for DeleteObjects


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    modified: datetime


class PayloadBucket:
    """Objects of one bucket."""

    def __init__(self, client: "S3Client", bucket: str, *, calls: Calls) -> None:
        self._client = client
        self._bucket = bucket
        self._calls = calls

    async def put(self, key: str, data: bytes, *, row: tuple[str, str]) -> None:
        """Store `data`, with the key of the row that will refer to it as metadata for the sweep.

        A key that does not fit is left out; such an object is removed with its thread or user, never as an orphan.
        """
        names = {"pk": quote(row[0], safe=""), "sk": quote(row[1], safe="")}  # object metadata is ASCII
        if sum(map(len, names.values())) > METADATA_MAX_BYTES:
            names = {}
        await self._calls.run(self._client.put_object, Bucket=self._bucket, Key=key, Body=data, Metadata=names)

    async def get(self, key: str) -> bytes:
        """The bytes under `key`; MissingObjectError if there is no such object."""
        return (await self._calls.run(self._read, Key=key))["data"]  # type: ignore[no-any-return]  # ours, below

    def _read(self, *, Key: str) -> Mapping[str, bytes]:  # noqa: N803 - S3's own name
        """Also reads the body on the executor's thread: it blocks like the request, and botocore does not retry it."""
        try:
            return self._read_once(Key)
        except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
            return self._read_once(Key)  # retry once: a connection that breaks twice in one object is no coincidence

    def _read_once(self, key: str) -> Mapping[str, bytes]:
        with self._client.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
            return {"data": body.read()}

    async def row_of(self, key: str) -> tuple[str, str]:
        """The key of the row that was passed to `put`; ("", "") if it did not fit."""
        names = (await self._calls.run(self._client.head_object, Bucket=self._bucket, Key=key))["Metadata"]
        return unquote(names.get("pk", "")), unquote(names.get("sk", ""))

    async def delete(self, key: str) -> None:
        """Remove one object; no-op if it does not exist."""
        await self._calls.run(self._client.delete_object, Bucket=self._bucket, Key=key)

    async def delete_under(self, prefix: str) -> int:
        """Remove every object whose key begins with `prefix`, and return how many."""
        removed = 0
        async for page in self.pages_under(prefix):
            keys = [{"Key": stored.key} for stored in page]
            for start in range(0, len(keys), _DELETE_BATCH):
                batch = {"Objects": keys[start : start + _DELETE_BATCH], "Quiet": True}
                await self._calls.run(self._client.delete_objects, Bucket=self._bucket, Delete=batch)
            removed += len(keys)
        return removed

    async def pages_under(self, prefix: str, *, after: str = "") -> AsyncIterator[list[StoredObject]]:
        """Every object whose key begins with `prefix`, by key, after the key `after`: one request per 1,000."""
        token = {"StartAfter": after} if after else {}
        while True:
            answer = await self._calls.run(self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix, **token)
            yield [StoredObject(entry["Key"], entry["LastModified"]) for entry in answer.get("Contents", [])]
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}
