"""Converts the Agents SDK's stream events of a run to ChatKit events, and closes open items. Knows no HTTP, no row."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from agents import (
    AgentBase,
    ModelRefusalError,
    RawResponsesStreamEvent,
    RunContextWrapper,
    RunResultStreaming,
    StreamEvent,
    Tool,
)
from agents.exceptions import ModelBehaviorError
from agents.items import TResponseStreamEvent
from chatkit.agents import AgentContext, ResponseStreamConverter, stream_agent_response
from chatkit.errors import CustomStreamError
from chatkit.store import Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    FileAttachment,
    HiddenContextItem,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
)
from openai.types import responses as r

from lambda_src.context import RequestContext, Turn
from lambda_src.errors import BROKEN_OFF, QuotaError, UnavailableError
from lambda_src.models.errors import CutError, FailedError, failure_in
from lambda_src.runs import approvals, user_errors
from lambda_src.runs.conversion import Answer, KeptImages, Repairs, with_call_id
from lambda_src.runs.metered import Metered
from lambda_src.runs.tool_activity import ITEM_EVENTS, Step, ToolActivity

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

STOPPED_HERE = "Stopped here"  # the title of a notice
NO_ANSWER = "The model sent an empty answer. Try again."
ONLY_REASONING = "The model stopped after its reasoning, without an answer. Try again."
CUT_NOTE = (
    "The answer above was cut off by a limit, not by the user. "
    "If the user asks to continue, continue exactly where it stops and repeat nothing."
)
MODEL_CHARS = 100  # of the vendor's model name, in the log
LAST_AGENT = "chat_agent"  # in a thread's metadata: the name of the target of the last handoff
TEXT = "response.output_text.delta"  # the type of the event that comes for every word
NAMING_THE_MODEL = frozenset({"response.created", "response.completed"})
RUN_STOPS_WITHIN_S = 1.0  # a cancelled run closes its connections; a tool that ignores the cancellation is abandoned

log = logging.getLogger(__name__)


class Watching(Metered):
    """Metered, and records the tools that ran and the target of a handoff. `activity` shows them."""

    def __init__(
        self, thread: ThreadMetadata, turn: Turn | None, *, output_tokens: int, activity: ToolActivity
    ) -> None:
        super().__init__(turn, output_tokens=output_tokens)
        self._thread, self._noted, self.activity = thread, turn, activity
        self.run: RunResultStreaming | None = None  # set once it has begun
        self.watched |= NAMING_THE_MODEL | ITEM_EVENTS

    async def on_event(self, event: TResponseStreamEvent) -> None:
        """As in Metered; also records the model's name, and shows hosted tools."""
        if event.type in ITEM_EVENTS:
            await self.activity.on_event(event)
        if self._noted is not None and event.type in NAMING_THE_MODEL:
            name = getattr(getattr(event, "response", None), "model", None)  # some vendors omit the response
            self._noted.model = str(name)[:MODEL_CHARS] if name else self._noted.model
        await super().on_event(event)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: object, tool: Tool) -> None:
        """The SDK's hook."""
        if self._noted is not None:
            self._noted.tools.append(tool.name)
        await self.activity.tool_started(context, tool)

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: AgentBase[Any], tool: Tool, result: object
    ) -> None:
        """The SDK's hook. Once the agent has asked for a person, the run ends after its tools, without the model."""
        await self.activity.tool_ended(context, result)
        if self._noted is not None and self._noted.wants_person and self.run is not None:
            self.run.cancel(mode="after_turn")

    async def on_handoff(
        self, context: RunContextWrapper[Any], from_agent: AgentBase[Any], to_agent: AgentBase[Any]
    ) -> None:
        """The SDK's hook. ChatKit saves the changed thread; clients can neither see nor set its metadata."""
        self._thread.metadata = {**self._thread.metadata, LAST_AGENT: to_agent.name}
        await self.activity.handed_off(from_agent, to_agent)


