"""One run of the agent over a thread: what it is shown, what comes of it, how it ends. Knows no HTTP and no row."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import openai
from agents import (
    Agent,
    AgentBase,
    ModelRefusalError,
    RawResponsesStreamEvent,
    RunContextWrapper,
    Runner,
    RunResultStreaming,
    RunState,
    StreamEvent,
    Tool,
    ToolErrorFormatterArgs,
    TResponseInputItem,
)
from agents.exceptions import ModelBehaviorError
from agents.items import TResponseStreamEvent
from chatkit.agents import AgentContext, ResponseStreamConverter, stream_agent_response
from chatkit.errors import CustomStreamError
from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    FileAttachment,
    HiddenContextItem,
    NoticeEvent,
    Page,
    ProgressUpdateEvent,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from openai.types import responses as r

from lambda_src import approvals, choices, explain, models
from lambda_src.context import RequestContext, Turn
from lambda_src.converter import Answer, HistoryConverter, KeptImages, OpenMessages, Repairs, with_call_id
from lambda_src.dispatcher import AgentDispatcher
from lambda_src.errors import BROKEN_OFF, QuotaError, UnavailableError
from lambda_src.faults import log_fault
from lambda_src.metered import Metered
from lambda_src.model_errors import FILE_KINDS, CutError, FailedError, FileKind, ended_early, refused_files
from lambda_src.startup import flags
from lambda_src.tool_servers import agents_of, note_tool_error
from lambda_src.turn_limits import LimitsByUser

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
NAMING_THE_MODEL = frozenset({"response.created", "response.completed"})
RUN_STOPS_WITHIN_S = 1.0  # a cancelled run closes its connections; a tool that ignores it is left behind


log = logging.getLogger(__name__)


class Runs:
    """Runs of one assistant. `store` gives live URLs, `rows` is the same without; `files` where there are any."""

    def __init__(
        self,
        dispatcher: AgentDispatcher,
        store: Store[RequestContext],
        rows: Store[RequestContext],
        files: "Files | None",
        *,
        history_items: int,
        limits: LimitsByUser,
        models: Sequence[str],
        tool_choices: Sequence[str],
        takes: Collection[FileKind] = FILE_KINDS,
    ) -> None:
        """`takes` are the kinds of file that the model can read; the others become a sentence."""
        self._dispatcher, self._store, self._rows, self._files = dispatcher, store, rows, files
        self._takes = takes
        self._history_items, self._limits = history_items, limits
        self._models, self._tool_choices = models, tool_choices

    async def events(
        self, thread: ThreadMetadata, context: RequestContext, *, message: UserMessageItem | None
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """One run over the newest items of the thread; or of one that waited for an approval, the rest of it.

        `message` is what the user has just said, if that is what is answered.
        """
        newest_first = await self._newest_first(thread, context, message)
        for closed in approvals.lapsed(newest_first):
            newest_first = [closed if item.id == closed.id else item for item in newest_first]
            yield ThreadItemReplacedEvent(item=closed)
        async with (
            self._dispatcher.at_work() as agent,
            aclosing(self._run(agent, newest_first, thread, context)) as events,
        ):
            async for event in events:
                yield event

    async def _newest_first(
        self, thread: ThreadMetadata, context: RequestContext, message: UserMessageItem | None
    ) -> list[ThreadItem]:
        ahead = None if context.turn is None or message is None else context.turn.ahead
        if ahead is not None:
            items = list(ahead.items)
        else:
            page = await self._store.load_thread_items(
                thread_id=thread.id, after=None, limit=self._history_items, order="desc", context=context
            )
            items = page.data
        if message is None:
            return items
        for place, item in enumerate(items):  # what is newer than the message belongs to a newer turn
            if item.id == message.id:
                return items[place:]
        if ahead is not None:
            return [message, *items][: self._history_items]
        before = await self._store.load_thread_items(
            thread.id, message.id, max(1, self._history_items - 1), "desc", context
        )
        return [message, *before.data][: self._history_items]

    async def _run(
        self, agent: Agent[Any], newest_first: Sequence[ThreadItem], thread: ThreadMetadata, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent]:
        starting, run_config = await choices.applied(
            choices.options_of(newest_first),
            _last_agent(agent, thread),
            self._dispatcher.run_config,
            models=self._models,
            tools=self._tool_choices,
            context=self._agent_context(thread, context),
        )
        run_config = replace(
            models.for_user(run_config, context.user),
            group_id=thread.id,  # of which the SDK makes OpenAI's prompt_cache_key
            tool_not_found_behavior="return_error_to_model",
            tool_error_formatter=_log_tool_error,
        )
        run_config = models.capped(run_config, self._limits.of(context.user).output_tokens)
        held = await approvals.taken(newest_first, self._store, context)
        takes = self._takes
        while True:
            history = self._history(context, takes)
            output_tokens = self._limits.of(context.user).reserved_output
            watching = Watching(thread, context.turn, output_tokens=output_tokens)
            agent_context = self._agent_context(thread, context)
            if flags.is_on("ahead"):
                is_whole = len(newest_first) < self._history_items
                answering: Any = NewestItems(agent_context, newest_first, is_whole=is_whole)
                agent_context.store = answering
            until = newest_first[0].id if newest_first else ""
            if held is None:
                shown: list[TResponseInputItem] | RunState[Any, Any]
                shown = await history.history_to_input(newest_first[::-1])
                run = Runner.run_streamed(starting, shown, context=agent_context, run_config=run_config, hooks=watching)
            else:
                until = held.until
                before = await self._shown_until(until, history, thread, context)
                shown = await held.resumed(agent, before, agent_context)
                run = Runner.run_streamed(agent, shown, run_config=run_config, hooks=watching)
            is_begun = held is not None  # an approved tool must not be called twice
            try:
                async with aclosing(self._events_of_run(run, watching, agent_context, until)) as events:
                    async for event in events:
                        is_begun = True
                        yield event
                return
            except (openai.APIError, FailedError) as error:
                refused = set() if is_begun or run.raw_responses else refused_files(error, history.shown)
                if not refused:
                    raise
                watching.refused()
                log_fault("file_refused", error, **explain.logged_of(error))
                takes = [kind for kind in takes if kind not in refused]

    def _agent_context(self, thread: ThreadMetadata, context: RequestContext) -> AgentContext[RequestContext]:
        return AgentContext(thread=thread, store=self._store, request_context=context)

    async def _events_of_run(
        self, run: RunResultStreaming, metered: Metered, agent_context: AgentContext[RequestContext], until: str
    ) -> AsyncGenerator[ThreadStreamEvent]:
        thread, context = agent_context.thread, agent_context.request_context
        pulled, open_messages = Pulled(run, metered), OpenMessages()
        events = self._events_of(agent_context, cast(RunResultStreaming, pulled))
        answer = Answer(thread.id, mint=lambda item: self._mint(item, thread, context))
        try:
            async for event in answer.events(events):
                open_messages.see(event)
                yield event
            if pulled.cut is not None:
                for event in self._cut_events(pulled.cut, answer, open_messages, agent_context):
                    yield event
            elif run.interruptions:
                item_id = self._store.generate_item_id("message", thread, context)
                for item in approvals.asked(run, until=until, item_id=item_id, thread=thread):
                    yield ThreadItemDoneEvent(item=item)
            else:
                _check_whole(answer)
        except ModelRefusalError as refused:
            if answer.is_cut:
                raise
            log.info("model_refused")
            if not answer.has_content:
                yield ThreadItemDoneEvent(item=self._message(refused.refusal, thread, context))
        except QuotaError as spent:  # between two steps of the run: what was said is whole
            log.info("quota_struck", extra={"limit": spent.limit})
            yield NoticeEvent(level="warning", title="Stopped here", message=str(spent))
        finally:
            await pulled.leave(agent_context)
            await _end(run)
            _count(run, pulled.cut, context)

    def _cut_events(
        self,
        cut: CutError,
        answer: Answer,
        open_messages: OpenMessages,
        agent_context: AgentContext[RequestContext],
    ) -> Iterator[ThreadStreamEvent]:
        """The end of an answer that its vendor cut: its text is kept, and the model learns that it may continue."""
        thread, context = agent_context.thread, agent_context.request_context
        for item in open_messages.ended():
            yield ThreadItemDoneEvent(item=item)
        has_words = answer.has_content or answer.is_cut
        if has_words:
            item_id = self._store.generate_item_id("message", thread, context)
            note = HiddenContextItem(id=item_id, thread_id=thread.id, created_at=datetime.now(), content=CUT_NOTE)
            yield ThreadItemDoneEvent(item=note)
        yield explain.notice_of(cut, has_words=has_words)

    async def _shown_until(
        self, item_id: str, history: HistoryConverter, thread: ThreadMetadata, context: RequestContext
    ) -> list[TResponseInputItem]:
        """What a run was shown when `item_id` was the newest item. CustomStreamError: it is not there any more."""
        try:
            newest = await self._store.load_item(thread.id, item_id, context=context)
            before = await self._store.load_thread_items(
                thread.id, item_id, max(1, self._history_items - 1), "desc", context
            )
        except NotFoundError as error:
            raise CustomStreamError(approvals.OVER) from error
        return await history.history_to_input([newest, *before.data][::-1])

    def _history(self, context: RequestContext, takes: Collection[FileKind]) -> HistoryConverter:
        most = self._limits.of(context.user).history_tokens
        if (files := self._files) is None:
            return HistoryConverter(max_tokens=most, takes=takes)

        async def read(file_id: str, max_bytes: int) -> bytes:
            return await files.read(file_id, context, max_bytes=max_bytes)

        return HistoryConverter(read=read, max_tokens=most, takes=takes, largest_bytes=files.largest_bytes)

    def _events_of(
        self, agent_context: AgentContext[RequestContext], run: RunResultStreaming
    ) -> AsyncIterator[ThreadStreamEvent]:
        """The run's events; pictures it makes are kept as files of the thread, so that they are deleted with it."""
        if (files := self._files) is None:
            return stream_agent_response(agent_context, run, converter=ResponseStreamConverter())
        thread, context = agent_context.thread, agent_context.request_context

        async def adopt() -> str:
            image_id = files.generate_attachment_id("image/png", context)
            row = FileAttachment(id=image_id, name=f"{image_id}.png", mime_type="image/png", thread_id=thread.id)
            await self._rows.save_attachment(row, context=context)
            return image_id

        images = KeptImages(files, context, adopt)
        return images.renamed(stream_agent_response(agent_context, run, converter=images))

    def _message(self, text: str, thread: ThreadMetadata, context: RequestContext) -> AssistantMessageItem:
        item_id = self._store.generate_item_id("message", thread, context)
        content = [AssistantMessageContent(text=text)]
        return AssistantMessageItem(id=item_id, thread_id=thread.id, created_at=datetime.now(), content=content)

    def _mint(self, item: ThreadItem, thread: ThreadMetadata, context: RequestContext) -> str:
        kind: StoreItemType = "tool_call" if isinstance(item, ClientToolCallItem) else "message"
        return self._store.generate_item_id(kind, thread, context)


