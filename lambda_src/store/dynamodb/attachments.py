"""Attachment metadata in DynamoDB: ChatKit's description of each attachment, never its bytes."""

from collections.abc import Callable

from chatkit.store import NotFoundError
from chatkit.types import Attachment

from lambda_src.store import bounds, codec, keys
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.payloads import Payloads, object_of
from lambda_src.store.dynamodb.table import Key, Row, Table
from lambda_src.store.reading import Reader

_NS = 1_000_000_000


class Attachments:
    """The attachments of every user. `retention_s` = 0 keeps those of a message forever."""

    def __init__(
        self, table: Table, payloads: Payloads, *, clock: Callable[[], int], reader: Reader, retention_s: int
    ) -> None:
        self._table = table
        self._payloads = payloads
        self._clock = clock
        self._reader = reader
        self._retention_s = retention_s

    async def save(self, user_id: str, attachment: Attachment, *, expires_s: int | None) -> None:
        """Write the attachment; `expires_s` as in `write`."""
        data = codec.dump(attachment)
        await self.write(user_id, attachment.id, data, thread_id=attachment.thread_id, expires_s=expires_s)

    async def write(
        self, user_id: str, attachment_id: str, data: bytes, *, thread_id: str | None, expires_s: int | None
    ) -> None:
        """Write the JSON of an attachment. `thread_id`: the thread of its message, with which it is deleted.

        `expires_s`: when an attachment with a message expires, in epoch seconds; None: never.
        """
        key = _key(user_id, attachment_id)
        prefix = keys.attachment_payload(user_id, attachment_id, "")
        stored = await self._payloads.store(data, row=key, object_prefix=prefix)
        attributes = dict(stored.attributes)
        if thread_id is not None:
            attributes[rows.THREAD] = rows.text(thread_id)
        if thread_id is None:
            expires_s = self._clock() // _NS + bounds.attachment_kept_s(self._retention_s, None)
        if expires_s is not None:
            attributes[keys.TTL_ATTRIBUTE] = rows.number(expires_s)
        old = await self._table.put(
            {keys.PARTITION_KEY: rows.text(key[0]), keys.SORT_KEY: rows.text(key[1]), **attributes}
        )
        if object_of(old) != stored.object_key:
            await self._payloads.delete(object_of(old))

    async def row(self, user_id: str, attachment_id: str) -> Row | None:
        """The row of an attachment, unless it or its thread is deleted: one request, two if it belongs to a thread."""
        row = await self._table.get(_key(user_id, attachment_id))
        if row is None or rows.is_expired(row, now_s=self._clock() // _NS):
            return None
        if rows.THREAD in row:
            thread = (keys.user_partition(user_id), keys.thread_sort(row[rows.THREAD]["S"]))
            if rows.is_tombstone(await self._table.get(thread)):
                return None
        return row

    async def load(self, user_id: str, attachment_id: str) -> Attachment:
        """The attachment; NotFoundError if it or its thread is missing, deleted or someone else's."""
        row = await self.row(user_id, attachment_id)
        if row is None:
            raise NotFoundError("There is no such attachment.")
        try:
            data = await self._payloads.load(row)
        except codec.UnreadableError:
            return self._reader.attachment(attachment_id, None)
        return self._reader.attachment(attachment_id, data)

    async def delete(self, user_id: str, attachment_id: str) -> None:
        """Delete the metadata; no-op if it does not exist. The AttachmentStore deletes the bytes."""
        await self._payloads.delete(object_of(await self._table.delete(_key(user_id, attachment_id))))


def _key(user_id: str, attachment_id: str) -> Key:
    return keys.user_partition(user_id), keys.attachment_sort(attachment_id)