class RunEvents:
    """The events of one run as ChatKit events. `until` is the id of the item that the run answers.

    Generated images are stored in `files`, unless it is None, and their rows in `store`.
    """

    def __init__(
        self,
        run: RunResultStreaming,
        watching: Watching,
        agent_context: AgentContext[RequestContext],
        *,
        until: str,
        files: "Files | None",
        store: Store[RequestContext],
    ) -> None:
        self._run, self._watching, self._agent_context, self._until = run, watching, agent_context, until
        watching.run = run
        self._language = agent_context.request_context.language
        images = self._converter = ResponseStreamConverter() if files is None else self._kept_images(files, store)
        renamed = {"renamed": images.renamed} if isinstance(images, KeptImages) else {}
        self._answer = Answer(agent_context.thread.id, mint=self._mint, **renamed)

    @property
    def has_responses(self) -> bool:
        """Whether the model has answered a request of the run."""
        return bool(self._run.raw_responses)

    def refused(self) -> None:
        """The vendor refused the request, so it costs nothing."""
        self._watching.refused()

    async def events(self) -> AsyncGenerator[ThreadStreamEvent]:
        """The events as they arrive, and an end for every open item. Raises the error that ended the run, if any."""
        answer, agent_context, activity = self._answer, self._agent_context, self._watching.activity
        pulled = Pulled(self._run, self._watching)
        failure: Exception | None = None
        try:
            try:
                run = cast(RunResultStreaming, pulled)
                async for event in stream_agent_response(agent_context, run, converter=self._converter):
                    for own in answer.events_of(event):
                        if isinstance(own, ThreadItemUpdatedEvent):
                            yield own
                            continue
                        for call in activity.ahead_of(own):
                            yield call
                        if not isinstance(own, Step):
                            yield own
                        for call in activity.behind():
                            yield call
            except Exception as error:  # noqa: BLE001 - raised below, after open items are closed
                failure = error
            for closing in (*answer.closing(), *activity.closing(failure)):
                yield closing
            for last in self._last_events(failure, pulled.cut):
                yield last
        finally:
            activity.reader_left()
            await pulled.leave(agent_context)
            await _end(self._run)
            if pulled.cut is not None:
                self._watching.cut(pulled.cut.tokens_in + pulled.cut.tokens_out)
            _count(self._run, pulled.cut, agent_context.request_context)

    def _last_events(self, failure: Exception | None, cut: CutError | None) -> Iterator[ThreadStreamEvent]:
        """The events that explain how the run ended."""
        match failure:
            case None if cut is not None:
                yield from self._cut_events(cut)
            case None if self._run.interruptions:
                item_id, thread = self._agent_context.generate_id("message"), self._agent_context.thread
                for item in approvals.asked(
                    self._run, until=self._until, item_id=item_id, thread=thread, language=self._language
                ):
                    yield ThreadItemDoneEvent(item=item)
            case None if self._wants_person:
                pass  # a notice follows
            case None:
                _check_whole(self._answer)
            case ModelRefusalError() if not self._answer.is_cut:
                log.info("model_refused")
                if not self._answer.has_content:
                    yield ThreadItemDoneEvent(item=self._message(failure.refusal))
            case QuotaError():  # raised between two steps of the run, so the text is complete
                log.info("quota_struck", extra={"limit": failure.limit})
                title, message = self._language.text(STOPPED_HERE), self._language.text_of(failure)
                yield NoticeEvent(level="warning", title=title, message=message)
            case _:
                raise failure

    @property
    def _wants_person(self) -> bool:
        turn = self._agent_context.request_context.turn
        return turn is not None and turn.wants_person

    def _cut_events(self, cut: CutError) -> Iterator[ThreadStreamEvent]:
        """The end of an answer that the vendor cut: its text, a note for the model, and a notice for the user."""
        has_words = self._answer.has_content or self._answer.is_cut
        for item in self._answer.unended():
            yield ThreadItemDoneEvent(item=item)
        if has_words:
            item_id, thread_id = self._agent_context.generate_id("message"), self._agent_context.thread.id
            note = HiddenContextItem(id=item_id, thread_id=thread_id, created_at=datetime.now(), content=CUT_NOTE)
            yield ThreadItemDoneEvent(item=note)
        yield user_errors.notice_of(cut, has_words=has_words, language=self._language)

    def _kept_images(self, files: "Files", store: Store[RequestContext]) -> KeptImages:
        """A converter that stores generated images as files of the thread, so that they are deleted with it."""
        thread, context = self._agent_context.thread, self._agent_context.request_context

        async def new_id() -> str:
            image_id = files.generate_attachment_id("image/png", context)
            row = FileAttachment(id=image_id, name=f"{image_id}.png", mime_type="image/png", thread_id=thread.id)
            await store.save_attachment(row, context=context)
            return image_id

        return KeptImages(files, context, new_id)

    def _message(self, text: str) -> AssistantMessageItem:
        item_id, thread_id = self._agent_context.generate_id("message"), self._agent_context.thread.id
        content = [AssistantMessageContent(text=text)]
        return AssistantMessageItem(id=item_id, thread_id=thread_id, created_at=datetime.now(), content=content)

    def _mint(self, item: ThreadItem) -> str:
        return self._agent_context.generate_id("tool_call" if isinstance(item, ClientToolCallItem) else "message")