def _last_agent(agent: Agent[Any], thread: ThreadMetadata) -> Agent[Any]:
    """The agent with which the thread continues: the last that was handed over to, or `agent` if it is gone."""
    name = thread.metadata.get(LAST_AGENT)
    return next((one for one in agents_of(agent) if one.name == name), agent) if name is not None else agent


def _log_tool_error(failed: ToolErrorFormatterArgs[Any]) -> None:
    """The SDK's formatter: logs the error and keeps the SDK's message, which tells the model nothing of it."""
    match failed.kind:
        case "tool_exception" if failed.error is not None:
            note_tool_error(failed.tool_name, failed.error, failed.run_context)
        case "tool_not_found":
            log.warning("tool_not_found")  # without its name: the model made it up
        case _:
            pass


class Watching(Metered):
    """Metered, and notes which tools ran and which agent was handed over to."""

    def __init__(self, thread: ThreadMetadata, turn: Turn | None, *, output_tokens: int) -> None:
        super().__init__(turn, output_tokens=output_tokens)
        self._thread, self._noted = thread, turn
        self.watched |= NAMING_THE_MODEL

    async def on_event(self, event: TResponseStreamEvent) -> None:
        """As Metered; also notes which model answers."""
        if self._noted is not None and isinstance(event, r.ResponseCreatedEvent | r.ResponseCompletedEvent):
            named = getattr(event.response, "model", None)  # some vendors leave the response out
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


