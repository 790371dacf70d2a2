"""The ChatKit server: turns a user's message into the events of an answer. Knows no HTTP and no particular store."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
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
    Attachment,
    AudioInput,
    FeedbackKind,
    HiddenContextItem,
    NonStreamingReq,
    NoticeEvent,
    StreamingReq,
    StreamOptionsEvent,
    SyncCustomActionResponse,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
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
from lambda_src.chat import edits, store_requests
from lambda_src.context import RequestContext
from lambda_src.errors import ChatError, ConflictError, QuotaError, RequestError
from lambda_src.models.transcription import DICTATION_MODEL, Transcribe
from lambda_src.observability.faults import log_fault
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.runs import titles
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.run import Runs
from lambda_src.runs.user_errors import stream_error
from lambda_src.runs.widget_actions import ActionCall
from lambda_src.settings import Settings
from lambda_src.startup import flags
from lambda_src.store.bounds import MAX_LIMIT
from lambda_src.store.ports import FeedbackStore, NewThreads
from lambda_src.store.usage import Usage
from lambda_src.turns.closing import translated
from lambda_src.turns.persistence import discard_thread

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files
    from lambda_src.support.desk import Desk

REMOVE_BATCH = 25  # concurrent deletes; half of a process's connections
ThreadItemUpdatedEvent.model_rebuild()  # complete, so that the adapter shares its serializer
DELTAS = TypeAdapter(ThreadItemUpdatedEvent)  # encodes directly to bytes
HANDED_OFF = NoticeEvent(
    level="info",
    title="A person will answer",
    message="Somebody from the team has been asked to join. You can go on writing here.",
)
NO_PERSON = "No person was asked"  # the title of a notice
RETRY_WINDOW = timedelta(minutes=16)  # as long as a turn can be resumed; after that the same key is a new message

log = logging.getLogger(__name__)


class ChatServer(ChatKitServer[RequestContext]):
    """ChatKit's server for one store and one agent. LazyChatServer validates requests before they get here.

    Without `files` there are no attachments, without `transcribe` no dictation, and without `suggest_title` a thread's
    title is the beginning of its first message. With `new_threads`, a new thread is stored together with its message;
    without, `store` stores them one by one. `quotas` counts what dictation uses. With `desk`, people answer where the
    assistant cannot.
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
        quotas: Quotas | None = None,
        desk: "Desk | None" = None,
    ) -> None:
        super().__init__(store)
        self._desk = desk
        self._dispatcher = dispatcher
        self.feedback = feedback
        self._new_threads = new_threads
        self.files, self.settings = files, settings or Settings()
        self._runs = Runs(dispatcher, store, files, self.settings)
        self._transcribe = transcribe
        self._suggest_title = suggest_title
        self._quotas = quotas

    async def answer(self, request: NonStreamingReq, context: RequestContext) -> bytes:
        """ChatKit's JSON response."""
        result = await self.process(request.model_dump_json(by_alias=True), context)
        assert isinstance(result, NonStreamingResult)
        return result.json

    async def events(self, request: StreamingReq, context: RequestContext) -> AsyncIterator[bytes]:
        """ChatKit's events, encoded for a text/event-stream. Nothing runs until the first one is requested.

        Bypasses ChatKit's process(), which builds a validator for every request: 5 ms (docs/explanation/speed.md).
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
        """The events of an answer. Without a message, continues the run with the result of a client tool or a form.

        None in a thread that waits for a person or has one. An agent that asked for a person gets one here.
        Errors of the model, the agent and the store are raised as CustomStreamError or StreamError with a message for
        the user.
        """
        naming: titles.Naming | None = None
        turn, desk = context.turn, self._desk
        if turn is not None:
            if turn.is_held:
                return
            turn.offers_people = desk is not None and context.user.assistant in desk.assistants
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
            if desk is not None and turn is not None and turn.wants_person:
                yield await self._handed_off(desk, thread, turn.id, context)
        except Exception as error:
            if naming is not None:
                await naming.use_what_has_come()  # a run that fails at once has not named its thread yet
            if desk is not None and not isinstance(error, BaseStreamError):
                await desk.note_failure(thread.id, error, context)
            raise stream_error(error, language=context.language) from error
        finally:
            if naming is not None:
                await naming.cancel()

    async def _handed_off(
        self, desk: "Desk", thread: ThreadMetadata, turn_id: str, context: RequestContext
    ) -> NoticeEvent:
        """Make the thread wait for a person, and return what the user is shown."""
        try:
            await desk.ask(thread.id, context, turn_id=turn_id)
        except (QuotaError, ConflictError) as refused:
            title = context.language.text(NO_PERSON)
            return NoticeEvent(level="warning", title=title, message=context.language.text_of(refused))
        return translated(HANDED_OFF, context.language)

    def _process_streaming_impl(
        self, request: StreamingReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Overrides upstream so that a new thread stays one object, a message's thread is not read again after
        validation, and a retry removes the old answer in batches.
        """
        if isinstance(request, ThreadsCreateReq):
            return self._created(request, context)
        if isinstance(request, ThreadsRetryAfterItemReq):
            return self._regenerated(request, context)
        if isinstance(request, ThreadsAddUserMessageReq) and (edited := edits.edited_item(request)) is not None:
            return self._edited(request, edited, context)
        ahead = None if context.turn is None else context.turn.ahead
        if isinstance(request, ThreadsAddUserMessageReq) and ahead is not None and ahead.thread is not None:
            return self._added(request, ahead.thread, context)
        return super()._process_streaming_impl(request, context)

    async def _build_user_message_item(
        self, input: UserMessageInput, thread: ThreadMetadata, context: RequestContext
    ) -> UserMessageItem:
        """Overrides upstream so that a request with an idempotency key always gives its message the same id."""
        item = await super()._build_user_message_item(input, thread, context)
        if context.turn is not None and context.turn.message_id is not None:
            item.id = context.turn.message_id
        return item

    async def _process_new_thread_item_respond(
        self, thread: ThreadMetadata, item: UserMessageItem, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Overrides upstream to bind files first, and to answer a message that an earlier attempt has already stored.

        That attempt of the request failed because the store's response was lost, so the message has not been answered.
        """
        await self._bind(item.attachments, context)
        if context.turn is not None:
            context.turn.is_stored = True
        try:
            await self.store.add_thread_item(thread.id, item, context=context)
        except ConflictError:
            existing = await self.store.load_item(thread.id, item.id, context=context)
            if isinstance(existing, UserMessageItem) and _is_retried(existing, item):
                item = existing
            else:  # the client used the key for another message
                item.id = self.store.generate_item_id("message", thread, context)
                await self.store.add_thread_item(thread.id, item, context=context)
        async with closed(self._answered(thread, item, context)) as events:
            async for event in events:
                yield event

    async def _bind(self, attachments: Iterable[Attachment], context: RequestContext) -> None:
        for attachment in attachments:
            if self.files is not None:
                await self.files.bind(attachment, context)
            await self.store.save_attachment(attachment, context=context)

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
        """Overrides upstream to continue with the object that was saved. Upstream continues with a new object that the
        store has never seen, so saving it would overwrite the user's changes.

        A thread whose first message could not be stored is deleted, unless a retry will continue it.
        """
        created = await self._create_at_once(request.params.input, context)
        thread = await self._new_thread(request.params.input, context) if created is None else created[0]
        is_stored = False
        try:
            yield ThreadCreatedEvent(thread=self._to_thread_response(thread))
            if created is not None:
                answered = self._answered(*created, context)
            else:
                message = await self._build_user_message_item(request.params.input, thread, context)
                answered = self._process_new_thread_item_respond(thread, message, context)
            async with closed(answered) as events:
                async for event in events:
                    is_stored = is_stored or isinstance(event, StreamOptionsEvent)
                    yield event
        except GeneratorExit:  # the turn is closed before it has begun: it discards the thread by itself
            raise
        except BaseException as error:  # also when cancelled
            if not is_stored:
                await self._discard_after(error, thread.id, request.params.input.attachments, context)
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
            await self._discard_after(error, thread.id, [], context)
            raise
        turn.is_stored = turn.is_registered
        return (thread, item) if turn.is_registered else None

    async def _discard_after(
        self, error: BaseException, thread_id: str, attachments: Sequence[str], context: RequestContext
    ) -> None:
        """Delete a new thread, unless a retry of the request after this `error` will continue it."""
        if context.turn is None or not context.turn.is_retried_after(error):
            await discard_thread(self.store, thread_id, attachments, context)

    async def _added(
        self, request: ThreadsAddUserMessageReq, thread: ThreadMetadata, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Overrides upstream to use the thread that validation has read."""
        message = await self._build_user_message_item(request.params.input, thread, context)
        async with closed(self._process_new_thread_item_respond(thread, message, context)) as events:
            async for event in events:
                yield event

    async def _edited(
        self, request: ThreadsAddUserMessageReq, edited: str, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Replace the user's last message under its id, and answer it. Nothing changes if the request is refused.

        The old answer is removed first. So if the process dies in between, no answer is below a text that is not its
        question, and the same request again completes the edit.
        """
        thread_id, store = request.params.thread_id, self.store
        thread = await store.load_thread(thread_id, context=context)
        old, answer = await edits.last_message(store, thread_id, edited, context)
        message = await self._build_user_message_item(request.params.input, thread, context)
        message.id, message.created_at = old.id, old.created_at
        await self._bind(message.attachments, context)
        removed = [item.id for item in answer]
        await self._remove(removed, thread_id, context)
        await store.save_item(thread_id, message, context=context)
        for item_id in removed:
            yield ThreadItemRemovedEvent(item_id=item_id)
        async with closed(self._answered(thread, message, context)) as events:
            async for event in events:
                yield event

    async def _regenerated(
        self, request: ThreadsRetryAfterItemReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        """Overrides upstream, which removes items one by one before its first event: 21 s for 2,500 items."""
        thread, message = await asyncio.gather(
            self.store.load_thread(request.params.thread_id, context=context),
            self.store.load_item(request.params.thread_id, request.params.item_id, context=context),
        )
        if not isinstance(message, UserMessageItem):
            raise ConflictError("Only your own messages can be answered again.")

        async def answered() -> AsyncIterator[ThreadStreamEvent]:
            try:
                await self._remove_after(message, context)
            except Exception as error:
                raise stream_error(error, language=context.language) from error
            async for event in self.respond(thread, message, context):
                yield event

        async with closed(self._process_events(thread, context, answered)) as events:
            async for event in events:
                yield event

    async def _remove_after(self, message: UserMessageItem, context: RequestContext) -> None:
        """Remove every item after the message, newest first. CustomStreamError if the message no longer exists."""
        newer: list[str] = []
        after = None
        while message.id not in newer:
            page = await self.store.load_thread_items(message.thread_id, after, MAX_LIMIT, "desc", context)
            newer += [item.id for item in page.data]
            if (after := page.after) is None and message.id not in newer:
                raise CustomStreamError("This message is no longer in the conversation. Reload it.")
        await self._remove(newer[: newer.index(message.id)], message.thread_id, context)

    async def _remove(self, newest_first: Sequence[str], thread_id: str, context: RequestContext) -> None:
        delete = partial(self.store.delete_thread_item, thread_id, context=context)
        for first in range(0, len(newest_first), REMOVE_BATCH):
            await asyncio.gather(*map(delete, newest_first[first : first + REMOVE_BATCH]))

    async def _new_thread(self, message: UserMessageInput, context: RequestContext) -> ThreadMetadata:
        """Save a new thread, or return the one that an earlier attempt of the request saved before it failed."""
        turn = context.turn
        if turn is not None and turn.thread_id is not None:
            thread = ThreadMetadata(id=turn.thread_id, created_at=datetime.now())
            try:
                await self.store.save_thread(thread, context=context)
            except NotFoundError:  # the earlier attempt's thread has been deleted
                pass
            except ConflictError:
                if (existing := await self._unanswered(turn.thread_id, turn.message_id, context)) is not None:
                    return existing
                if message.attachments:
                    raise ConflictError(
                        "This message has already been sent. To send it again, attach its files again."
                    ) from None
            else:
                return thread
        thread = ThreadMetadata(id=self.store.generate_thread_id(context), created_at=datetime.now())
        await self.store.save_thread(thread, context=context)
        return thread

    async def _unanswered(
        self, thread_id: str, message_id: str | None, context: RequestContext
    ) -> ThreadMetadata | None:
        """A recent thread that has at most this message; None if the client used the key for another message."""
        with suppress(NotFoundError):
            thread = await self.store.load_thread(thread_id, context=context)
            items = await self.store.load_thread_items(thread_id, None, 2, "asc", context)
            if _is_recent(thread.created_at) and [item.id for item in items.data] in ([], [message_id]):
                return thread
        return None

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        """Do nothing: turns/ stores the partial answer, in the same way for stop, deadline, crash and a newer turn."""

    def _update_pending_items(self, pending_items: dict[str, ThreadItem], event: ThreadItemUpdatedEvent) -> None:
        """Do nothing: upstream adds each word to the copy of the message that it hands to handle_stream_cancelled."""

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """See store_requests.add_feedback."""
        await store_requests.add_feedback(self.feedback, thread_id, item_ids, feedback, context)
        if self._desk is not None and feedback == "negative":
            await self._desk.note_thumbs_down(thread_id, item_ids, context)

    async def transcribe(self, audio_input: AudioInput, context: RequestContext) -> TranscriptionResult:
        """The recording as text. RequestError if dictation is not set up, UnavailableError if the model is down."""
        if self._transcribe is None:
            raise RequestError("Dictation is not set up on this server.")
        usage = Usage(failed=1, unsettled=1)
        try:
            transcript = await self._transcribe(audio_input)
            tokens_in, tokens_out = transcript.tokens_in, transcript.tokens_out
            is_settled = tokens_in is not None and tokens_out is not None
            usage = Usage(tokens_in=tokens_in or 0, tokens_out=tokens_out or 0, unsettled=int(not is_settled))
        except RequestError:
            usage = Usage(failed=1)  # the vendor did not accept the recording
            raise
        finally:
            if self._quotas is not None:
                with suppress(ChatError):  # then it counts as unsettled
                    await self._quotas.dictated(context, self.settings.dictation_model or DICTATION_MODEL, usage)
        return TranscriptionResult(text=transcript.text)

    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Run the function that is registered for the action. CustomStreamError if there is none or the payload is
        invalid.
        """
        try:
            await self._dispatcher.ensure_initialized()
        except Exception as error:
            raise stream_error(
                error, language=context.language
            ) from error  # without the action's name, which is not validated yet
        try:
            async for event in self._dispatcher.actions.stream(action, self._call(thread, action, sender, context)):
                yield event
        except RequestError as error:
            raise CustomStreamError(context.language.text_of(error)) from error
        except Exception as error:
            raise stream_error(error, "action_failed", language=context.language, action=action.type) from error

    async def sync_action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> SyncCustomActionResponse:
        """Run an action without a stream, and store its item before responding. RequestError, or ConflictError with the
        text of a CustomStreamError that the function raised.
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
            store_item = self.store.add_thread_item if sender is None else self.store.save_item
            await store_item(thread.id, item, context=context)
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
        """Upstream's wire format, but with a UTC offset on every time."""
        if isinstance(obj, ThreadItemUpdatedEvent) and isinstance(obj.update, AssistantMessageContentPartTextDelta):
            return DELTAS.dump_json(obj, by_alias=True, exclude_none=True)  # fast path: thousands per answer, no times
        return chatkit_json.encoded(obj)


def closed(events: AsyncIterator[ThreadStreamEvent]) -> "aclosing[AsyncGenerator[ThreadStreamEvent]]":
    """`aclosing` for events that ChatKit annotates as an iterator but that are a generator; a test checks that."""
    return aclosing(cast(AsyncGenerator[ThreadStreamEvent], events))


def _is_retried(existing: UserMessageItem, item: UserMessageItem) -> bool:
    """Whether the stored message is an earlier attempt to send `item`."""
    files, existing_files = ([attachment.id for attachment in message.attachments] for message in (item, existing))
    is_same = (existing.content, existing.quoted_text, existing_files) == (item.content, item.quoted_text, files)
    return is_same and _is_recent(existing.created_at)


def _is_recent(time: datetime) -> bool:
    """Whether a request of that time can still be retried."""
    return datetime.now(UTC) - time.replace(tzinfo=time.tzinfo or UTC) < RETRY_WINDOW
