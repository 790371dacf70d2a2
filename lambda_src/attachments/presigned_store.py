"""A Store whose pictures have live URLs. Knows which fields hold URLs; no bucket, no row.

What leaves it carries URLs that work for an hour; what enters it carries none, so that no live URL is ever kept. An
attachment that comes with its thread (ChatKit does that just before it keeps the user's message) is bound first.
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

NO_URL = "about:blank"  # ChatKit requires a URL where none is kept


class PresignedStore(Store[RequestContext]):
    """`store`, with the URLs of `files`."""

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
        """Keep the thread."""
        await self._store.save_thread(thread, context=context)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        """A page of threads."""
        return await self._store.load_threads(limit, after, order, context)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Delete the thread; the store takes its files along."""
        await self._store.delete_thread(thread_id, context=context)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """A page of items with live URLs."""
        page = await self._store.load_thread_items(thread_id, after, limit, order, context)
        page.data = [self._linked_item(item, context) for item in page.data]
        return page

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        """The item with live URLs."""
        return self._linked_item(await self._store.load_item(thread_id, item_id, context=context), context)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep a new item, without URLs."""
        await self._store.add_thread_item(thread_id, _plain_item(item), context=context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep the item, without URLs."""
        await self._store.save_item(thread_id, _plain_item(item), context=context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Delete the item."""
        await self._store.delete_thread_item(thread_id, item_id, context=context)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        """The attachment with a live preview."""
        return self._linked(await self._store.load_attachment(attachment_id, context=context), context)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """Keep the attachment without URLs; one that has a thread is bound first. ConflictError: its file is gone."""
        if attachment.thread_id is not None:
            await self._files.bind(attachment, context)
        await self._store.save_attachment(_plain(attachment), context=context)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Forget the attachment."""
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
