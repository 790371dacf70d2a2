"""Answers the ChatKit requests that need only the store, without importing chatkit.server. Knows no agent, no HTTP.

The responses equal those of chatkit.server (a test compares every operation). Importing chatkit.server imports the
Agents SDK, and in a cold function a list of threads would wait two seconds for that.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    CustomTask,
    FeedbackKind,
    HiddenContextItem,
    InputTranscribeReq,
    ItemsFeedbackReq,
    ItemsListReq,
    NonStreamingReq,
    Page,
    SDKHiddenContextItem,
    TaskItem,
    Thread,
    ThreadItem,
    ThreadMetadata,
    ThreadsDeleteReq,
    ThreadsGetByIdReq,
    ThreadsListReq,
    ThreadsSyncCustomActionReq,
    ThreadsUpdateReq,
)

from lambda_src import chatkit_json
from lambda_src.attachments.files import Files, Upload
from lambda_src.context import RequestContext
from lambda_src.languages import Language
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.ports import FeedbackStore
from lambda_src.store.reading import UNREADABLE_ITEM, UNREADABLE_THREAD

if TYPE_CHECKING:
    from lambda_src.support.desk import Desk

PAGE_SIZE = 20  # ChatKit's default if the client sends no limit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreRequests:
    """Answers requests from one store. Without `files`, leaves the two operations on attachments to the server.

    `quotas` counts thumbs, if the stage counts its usage; `desk` learns of negative ones, if it has operators.
    """

    store: Store[RequestContext]
    feedback: FeedbackStore
    files: Files | None = None
    quotas: Quotas | None = None
    desk: "Desk | None" = None

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes | None:
        """The encoded response; None if the request needs the agent or the model. NotFoundError from the store."""
        match request:
            case ThreadsListReq(params=params):
                threads = await self.store.load_threads(
                    limit=params.limit or PAGE_SIZE, after=params.after, order=params.order, context=context
                )
                data = [without_items(thread, context.language) for thread in threads.data]
                return chatkit_json.encoded(Page(has_more=threads.has_more, after=threads.after, data=data))
            case ThreadsGetByIdReq(params=params):
                thread, items = await asyncio.gather(
                    self.store.load_thread(params.thread_id, context=context),
                    self.store.load_thread_items(
                        params.thread_id, after=None, limit=PAGE_SIZE, order="asc", context=context
                    ),
                )
                shown = without_items(thread, context.language)
                return chatkit_json.encoded(shown.model_copy(update={"items": visible(items, context.language)}))
            case ItemsListReq(params=params):
                items = await self.store.load_thread_items(
                    params.thread_id,
                    limit=params.limit or PAGE_SIZE,
                    order=params.order,
                    after=params.after,
                    context=context,
                )
                return chatkit_json.encoded(visible(items, context.language))
            case ThreadsUpdateReq(params=params):
                thread = await self.store.load_thread(params.thread_id, context=context)
                thread.title = params.title
                await self.store.save_thread(thread, context=context)
                return chatkit_json.encoded(without_items(thread, context.language))
            case ThreadsDeleteReq(params=params):
                await self.store.delete_thread(params.thread_id, context=context)
                return b"{}"
            case ItemsFeedbackReq(params=params):
                sources = await add_feedback(self.feedback, params.thread_id, params.item_ids, params.kind, context)
                if self.quotas is not None:
                    await self.quotas.rated(context, params.kind, sources)
                if self.desk is not None and params.kind == "negative":
                    await self.desk.note_thumbs_down(params.thread_id, params.item_ids, context)
                return b"{}"
            case AttachmentsCreateReq(params=announced) if self.files is not None:
                attachment = await self.files.create_attachment(announced, context)
                stored = attachment.model_copy(update={"upload_descriptor": None})
                await self.store.save_attachment(stored, context=context)
                return chatkit_json.encoded(attachment)
            case AttachmentsDeleteReq(params=deleted) if self.files is not None:
                await self.files.delete_attachment(deleted.attachment_id, context=context)
                await self.store.delete_attachment(deleted.attachment_id, context=context)
                return b"{}"
            case AttachmentsCreateReq() | AttachmentsDeleteReq() | InputTranscribeReq() | ThreadsSyncCustomActionReq():
                return None

    async def file_url(self, attachment_id: str, context: RequestContext) -> str:
        """A short-lived URL that opens a file of a message. NotFoundError if it is missing, not part of any message, or
        another user's.
        """
        attachment = await self.store.load_attachment(attachment_id, context=context)
        if self.files is None or attachment.thread_id is None:
            raise NotFoundError("There is no such file.")
        return self.files.open_url(attachment, context)

    async def upload(self, file: Upload, context: RequestContext) -> bytes:
        """Store a direct upload and return its attachment as JSON. RequestError or TooLargeError if it is refused."""
        assert self.files is not None, "validation refuses uploads if the server takes no files"
        attachment = await self.files.upload(file.announced, file.data, context)
        await self.store.save_attachment(attachment, context=context)
        return chatkit_json.encoded(attachment)


async def add_feedback(
    store: FeedbackStore, thread_id: str, item_ids: list[str], kind: FeedbackKind, context: RequestContext
) -> list[str]:
    """Store and log the feedback; the latest on an item wins. NotFoundError if the thread is missing or foreign.

    Returns what wrote each item: see FeedbackStore.
    """
    sources = await store.add_feedback(thread_id, item_ids, kind, context)
    log.info("feedback", extra={"kind": kind, "items": len(item_ids)})
    return sources


def without_items(thread: ThreadMetadata, language: Language) -> Thread:
    """A thread as clients see it: without items and without metadata."""
    return Thread(
        id=thread.id,
        title=language.text(UNREADABLE_THREAD) if thread.title == UNREADABLE_THREAD else thread.title,
        created_at=thread.created_at,
        items=Page(),
        status=thread.status,
        allowed_image_domains=thread.allowed_image_domains,
    )


def visible(items: Page[ThreadItem], language: Language) -> Page[ThreadItem]:
    """The page without hidden items; its cursor may still be one of them. Placeholders are in the user's language."""
    items.data = [item for item in items.data if not isinstance(item, HiddenContextItem | SDKHiddenContextItem)]
    for item in items.data:
        if isinstance(item, TaskItem) and isinstance(item.task, CustomTask) and item.task.title == UNREADABLE_ITEM:
            item.task.title = language.text(UNREADABLE_ITEM)
    return items
