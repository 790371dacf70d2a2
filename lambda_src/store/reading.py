"""Decodes stored values into ChatKit's objects, or into placeholders if this release cannot read them.

Each placeholder is counted; the row is left unchanged.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from chatkit.types import Attachment, CustomTask, FileAttachment, TaskItem, ThreadItem, ThreadMetadata

from lambda_src.languages import Sentence
from lambda_src.store import codec
from lambda_src.store.ports import Count
from lambda_src.store.thread_snapshots import Snapshots

EPOCH = datetime.fromtimestamp(0, UTC)
# The texts of placeholders. They are never stored, so each reader gets them in their own language.
UNREADABLE_THREAD = Sentence("A conversation whose title cannot be shown")
UNREADABLE_ITEM = Sentence("An entry of this conversation cannot be shown.")


class Reader:
    """Decodes values for one store. None instead of data means that it could not be unpacked."""

    def __init__(self, count: Count, snapshots: Snapshots) -> None:
        self._count = count
        self._snapshots = snapshots

    def thread(self, thread_id: str, fields: Mapping[str, str] | None, *, name: str) -> ThreadMetadata:
        """The thread of these fields. Also takes a snapshot under `name`, which refuses to save a placeholder."""
        try:
            if fields is None:
                raise codec.UnreadableError("its fields are damaged")
            thread = codec.load_thread(fields)
        except codec.UnreadableError:
            self._count("unreadable_row")
            fields = None
            thread = ThreadMetadata(id=thread_id, created_at=EPOCH, title=UNREADABLE_THREAD)
        self._snapshots.keep(thread, thread=name, fields=fields)
        return thread

    def item(self, item_id: str, thread_id: str, data: bytes | None, *, arrived: datetime) -> ThreadItem:
        """The item, or a placeholder task, which is attributed to neither the user nor the model."""
        try:
            if data is None:
                raise codec.UnreadableError("its payload is damaged")
            return codec.load_item(data)
        except codec.UnreadableError:
            self._count("unreadable_row")
            task = CustomTask(title=UNREADABLE_ITEM, status_indicator="none")
            return TaskItem(id=item_id, thread_id=thread_id, created_at=arrived, task=task)

    def attachment(self, attachment_id: str, data: bytes | None) -> Attachment:
        """The attachment, or a placeholder of unknown type."""
        try:
            if data is None:
                raise codec.UnreadableError("its payload is damaged")
            return codec.load_attachment(data)
        except codec.UnreadableError:
            self._count("unreadable_row")
            return FileAttachment(id=attachment_id, name="unreadable", mime_type="application/octet-stream")
