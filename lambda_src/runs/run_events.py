"""The events of one run: read from the Agents SDK, turned into ChatKit's, and ended. Knows no HTTP and no row."""

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
    ThreadMetadata,
    ThreadStreamEvent,
)
from openai.types import responses as r

from lambda_src.context import RequestContext, Turn
from lambda_src.errors import BROKEN_OFF, QuotaError, UnavailableError
from lambda_src.models.errors import CutError, ended_early
from lambda_src.runs import approvals, user_errors
from lambda_src.runs.conversion import Answer, KeptImages, Repairs, with_call_id
from lambda_src.runs.metered import Metered

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

NO_ANSWER = "The model sent an empty answer. Try again."
ONLY_REASONING = "The model stopped after its reasoning, without an answer. Try again."
CUT_NOTE = (
    "The answer above was cut off by a limit, not by the user. "
    "If the user asks to continue, continue exactly where it stops and repeat nothing."
)
MODEL_CHARS = 100  # of the name that a vendor gives its model, in the log
LAST_AGENT = "chat_agent"  # in a thread's metadata: the name of the agent that was handed over to last
TEXT = "response.output_text.delta"  # the type of the event of which there is one for each word
NAMING_THE_MODEL = frozenset({"response.created", "response.completed"})
RUN_STOPS_WITHIN_S = 1.0  # a cancelled run closes its connections; a tool that ignores it is left behind

log = logging.getLogger(__name__)


class Watching(Metered):
    """Metered, and notes which tools ran and which agent was handed over to."""

    def __init__(self, thread: ThreadMetadata, turn: Turn | None, *, output_tokens: int) -> None:
        super().__init__(turn, output_tokens=output_tokens)
        self._thread, self._noted = thread, turn
        self.watched |= NAMING_THE_MODEL

    async def on_event(self, event: TResponseStreamEvent) -> None:
        """As Metered; also notes which model answers."""
        if self._noted is not None and event.type in NAMING_THE_MODEL:
            named = getattr(getattr(event, "response", None), "model", None)  # some vendors leave the response out
            self._noted.model = str(named)[:MODEL_CHARS] if named else self._noted.model
        await super().on_event(event)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: object, tool: Tool) -> None:
        """The SDK's hook."""
        if self._noted is not None:
            self._noted.tools.append(tool.name)

    async def on_handoff(
        self, context: RunContextWrapper[Any], from_agent: AgentBase[Any], to_agent: AgentBase[Any]
    ) -> None:
        """The SDK's hook. ChatKit saves the thread when it changed; a client neither sees nor sets its metadata."""
        self._thread.metadata = {**self._thread.metadata, LAST_AGENT: to_agent.name}


class RunEvents:
    """One run's events as ChatKit's. `until` is the id of the item that the run answers.

    Generated images are kept in `files`, if there are any, and their rows in `rows`.
    """

    def __init__(
        self,
        run: RunResultStreaming,
        watching: Watching,
        agent_context: AgentContext[RequestContext],
        *,
        until: str,
        files: "Files | None",
        rows: Store[RequestContext],
    ) -> None:
        self._run, self._watching, self._agent_context, self._until = run, watching, agent_context, until
        images = self._converter = ResponseStreamConverter() if files is None else self._kept_images(files, rows)
        renamed = {"renamed": images.renamed} if isinstance(images, KeptImages) else {}
        self._answer = Answer(agent_context.thread.id, mint=self._mint, **renamed)

    @property
    def has_responses(self) -> bool:
        """Whether the model has answered a request of the run."""
        return bool(self._run.raw_responses)

    def refused(self) -> None:
        """The vendor refused the request unanswered: it costs nothing."""
        self._watching.refused()

    async def events(self) -> AsyncGenerator[ThreadStreamEvent]:
        """Each event as it comes, and an end for everything that the run leaves open. Raises what the run failed of."""
        answer, agent_context = self._answer, self._agent_context
        pulled = Pulled(self._run, self._watching)
        failure: Exception | None = None
        try:
            try:
                run = cast(RunResultStreaming, pulled)
                async for event in stream_agent_response(agent_context, run, converter=self._converter):
                    for own in answer.events_of(event):
                        yield own
            except Exception as error:  # noqa: BLE001 - raised below, when what is open has its end
                failure = error
            for closing in answer.closing():
                yield closing
            for last in self._last_events(failure, pulled.cut):
                yield last
        finally:
            await pulled.leave(agent_context)
            await _end(self._run)
            _count(self._run, pulled.cut, agent_context.request_context)

    def _last_events(self, failure: Exception | None, cut: CutError | None) -> Iterator[ThreadStreamEvent]:
        """What tells the reader how the run ended."""
        match failure:
            case None if cut is not None:
                yield from self._cut_events(cut)
            case None if self._run.interruptions:
                item_id, thread = self._agent_context.generate_id("message"), self._agent_context.thread
                for item in approvals.asked(self._run, until=self._until, item_id=item_id, thread=thread):
                    yield ThreadItemDoneEvent(item=item)
            case None:
                _check_whole(self._answer)
            case ModelRefusalError() if not self._answer.is_cut:
                log.info("model_refused")
                if not self._answer.has_content:
                    yield ThreadItemDoneEvent(item=self._message(failure.refusal))
            case QuotaError():  # between two steps of the run: what was said is whole
                log.info("quota_struck", extra={"limit": failure.limit})
                yield NoticeEvent(level="warning", title="Stopped here", message=str(failure))
            case _:
                raise failure

    def _cut_events(self, cut: CutError) -> Iterator[ThreadStreamEvent]:
        """The end of an answer that its vendor cut: its text is kept, and the model learns that it may continue."""
        has_words = self._answer.has_content or self._answer.is_cut
        for item in self._answer.unended():
            yield ThreadItemDoneEvent(item=item)
        if has_words:
            item_id, thread_id = self._agent_context.generate_id("message"), self._agent_context.thread.id
            note = HiddenContextItem(id=item_id, thread_id=thread_id, created_at=datetime.now(), content=CUT_NOTE)
            yield ThreadItemDoneEvent(item=note)
        yield user_errors.notice_of(cut, has_words=has_words)

    def _kept_images(self, files: "Files", rows: Store[RequestContext]) -> KeptImages:
        """Keeps pictures that the run makes as files of the thread, so that they are deleted with it."""
        thread, context = self._agent_context.thread, self._agent_context.request_context

        async def adopt() -> str:
            image_id = files.generate_attachment_id("image/png", context)
            row = FileAttachment(id=image_id, name=f"{image_id}.png", mime_type="image/png", thread_id=thread.id)
            await rows.save_attachment(row, context=context)
            return image_id

        return KeptImages(files, context, adopt)

    def _message(self, text: str) -> AssistantMessageItem:
        item_id, thread_id = self._agent_context.generate_id("message"), self._agent_context.thread.id
        content = [AssistantMessageContent(text=text)]
        return AssistantMessageItem(id=item_id, thread_id=thread_id, created_at=datetime.now(), content=content)

    def _mint(self, item: ThreadItem) -> str:
        return self._agent_context.generate_id("tool_call" if isinstance(item, ClientToolCallItem) else "message")


