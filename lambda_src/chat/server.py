"""The ChatKit server: turns a user's message into the events of an answer. Knows no HTTP and no store engine."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from chatkit.actions import Action
from chatkit.errors import BaseStreamError, CustomStreamError
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContentPartTextDelta,
    AudioInput,
    FeedbackKind,
    HiddenContextItem,
    NonStreamingReq,
    StreamingReq,
    StreamOptionsEvent,
    SyncCustomActionResponse,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsRetryAfterItemReq,
    ThreadStreamEvent,
    TranscriptionResult,
    UserMessageInput,
    UserMessageItem,
    WidgetItem,
)
from pydantic import BaseModel, TypeAdapter

from lambda_src import chatkit_json
from lambda_src.chat import store_requests
from lambda_src.context import RequestContext
from lambda_src.errors import ConflictError, RequestError
from lambda_src.models.transcription import Transcribe
from lambda_src.observability.faults import log_fault
from lambda_src.runs import titles
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.run import Runs
from lambda_src.runs.user_errors import stream_error
from lambda_src.runs.widget_actions import ActionCall
from lambda_src.settings import Settings
from lambda_src.startup import flags
from lambda_src.store.bounds import MAX_LIMIT
from lambda_src.store.ports import FeedbackStore, NewThreads

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

REMOVED_AT_ONCE = 25  # half of a process's connections
DELTAS = TypeAdapter(ThreadItemUpdatedEvent)  # encodes straight to bytes
NAMED_FOR = timedelta(minutes=16)  # as long as a turn is found by its id; later the same id is a new message

log = logging.getLogger(__name__)


class ChatServer(ChatKitServer[RequestContext]):
    """ChatKit's server: answers from one store and one agent. LazyChatServer validates requests before they get here.

    Without `files` there are no attachments, without `transcribe` no dictation, and without `suggest_title` a thread's
    title is the beginning of its first message. With `new_threads`, a new thread is stored in one write; without,
    `store` stores its parts one by one.
    """

    def __init__(
        self,
        store: Store[RequestContext],
        dispatcher: AgentDispatcher,
        *,
        feedback: FeedbackStore,
        new_threads: NewThreads | None = None,
        settings: Settings | None = None,
        files: "Files | None" = None,
        transcribe: Transcribe | None = None,
        suggest_title: titles.Suggest | None = None,
    ) -> None:
        super().__init__(store)
        self._dispatcher = dispatcher
        self.feedback = feedback
        self._new_threads = new_threads
        self.files, self.settings = files, settings or Settings()
        self._runs = Runs(dispatcher, store, files, self.settings)
        self._transcribe = transcribe
        self._suggest_title = suggest_title

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes:
        """ChatKit's JSON answer."""
        result = await self.process(request.model_dump_json(by_alias=True), context)
        assert isinstance(result, NonStreamingResult)
        return result.json

    async def events(self, request: StreamingReq, context: RequestContext) -> AsyncIterator[bytes]:
        """ChatKit's events, encoded for a text/event-stream. The work begins with the first one.

        ChatKit's process() builds a validator of all requests for each one: 5 ms (docs/speed.md).
        """
        if flags.is_on("requests"):
            return self._encoded_events(request, context)
        result = await self.process(request.model_dump_json(by_alias=True), context)
        assert isinstance(result, StreamingResult)
        return aiter(result)

    async def _encoded_events(self, request: StreamingReq, context: RequestContext) -> AsyncGenerator[bytes]:
        async for event in self._process_streaming_impl(request, context):
            yield b"data: " + self._serialize(event) + b"\n\n"

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        """The answer, event by event. Without a message the run goes on: a client tool's or a form's answer came in.

        Failures of model, agent and store leave as CustomStreamError or StreamError, with a text for the user.
        """
        naming: titles.Naming | None = None
        try:
            await self._dispatcher.ensure_initialized()
            if input_user_message is not None and not thread.title:
                save = partial(self.store.save_thread, context=context)
                naming = titles.Naming(thread, input_user_message, save, self._suggest_title, context)
            async with aclosing(self._runs.events(thread, context, message=input_user_message)) as events:
                async for event in events:
                    yield event
                    if naming is not None:
                        await naming.use_what_has_come()
            if naming is not None:
                await naming.finish()
        except Exception as error:
            if naming is not None:
                await naming.use_what_has_come()  # a run that fails at once has not named its thread yet
            raise stream_error(error) from error
        finally:
            if naming is not None:
                await naming.cancel()

    def _process_streaming_impl(
        self, request: StreamingReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Upstream's; but a new thread is one object, a message does not read its thread again after its check, and an
        answer that is to be replaced is removed in batches.
        """
        if isinstance(request, ThreadsCreateReq):
            return self._created(request, context)
        if isinstance(request, ThreadsRetryAfterItemReq):
            return self._regenerated(request, context)
        ahead = None if context.turn is None else context.turn.ahead
        if isinstance(request, ThreadsAddUserMessageReq) and ahead is not None and ahead.thread is not None:
            return self._added(request, ahead.thread, context)
        return super()._process_streaming_impl(request, context)

    async def _take_back(self, thread_id: str, attachments: Sequence[str], context: RequestContext) -> None:
        """Delete a new thread, but not the uploads of its message: whoever sends it again names them again."""
        for attachment_id in attachments:
            with suppress(NotFoundError):
                attachment = await self.store.load_attachment(attachment_id, context=context)
                if attachment.thread_id == thread_id:
                    unbound = attachment.model_copy(update={"thread_id": None})
                    await self.store.save_attachment(unbound, context=context)
        await self.store.delete_thread(thread_id, context=context)

    async def _build_user_message_item(
        self, input: UserMessageInput, thread: ThreadMetadata, context: RequestContext
    ) -> UserMessageItem:
        """Upstream's; the message of a named request always has the same id."""
        item = await super()._build_user_message_item(input, thread, context)
        if context.turn is not None and context.turn.message_id is not None:
            item.id = context.turn.message_id
        return item

    async def _process_new_thread_item_respond(
        self, thread: ThreadMetadata, item: UserMessageItem, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Upstream's; but files are bound first, and a message that an earlier attempt stored is not stored again.

        That attempt of the same request failed because the store's answer was lost, so nobody has answered it.
        """
        for attachment in item.attachments:
            if self.files is not None:
                await self.files.bind(attachment, context)
            await self.store.save_attachment(attachment, context=context)
        if context.turn is not None:
            context.turn.is_stored = True
        try:
            await self.store.add_thread_item(thread.id, item, context=context)
        except ConflictError:
            standing = await self.store.load_item(thread.id, item.id, context=context)
            if isinstance(standing, UserMessageItem) and _is_retried(standing, item):
                item = standing
            else:  # the client used a name again
                item.id = self.store.generate_item_id("message", thread, context)
                await self.store.add_thread_item(thread.id, item, context=context)
        async with closed(self._answered(thread, item, context)) as events:
            async for event in events:
                yield event

    async def _answered(
        self, thread: ThreadMetadata, message: UserMessageItem, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """The events of a message that is stored."""
        yield ThreadItemDoneEvent(item=message)
        answer = self._process_events(thread, context, lambda: self.respond(thread, message, context))
        async with closed(answer) as events:
            async for event in events:
                yield event

    async def _created(
        self, request: ThreadsCreateReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Upstream's, with the object that was saved: upstream continues with another one, which no store has seen,
        and saving that overwrites whatever a user changed since.

        A thread whose first message could not be stored is deleted, unless a retry finds it.
        """
        created = await self._create_at_once(request.params.input, context)
        thread = await self._new_thread(request.params.input, context) if created is None else created[0]
        is_kept = False
        try:
            yield ThreadCreatedEvent(thread=self._to_thread_response(thread))
            if created is not None:
                answered = self._answered(*created, context)
            else:
                message = await self._build_user_message_item(request.params.input, thread, context)
                answered = self._process_new_thread_item_respond(thread, message, context)
            async with closed(answered) as events:
                async for event in events:
                    is_kept = is_kept or isinstance(event, StreamOptionsEvent)
                    yield event
        except BaseException as error:  # one that was cancelled is no thread either
            if not is_kept:
                await self._take_back_after(error, thread.id, request.params.input.attachments, context)
            raise

    async def _create_at_once(
        self, message: UserMessageInput, context: RequestContext
    ) -> tuple[ThreadMetadata, UserMessageItem] | None:
        """A new thread and its first message, stored in one write. None if nothing was stored: then the caller stores
        them one by one, as it does for a message with files, which must be bound to the thread first.
        """
        turn = context.turn
        if self._new_threads is None or turn is None or turn.registration is None or message.attachments:
            return None
        thread_id = turn.thread_id or self.store.generate_thread_id(context)
        thread = ThreadMetadata(id=thread_id, created_at=datetime.now())
        item = await self._build_user_message_item(message, thread, context)
        turn.is_stored = True
        try:
            turn.is_registered = await self._new_threads.begin_thread(thread, item, context)
        except BaseException as error:  # the write may have been applied, also if it was canceled
            await self._take_back_after(error, thread.id, [], context)
            raise
        turn.is_stored = turn.is_registered
        return (thread, item) if turn.is_registered else None

    async def _take_back_after(
        self, error: BaseException, thread_id: str, attachments: Sequence[str], context: RequestContext
    ) -> None:
        """Delete a new thread, unless a retry of the request after this `error` finds it."""
        if context.turn is None or not context.turn.is_retried_after(error):
            await self._take_back(thread_id, attachments, context)

    async def _added(
        self, request: ThreadsAddUserMessageReq, thread: ThreadMetadata, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Upstream's, with a thread that was read before."""
        message = await self._build_user_message_item(request.params.input, thread, context)
        async with closed(self._process_new_thread_item_respond(thread, message, context)) as events:
            async for event in events:
                yield event

    async def _regenerated(
        self, request: ThreadsRetryAfterItemReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Upstream's, which removes item by item before its first event: 21 s for 2,500 of them."""
        thread, message = await asyncio.gather(
            self.store.load_thread(request.params.thread_id, context=context),
            self.store.load_item(request.params.thread_id, request.params.item_id, context=context),
        )
        if not isinstance(message, UserMessageItem):
            raise ConflictError("Only a message of yours can be answered again.")

        async def answered() -> AsyncIterator[ThreadStreamEvent]:
            try:
                await self._remove_after(message, context)
            except Exception as error:
                raise stream_error(error) from error
            async for event in self.respond(thread, message, context):
                yield event

        async with closed(self._process_events(thread, context, answered)) as events:
            async for event in events:
                yield event

    async def _remove_after(self, message: UserMessageItem, context: RequestContext) -> None:
        """Remove everything newer than the message, the newest first; nothing when the message is gone."""
        newer: list[str] = []
        after = None
        while message.id not in newer:
            page = await self.store.load_thread_items(message.thread_id, after, MAX_LIMIT, "desc", context)
            newer += [item.id for item in page.data]
            if (after := page.after) is None and message.id not in newer:
                raise CustomStreamError("This message is no longer in the conversation. Reload it.")
        del newer[newer.index(message.id) :]
        delete = partial(self.store.delete_thread_item, message.thread_id, context=context)
        for first in range(0, len(newer), REMOVED_AT_ONCE):
            await asyncio.gather(*map(delete, newer[first : first + REMOVED_AT_ONCE]))

    async def _new_thread(self, message: UserMessageInput, context: RequestContext) -> ThreadMetadata:
        """A new thread, saved; or the one that an earlier attempt of the same request saved before it failed."""
        turn = context.turn
        if turn is not None and turn.thread_id is not None:
            thread = ThreadMetadata(id=turn.thread_id, created_at=datetime.now())
            try:
                await self.store.save_thread(thread, context=context)
            except NotFoundError:  # that attempt's thread is deleted
                pass
            except ConflictError:
                if (begun := await self._begun(turn.thread_id, turn.message_id, context)) is not None:
                    return begun
                if message.attachments:
                    raise ConflictError(
                        "This message was sent before. To send it again, attach its files anew."
                    ) from None
            else:
                return thread
        thread = ThreadMetadata(id=self.store.generate_thread_id(context), created_at=datetime.now())
        await self.store.save_thread(thread, context=context)
        return thread

    async def _begun(self, thread_id: str, message_id: str | None, context: RequestContext) -> ThreadMetadata | None:
        """A new thread in which nothing but this message was stored; None when the client used a name again."""
        with suppress(NotFoundError):
            thread = await self.store.load_thread(thread_id, context=context)
            items = await self.store.load_thread_items(thread_id, None, 2, "asc", context)
            if _is_recent(thread.created_at) and [item.id for item in items.data] in ([], [message_id]):
                return thread
        return None

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        """Nothing: what was said is kept by turns/, by one rule for a stop, a deadline, a crash and a newer turn."""

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """As store_requests.py does it."""
        await store_requests.keep_feedback(self.feedback, thread_id, item_ids, feedback, context)

    async def transcribe(self, audio_input: AudioInput, context: RequestContext) -> TranscriptionResult:
        """What was said. RequestError: dictation is not offered; UnavailableError: the model cannot be reached."""
        if self._transcribe is None:
            raise RequestError("Dictation is not set up on this server.")
        return TranscriptionResult(text=await self._transcribe(audio_input))

    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """What the function registered for it does. CustomStreamError: there is none, or its payload is not valid."""
        try:
            await self._dispatcher.ensure_initialized()
        except Exception as error:
            raise stream_error(error) from error  # without the action's name: nobody knows yet whether it is one
        try:
            async for event in self._dispatcher.actions.stream(action, self._call(thread, action, sender, context)):
                yield event
        except RequestError as error:
            raise CustomStreamError(str(error)) from error
        except Exception as error:
            raise stream_error(error, "action_failed", action=action.type) from error

    async def sync_action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> SyncCustomActionResponse:
        """The same without a stream, kept before it is answered. RequestError, or ConflictError with the text of a
        CustomStreamError that the function raised.
        """
        try:
            await self._dispatcher.ensure_initialized()
        except Exception as error:
            log_fault("run_failed", error)
            raise
        try:
            item = await self._dispatcher.actions.once(action, self._call(thread, action, sender, context))
        except BaseStreamError as error:
            raise ConflictError(str(error)) from error
        except RequestError:
            raise
        except Exception as error:
            log_fault("action_failed", error, action=action.type)
            raise
        if item is not None:
            keep = self.store.add_thread_item if sender is None else self.store.save_item
            await keep(thread.id, item, context=context)
        return SyncCustomActionResponse(updated_item=item)

    def _call(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: RequestContext
    ) -> ActionCall:
        answer = partial(self._answer_to, thread, context)
        return ActionCall(action.type, thread, sender, context, self.store, answer)

    async def _answer_to(
        self, thread: ThreadMetadata, context: RequestContext, note: str
    ) -> AsyncIterator[ThreadStreamEvent]:
        item_id = self.store.generate_item_id("message", thread, context)
        item = HiddenContextItem(id=item_id, thread_id=thread.id, created_at=datetime.now(), content=note)
        yield ThreadItemDoneEvent(item=item)
        async for event in self.respond(thread, None, context):
            yield event

    def _serialize(self, obj: BaseModel) -> bytes:
        """Upstream's wire format, with an offset on every time."""
        if isinstance(obj, ThreadItemUpdatedEvent) and isinstance(obj.update, AssistantMessageContentPartTextDelta):
            return DELTAS.dump_json(obj, by_alias=True, exclude_none=True)  # there are thousands, with no time in them
        return chatkit_json.encoded(obj)


def closed(events: AsyncIterator[ThreadStreamEvent]) -> "aclosing[AsyncGenerator[ThreadStreamEvent]]":
    """aclosing, of events that ChatKit calls an iterator: they are a generator (held by tests/chat)."""
    return aclosing(cast(AsyncGenerator[ThreadStreamEvent], events))


def _is_retried(standing: UserMessageItem, item: UserMessageItem) -> bool:
    """Whether the stored message is `item`, sent a short while ago."""
    files = [[attachment.id for attachment in one.attachments] for one in (standing, item)]
    is_same = files[0] == files[1] and (standing.content, standing.quoted_text) == (item.content, item.quoted_text)
    return is_same and _is_recent(standing.created_at)


def _is_recent(time: datetime) -> bool:
    """Whether a request of that time is still found by its name."""
    return datetime.now(UTC) - time.replace(tzinfo=time.tzinfo or UTC) < NAMED_FOR
