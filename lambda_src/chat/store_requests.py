"""ChatKit's JSON answers that need nothing but the store. Knows no agent, no HTTP.

Word for word what chatkit.server answers (a test holds that, operation by operation), without it: to import it is to
import the Agents SDK, and a list of threads in a cold function would wait two seconds for a model that nobody asked.
"""

import asyncio
import logging
from dataclasses import dataclass

from chatkit.store import Store
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    FeedbackKind,
    HiddenContextItem,
    InputTranscribeReq,
    ItemsFeedbackReq,
    ItemsListReq,
    NonStreamingReq,
    Page,
    SDKHiddenContextItem,
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
from lambda_src.store.ports import FeedbackStore

PAGE_SIZE = 20  # ChatKit's own, where the client names none

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one store answers. Without `files` the two operations on attachments are the server's to refuse."""

    store: Store[RequestContext]
    feedback: FeedbackStore
    files: Files | None = None

    async def of(self, request: NonStreamingReq, context: RequestContext) -> bytes | None:
        """The answer, encoded; None where the agent or the model is needed. NotFoundError as the store's."""
        match request:
            case ThreadsListReq(params=params):
                threads = await self.store.load_threads(
                    limit=params.limit or PAGE_SIZE, after=params.after, order=params.order, context=context
                )
                shown = [_without_items(thread) for thread in threads.data]
                return chatkit_json.encoded(Page(has_more=threads.has_more, after=threads.after, data=shown))
            case ThreadsGetByIdReq(params=params):
                thread, items = await asyncio.gather(
                    self.store.load_thread(params.thread_id, context=context),
                    self.store.load_thread_items(
                        params.thread_id, after=None, limit=PAGE_SIZE, order="asc", context=context
                    ),
                )
                return chatkit_json.encoded(_without_items(thread).model_copy(update={"items": _shown(items)}))
            case ItemsListReq(params=params):
                items = await self.store.load_thread_items(
                    params.thread_id,
                    limit=params.limit or PAGE_SIZE,
                    order=params.order,
                    after=params.after,
                    context=context,
                )
                return chatkit_json.encoded(_shown(items))
            case ThreadsUpdateReq(params=params):
                thread = await self.store.load_thread(params.thread_id, context=context)
                thread.title = params.title
                await self.store.save_thread(thread, context=context)
                return chatkit_json.encoded(_without_items(thread))
            case ThreadsDeleteReq(params=params):
                await self.store.delete_thread(params.thread_id, context=context)
                return b"{}"
            case ItemsFeedbackReq(params=params):
                await keep_feedback(self.feedback, params.thread_id, params.item_ids, params.kind, context)
                return b"{}"
            case AttachmentsCreateReq(params=wanted) if self.files is not None:
                attachment = await self.files.create_attachment(wanted, context)
                stored = attachment.model_copy(update={"upload_descriptor": None})
                await self.store.save_attachment(stored, context=context)
                return chatkit_json.encoded(attachment)
            case AttachmentsDeleteReq(params=unwanted) if self.files is not None:
                await self.files.delete_attachment(unwanted.attachment_id, context=context)
                await self.store.delete_attachment(unwanted.attachment_id, context=context)
                return b"{}"
            case AttachmentsCreateReq() | AttachmentsDeleteReq() | InputTranscribeReq() | ThreadsSyncCustomActionReq():
                return None

    async def upload(self, file: Upload, context: RequestContext) -> bytes:
        """ChatKit's direct upload: the attachment as JSON, kept. RequestError or TooLargeError: it is not taken."""
        assert self.files is not None, "check() refuses files where there is no place for them"
        attachment = await self.files.upload(file.announced, file.data, context)
        await self.store.save_attachment(attachment, context=context)
        return chatkit_json.encoded(attachment)


async def keep_feedback(
    store: FeedbackStore, thread_id: str, item_ids: list[str], kind: FeedbackKind, context: RequestContext
) -> None:
    """Kept, the last one of an item wins. NotFoundError when the thread is missing or someone else's."""
    await store.add_feedback(thread_id, item_ids, kind, context)
    log.info("feedback", extra={"kind": kind, "items": len(item_ids)})


def _without_items(thread: ThreadMetadata) -> Thread:
    """What a client is shown of a thread: not its metadata."""
    return Thread(
        id=thread.id,
        title=thread.title,
        created_at=thread.created_at,
        items=Page(),
        status=thread.status,
        allowed_image_domains=thread.allowed_image_domains,
    )


def _shown(items: Page[ThreadItem]) -> Page[ThreadItem]:
    """The page without what is hidden from the user; what is hidden may still be the cursor."""
    items.data = [item for item in items.data if not isinstance(item, HiddenContextItem | SDKHiddenContextItem)]
    return items