class Pulled:
    """A run's events for stream_agent_response, repaired for ChatKit, and pulled by one task.

    ChatKit makes a task for each event that it waits for, unless what it waits for is a future already: so a word of
    the answer costs a future only. The task reads text ahead of its reader and nothing else: the SDK begins no new step
    of a run before all events of the last one are read.

    A reader that is behind catches up: text that waits for it becomes one event.
    """

    def __init__(self, run: RunResultStreaming, metered: Metered) -> None:
        self._run, self._metered = run, metered
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: deque[StreamEvent] = deque()
        self._end: BaseException | None = None  # what the reader gets after the last event
        self._next: asyncio.Future[StreamEvent] | None = None  # what the reader was given last
        self._asked = asyncio.Event()  # set when the reader begins to wait
        self.cut: CutError | None = None  # why the vendor ended the answer early

    def stream_events(self) -> "Pulled":
        """The SDK's method: begins to read."""
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
        """The future that the reader waits for, if it waits."""
        return None if self._next is None or self._next.done() else self._next

    def _put(self, event: StreamEvent) -> None:
        if (waiting := self._waiting) is not None:
            waiting.set_result(event)
        elif self._ready and (joined := _joined(self._ready[-1], event)) is not None:
            self._ready[-1] = joined
        else:
            self._ready.append(event)

    async def _pull(self) -> None:
        """Read to the end. An answer that was cut ends without an error."""
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
        except (ModelBehaviorError, CutError) as error:
            failure = ended_early(error, event)
            if isinstance(failure, CutError):
                self.cut = failure
            else:
                end = failure
                end.__cause__ = error
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the reader raises it
            end = error
        self._end = end
        if (waiting := self._waiting) is not None:
            waiting.set_exception(end)

    async def leave(self, agent_context: AgentContext[RequestContext]) -> None:
        """Nobody reads any more: end the task, and the one in which ChatKit waits for events of tools.

        It leaves that one behind when its reader is cancelled, as by Stop (chatkit/agents.py, _merge_generators).
        """
        if self._task is None:
            return
        self._task.cancel()
        if self._next is not None and not self._next.cancel() and not self._next.cancelled():
            self._next.exception()  # else asyncio would log an error that nobody has read
        await agent_context.stream(ProgressUpdateEvent(text=""))


def _joined(last: StreamEvent, event: StreamEvent) -> StreamEvent | None:
    """One event with the text of both, if both are text of the same part."""
    if last.type != "raw_response_event" or event.type != "raw_response_event":
        return None
    first, second = last.data, event.data
    if not isinstance(first, r.ResponseTextDeltaEvent) or not isinstance(second, r.ResponseTextDeltaEvent):
        return None
    if (first.item_id, first.content_index) != (second.item_id, second.content_index):
        return None
    return RawResponsesStreamEvent(data=first.model_copy(update={"delta": first.delta + second.delta}))


def _count(run: RunResultStreaming, cut: CutError | None, context: RequestContext) -> None:
    """Charge the turn for what the vendor counted; if that is nothing, the turn is charged what it reserved."""
    usage = run.context_wrapper.usage
    tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
    if cut is not None:  # the SDK does not count an answer that it takes for a failure
        tokens_in, tokens_out = tokens_in + cut.tokens_in, tokens_out + cut.tokens_out
    if context.turn is not None and tokens_in + tokens_out:
        context.turn.used(tokens_in, tokens_out, cached=usage.input_tokens_details.cached_tokens or 0)


def _check_whole(answer: Answer) -> None:
    """Raise a sentence for the user if the run ended well, but its answer is missing or has no end."""
    if answer.is_cut:
        raise UnavailableError(BROKEN_OFF)
    if not answer.has_content:
        log.warning("empty_answer", extra={"has_reasoning": answer.has_reasoning})
        raise CustomStreamError(ONLY_REASONING if answer.has_reasoning else NO_ANSWER, allow_retry=True)


async def _end(run: RunResultStreaming) -> None:
    """Leave no run behind: stop it if it still goes on, and give it a bounded time to close its connections."""
    if run.is_complete and (run.run_loop_task is None or run.run_loop_task.done()):
        return
    run.cancel()
    if run.run_loop_task is not None:
        await asyncio.wait({run.run_loop_task}, timeout=RUN_STOPS_WITHIN_S)
