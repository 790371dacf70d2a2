"""ChatKit's hooks: what happens between a user's message and the answer. Knows no HTTP, no DynamoDB."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from agents import Runner, RunResultStreaming
from chatkit.actions import Action
from chatkit.agents import AgentContext, stream_agent_response
from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer
from chatkit.store import AttachmentStore, Store, StoreItemType
from chatkit.types import (
    AssistantMessageContentPartTextDelta,
    AudioInput,
    ClientToolCallItem,
    FeedbackKind,
    SyncCustomActionResponse,
    ThreadItem,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    TranscriptionResult,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
)
from pydantic import BaseModel
from pydantic_core import to_json

from lambda_src.context import RequestContext
from lambda_src.converter import HistoryConverter, with_own_ids
from lambda_src.dispatcher import AgentDispatcher
from lambda_src.errors import RequestError
from lambda_src.explain import stream_error
from lambda_src.store.ports import FeedbackStore

TITLE_CHARS = 50  # of the first message, as the title until somebody renames the thread
RUN_STOPS_WITHIN_S = 1.0  # a cancelled run closes its connections; a tool that ignores it is left behind

log = logging.getLogger(__name__)


class ChatServer(ChatKitServer[RequestContext]):
    """Answers every ChatKit request from one store and one agent."""

    def __init__(
        self,
        store: Store[RequestContext],
        dispatcher: AgentDispatcher,
        *,
        feedback: FeedbackStore,
        history_items: int,
        attachment_store: AttachmentStore[RequestContext] | None = None,
    ) -> None:
        super().__init__(store, attachment_store)
        self._dispatcher = dispatcher
        self._feedback = feedback
        self._history_items = history_items
        self._converter = HistoryConverter()

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        """The answer, event by event. Without a message the run goes on: a client tool's or a form's answer came in.

        Failures of model, agent and store leave as CustomStreamError or StreamError, with a text for the user.
        """
        if input_user_message is not None and not thread.title:
            thread.title = title_of(input_user_message)  # ChatKit saves what changed in this very object, and tells
        try:
            await self._dispatcher.ensure_initialized()
            page = await self.store.load_thread_items(
                thread_id=thread.id, after=None, limit=self._history_items, order="desc", context=context
            )
            shown = await self._converter.history_to_input(page.data[::-1])
            agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
            run = Runner.run_streamed(
                self._dispatcher.agent, shown, context=agent_context, run_config=self._dispatcher.run_config
            )
        except Exception as error:
            raise stream_error(error) from error
        try:
            events = stream_agent_response(agent_context, run)
            async for event in with_own_ids(events, mint=lambda item: self._mint(item, thread, context)):
                yield event
        except Exception as error:
            raise stream_error(error) from error
        finally:
            await _end(run)

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        """Nothing: what was said is kept by turns/, by one rule for a stop, a deadline, a crash and a newer turn."""

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """Kept, the last one of an item wins. NotFoundError when the thread is missing or someone else's."""
        await self._feedback.add_feedback(thread_id, item_ids, feedback, context)
        log.info("feedback", extra={"kind": feedback, "items": len(item_ids)})

    async def transcribe(self, audio_input: AudioInput, context: RequestContext) -> TranscriptionResult:
        """RequestError: dictation is not offered."""
        raise RequestError("Dictation is not set up on this server.")

    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """CustomStreamError: no action is known."""
        raise CustomStreamError(f"This button does nothing: nobody registered the action {action.type[:80]!r}.")
        yield  # what makes this an async generator, as ChatKit asks

    async def sync_action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> SyncCustomActionResponse:
        """RequestError: no action is known."""
        raise RequestError(f"Nobody registered the action {action.type[:80]!r}.")

    def _mint(self, item: ThreadItem, thread: ThreadMetadata, context: RequestContext) -> str:
        kind: StoreItemType = "tool_call" if isinstance(item, ClientToolCallItem) else "message"
        return self.store.generate_item_id(kind, thread, context)

    def _serialize(self, obj: BaseModel) -> bytes:
        """Upstream's wire format, with an offset on every time: a naive one would be read in the browser's own zone."""
        if isinstance(obj, ThreadItemUpdatedEvent) and isinstance(obj.update, AssistantMessageContentPartTextDelta):
            return super()._serialize(obj)  # the event of which there are thousands has no time in it
        plain = obj.model_dump(by_alias=True, exclude_none=True, context={"exclude_metadata": True})
        return to_json(_in_utc(plain))


def title_of(message: UserMessageItem) -> str | None:
    """The first TITLE_CHARS characters of what the user wrote, on one line; None when it has no words."""
    words: list[str] = []
    for part in message.content:
        match part:
            case UserMessageTextContent():
                words.append(part.text)
            case UserMessageTagContent():
                words.append(f"@{part.text}")
    text = " ".join(" ".join(words).split())
    return (text[:TITLE_CHARS].strip() + ("..." if len(text) > TITLE_CHARS else "")) or None


async def _end(run: RunResultStreaming) -> None:
    """Leave no run behind: stop it if it still goes on, and give it a bounded time to close its connections."""
    if run.is_complete and (run.run_loop_task is None or run.run_loop_task.done()):
        return
    run.cancel()
    if run.run_loop_task is not None:
        await asyncio.wait({run.run_loop_task}, timeout=RUN_STOPS_WITHIN_S)


def _in_utc(value: Any) -> Any:  # noqa: ANN401 - any JSON-like value
    """`value` with every datetime in UTC; naive means UTC here, since the process runs in it."""
    match value:
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case dict():
            return {key: _in_utc(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_utc(inner) for inner in value]
        case _:
            return value