class NewestItems:
    """A context's store that answers what stream_agent_response reads first from items that were just read.

    It reads the thread's newest two items, to continue an open workflow. After that the context has its store back.
    """

    def __init__(
        self, agent_context: AgentContext[RequestContext], newest_first: Sequence[ThreadItem], *, is_whole: bool
    ) -> None:
        self._agent_context, self._store = agent_context, agent_context.store
        self._newest_first, self._is_whole = newest_first, is_whole

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all the rest is the store's own
        return getattr(self._store, name)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """The newest items as they were read; any other page is the store's."""
        self._agent_context.store = self._store
        is_known = self._is_whole or limit <= len(self._newest_first)
        if after is None and order == "desc" and is_known:
            return Page(data=[*self._newest_first[:limit]], has_more=limit < len(self._newest_first))
        return await self._store.load_thread_items(thread_id, after, limit, order, context)


class Pulled:
    """A run's events, as stream_agent_response asks for them: each from a task of its own.

    Cancelled, as by Stop, it leaves two tasks behind (chatkit/agents.py, _merge_generators): the last of these, and one
    that waits for an event of a tool's. For each of them asyncio would log an error, whenever it is collected.
    """

    def __init__(self, run: RunResultStreaming, metered: Metered) -> None:
        self._run, self._metered = run, metered
        self._puller: asyncio.Task[Any] | None = None
        self.cut: CutError | None = None  # why the vendor ended the answer early

    async def stream_events(self) -> AsyncGenerator[StreamEvent]:
        """The run's own, with the model's events repaired for ChatKit. An answer that was cut ends without an error."""
        self._puller = asyncio.current_task()
        repairs, watched = Repairs().by_type, self._metered.watched
        event: StreamEvent | None = None
        try:
            async for event in self._run.stream_events():
                if event.type == "raw_response_event" and event.data.type in watched:
                    await self._metered.on_event(event.data)
                if event.type == "raw_response_event" and (repair := repairs.get(event.data.type)) is not None:
                    if (data := repair(event.data)) is None:
                        continue
                    if data is not event.data:
                        event = RawResponsesStreamEvent(data=data)
                elif event.type == "run_item_stream_event":
                    event = cast(StreamEvent, with_call_id(event))
                yield event
                self._puller = asyncio.current_task()
        except (ModelBehaviorError, CutError) as error:
            failure = ended_early(error, event)
            if not isinstance(failure, CutError):
                raise failure from error
            self.cut = failure

    async def leave(self, agent_context: AgentContext[RequestContext]) -> None:
        """Nobody pulls any more: let both tasks end, and nobody ask how."""
        if self._puller is not None:
            self._puller.add_done_callback(lambda task: task.cancelled() or task.exception())
            await agent_context.stream(ProgressUpdateEvent(text=""))


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
