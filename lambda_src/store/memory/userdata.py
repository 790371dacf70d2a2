"""Export and import of a user's data in a MemoryStore."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal, cast

from lambda_src.store import codec, keys
from lambda_src.store.memory.rows import AttachmentRow, ItemRow, ThreadRow, UserRows
from lambda_src.store.userdata import AttachmentRecord, ItemRecord, ThreadRecord


class MemoryUserRows:
    """userdata.UserRows of one user. `..._expiry`: when a row that is written now expires, given its thread."""

    def __init__(
        self,
        user: UserRows,
        *,
        now_s: int,
        thread_expiry: float,
        item_expiry: Callable[[str], float],
        attachment_expiry: Callable[[str | None], float],
    ) -> None:
        self._user = user
        self._now_s = now_s
        self._thread_expiry = thread_expiry
        self._item_expiry = item_expiry
        self._attachment_expiry = attachment_expiry

    async def threads(self, user_id: str) -> AsyncIterator[ThreadRecord]:
        """userdata.UserRows."""
        for thread_id, row in sorted(self._user.threads.items(), key=lambda entry: entry[1].order):
            if row.expires_s > self._now_s:
                yield ThreadRecord(thread_id, row.fields, keys.arrived_ns(row.order))

    async def items(self, user_id: str, thread_id: str) -> AsyncIterator[ItemRecord]:
        """userdata.UserRows."""
        for row in sorted(self._user.items.get(thread_id, {}).values(), key=lambda row: row.order):
            if row.data is not None and row.expires_s > self._now_s:
                yield ItemRecord(row.id, row.data, keys.arrived_ns(row.order))

    async def feedback(self, user_id: str, thread_id: str) -> AsyncIterator[tuple[str, str]]:
        """userdata.UserRows."""
        for (of_thread, item_id), kind in sorted(self._user.feedback.items()):
            rated = self._user.items.get(thread_id, {}).get(item_id)
            if of_thread == thread_id and (rated is None or rated.expires_s > self._now_s):
                yield item_id, kind

    async def attachments(self, user_id: str) -> AsyncIterator[AttachmentRecord]:
        """userdata.UserRows."""
        for attachment_id, row in sorted(self._user.attachments.items()):
            if row.expires_s > self._now_s:
                yield AttachmentRecord(attachment_id, row.data, row.thread_id)

    async def add_thread(self, user_id: str, thread: ThreadRecord) -> Mapping[str, str] | None:
        """userdata.UserRows."""
        existing = self._user.threads.get(thread.id)
        if existing is not None and existing.expires_s > self._now_s:
            return existing.fields
        self._user.delete_thread(thread.id)
        self._user.gone.pop(thread.id, None)
        order = keys.order_of(thread.order, thread.id)
        self._user.threads[thread.id] = ThreadRow(order, dict(thread.fields), self._thread_expiry)
        return None

    async def add_item(self, user_id: str, thread_id: str, item: ItemRecord) -> bytes | None:
        """userdata.UserRows."""
        items = self._user.items.setdefault(thread_id, {})
        existing = items.get(item.id)
        if existing is not None and existing.data is not None and existing.expires_s > self._now_s:
            return codec.digest(existing.data)
        items[item.id] = ItemRow(item.id, keys.order_of(item.order, item.id), item.data, self._item_expiry(thread_id))
        return None

    async def add_attachment(self, user_id: str, attachment: AttachmentRecord) -> bytes | None:
        """userdata.UserRows."""
        existing = self._user.attachments.get(attachment.id)
        if existing is not None and existing.expires_s > self._now_s:
            return codec.digest(existing.data)
        expires_s = self._attachment_expiry(attachment.thread_id)
        self._user.attachments[attachment.id] = AttachmentRow(attachment.data, attachment.thread_id, expires_s)
        return None

    async def set_feedback(self, user_id: str, thread_id: str, item_id: str, kind: str) -> str | None:
        """userdata.UserRows."""
        before = self._user.feedback.get((thread_id, item_id))
        self._user.feedback[thread_id, item_id] = cast("Literal['positive', 'negative']", kind)
        return before
