"""A Store that adds presigned URLs to pictures. Knows which fields hold URLs; no bucket, no row.

Items that are read get URLs that work for an hour; items that are written lose theirs, so no presigned URL is ever
stored. An attachment that is saved with a thread id is bound first: ChatKit sets that id just before it stores the
user's message.
"""

from chatkit.store import Store, StoreItemType
from chatkit.types import (
    Attachment,
    FileAttachment,
    GeneratedImageItem,
    ImageAttachment,
    Page,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
)
from pydantic import AnyUrl

from lambda_src.attachments.files import Files
from lambda_src.context import RequestContext

NO_URL = "about:blank"  # ChatKit requires a URL in stored items too


class PresignedStore(Store[RequestContext]):
    """Wraps `store`, with the URLs of `files`."""

    def __init__(self, store: Store[RequestContext], files: Files) -> None:
        self._store, self._files = store, files

    def generate_thread_id(self, context: RequestContext) -> str:
        """The store's own."""
        return self._store.generate_thread_id(context)

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        """The store's own."""
        return self._store.generate_item_id(item_type, thread, context)

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        """The thread."""
        return await self._store.load_thread(thread_id, context=context)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Save the thread."""
        await self._store.save_thread(thread, context=context)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        """A page of threads."""
        return await self._store.load_threads(limit, after, order, context)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread; the store deletes its files too."""
        await self._store.delete_thread(thread_id, context=context)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """A page of items with presigned URLs."""
        page = await self._store.load_thread_items(thread_id, after, limit, order, context)
        page.data = [self._linked_item(item, context) for item in page.data]
        return page

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item with presigned URLs."""
        return self._linked_item(await self._store.load_item(thread_id, item_id, context=context), context)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Add an item, without URLs."""
        await self._store.add_thread_item(thread_id, _plain_item(item), context=context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Save the item, without URLs."""
        await self._store.save_item(thread_id, _plain_item(item), context=context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item."""
        await self._store.delete_thread_item(thread_id, item_id, context=context)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment with a presigned preview URL."""
        return self._linked(await self._store.load_attachment(attachment_id, context=context), context)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Save the attachment without URLs; bind its file if it has a thread. ConflictError: the file is gone."""
        if attachment.thread_id is not None:
            await self._files.bind(attachment, context)
        await self._store.save_attachment(_plain(attachment), context=context)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the attachment's row."""
        await self._store.delete_attachment(attachment_id, context=context)

    def _linked_item(self, item: ThreadItem, context: RequestContext) -> ThreadItem:
        match item:
            case UserMessageItem() if item.attachments:
                return item.model_copy(update={"attachments": [self._linked(a, context) for a in item.attachments]})
            case GeneratedImageItem(image=image) if image is not None:
                url = self._files.image_url(image.id, context)
                return item.model_copy(update={"image": image.model_copy(update={"url": url})})
            case _:
                return item

    def _linked(self, attachment: Attachment, context: RequestContext) -> Attachment:
        match attachment:
            case ImageAttachment():
                return attachment.model_copy(update={"preview_url": AnyUrl(self._files.url_of(attachment, context))})
            case FileAttachment():
                return attachment


def _plain_item(item: ThreadItem) -> ThreadItem:
    match item:
        case UserMessageItem() if item.attachments:
            return item.model_copy(update={"attachments": [_plain(a) for a in item.attachments]})
        case GeneratedImageItem(image=image) if image is not None:
            return item.model_copy(update={"image": image.model_copy(update={"url": NO_URL})})
        case _:
            return item


def _plain(attachment: Attachment) -> Attachment:
    match attachment:
        case ImageAttachment():
            return attachment.model_copy(update={"upload_descriptor": None, "preview_url": AnyUrl(NO_URL)})
        case FileAttachment():
            return attachment.model_copy(update={"upload_descriptor": None})