class Pulled:
    """A run's events for stream_agent_response: repaired for ChatKit, and read by a single task.

    ChatKit creates a task for each event that it waits for, unless it gets a future: so a word of the answer costs only
    a future. The task reads text ahead of its reader, but nothing else, because the SDK starts the next step of a run
    only when all events of the last one are read. If the reader is slow, waiting text is joined into one event.
    """

    def __init__(self, run: RunResultStreaming, metered: Metered) -> None:
        self._run, self._metered = run, metered
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: deque[StreamEvent] = deque()
        self._end: BaseException | None = None  # raised after the last event
        self._next: asyncio.Future[StreamEvent] | None = None  # the future that the reader got last
        self._asked = asyncio.Event()  # set when the reader begins to wait
        self.cut: CutError | None = None  # why the vendor ended the answer early

    def stream_events(self) -> "Pulled":
        """The SDK's method: starts reading."""
        self._task = asyncio.create_task(self._pull())
        return self

    def __aiter__(self) -> "Pulled":
        return self

    def __anext__(self) -> "asyncio.Future[StreamEvent]":
        """The next event, as a future."""
        following = self._next = self._loop.create_future()
        if self._ready:
            following.set_result(self._ready.popleft())
        elif self._end is not None:
            following.set_exception(self._end)
        else:
            self._asked.set()
        return following

    @property
    def _waiting(self) -> "asyncio.Future[StreamEvent] | None":
        """The future that the reader is waiting for, if any."""
        return None if self._next is None or self._next.done() else self._next

    def _put(self, event: StreamEvent) -> None:
        if (waiting := self._waiting) is not None:
            waiting.set_result(event)
        elif self._ready and (joined := _joined(self._ready[-1], event)) is not None:
            self._ready[-1] = joined
        else:
            self._ready.append(event)

    async def _pull(self) -> None:
        """Read to the end. An answer that the vendor cut ends without an error."""
        repairs, watched = Repairs().by_type, self._metered.watched
        event: StreamEvent | None = None
        end: BaseException = StopAsyncIteration()
        try:
            async for event in self._run.stream_events():
                if event.type == "raw_response_event":
                    data = event.data
                    if data.type in watched:
                        await self._metered.on_event(data)
                    if (repair := repairs.get(data.type)) is not None:
                        if (repaired := repair(data)) is None:
                            continue
                        if repaired is not data:
                            event = RawResponsesStreamEvent(data=repaired)
                    self._put(event)
                    if data.type == TEXT:
                        continue
                elif event.type == "run_item_stream_event":
                    self._put(cast(StreamEvent, with_call_id(event)))
                else:
                    self._put(event)
                self._asked.clear()
                if self._waiting is None:
                    await self._asked.wait()
        except CutError as error:
            self.cut = error
        except ModelBehaviorError as error:
            match failure_in(getattr(event, "data", None)):
                case CutError() as cut:
                    self.cut = cut
                case None:
                    end = error
                case FailedError() as failed:
                    end = failed
                    end.__cause__ = error
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised by the reader
            end = error
        self._end = end
        if (waiting := self._waiting) is not None:
            waiting.set_exception(end)

    async def leave(self, agent_context: AgentContext[RequestContext]) -> None:
        """End the reading task, and the task in which ChatKit waits for events of tools.

        ChatKit does not end its task when its reader is cancelled (chatkit/agents.py, _merge_generators).
        """
        if self._task is None:
            return
        self._task.cancel()
        if self._next is not None and not self._next.cancel() and not self._next.cancelled():
            self._next.exception()  # otherwise asyncio would log an unread error
        await agent_context.stream(ProgressUpdateEvent(text=""))


def _joined(last: StreamEvent, event: StreamEvent) -> StreamEvent | None:
    """One event with the text of both, if both belong to the same part of a message."""
    if last.type != "raw_response_event" or event.type != "raw_response_event":
        return None
    first, second = last.data, event.data
    if not isinstance(first, r.ResponseTextDeltaEvent) or not isinstance(second, r.ResponseTextDeltaEvent):
        return None
    if (first.item_id, first.content_index) != (second.item_id, second.content_index):
        return None
    return RawResponsesStreamEvent(data=first.model_copy(update={"delta": first.delta + second.delta}))


def _count(run: RunResultStreaming, cut: CutError | None, context: RequestContext) -> None:
    """Add the vendor's token counts to the turn. If there are none, the turn costs what it reserved."""
    usage = run.context_wrapper.usage
    tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
    if cut is not None:  # the SDK treats it as a failure and does not count it
        tokens_in, tokens_out = tokens_in + cut.tokens_in, tokens_out + cut.tokens_out
    if context.turn is not None and tokens_in + tokens_out:
        context.turn.used(tokens_in, tokens_out, cached=usage.input_tokens_details.cached_tokens or 0)


def _check_whole(answer: Answer) -> None:
    """Raise an error with a sentence for the user if the run succeeded without a complete answer."""
    if answer.is_cut:
        raise UnavailableError(BROKEN_OFF)
    if not answer.has_content:
        log.warning("empty_answer", extra={"has_reasoning": answer.has_reasoning})
        raise CustomStreamError(ONLY_REASONING if answer.has_reasoning else NO_ANSWER, allow_retry=True)


async def _end(run: RunResultStreaming) -> None:
    """Cancel the run if it is still active, and wait a bounded time until its connections are closed."""
    if run.is_complete and (run.run_loop_task is None or run.run_loop_task.done()):
        return
    run.cancel()
    if run.run_loop_task is not None:
        await asyncio.wait({run.run_loop_task}, timeout=RUN_STOPS_WITHIN_S)
