"""Starts agent runs: loads history, applies the user's choices, resumes approved runs. Knows no HTTP and no row."""

import logging
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import openai
from agents import (
    Agent,
    Model,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    Runner,
    ToolErrorFormatterArgs,
    TResponseInputItem,
)
from chatkit.agents import AgentContext
from chatkit.errors import CustomStreamError
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    InferenceOptions,
    Page,
    ThreadItem,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)

from lambda_src.context import RequestContext
from lambda_src.models import providers as models
from lambda_src.models.errors import FailedError, FileKind, refused_files
from lambda_src.observability.faults import log_fault
from lambda_src.quotas.turn_limits import turn_limits
from lambda_src.runs import approvals, user_errors
from lambda_src.runs.conversion import HistoryConverter
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.mcp_servers import agents_of, note_tool_error
from lambda_src.runs.run_events import LAST_AGENT, RunEvents, Watching
from lambda_src.runs.tool_activity import ToolActivity
from lambda_src.settings import Settings
from lambda_src.startup import flags
from lambda_src.turns.activity import is_activity

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files

NO_CHOICES = InferenceOptions()

log = logging.getLogger(__name__)


class Runs:
    """Runs of one assistant."""

    def __init__(
        self,
        dispatcher: AgentDispatcher,
        store: Store[RequestContext],
        files: "Files | None",
        settings: Settings,
    ) -> None:
        self._dispatcher, self._store, self._files, self._settings = dispatcher, store, files, settings

    async def events(
        self, thread: ThreadMetadata, context: RequestContext, *, message: UserMessageItem | None
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """The events of one run over the newest items of the thread, or of the rest of a run that waited for approval.

        `message` is the user's new message, if the run answers one.
        """
        newest_first = await self._newest_first(thread, context, message)
        for closed in approvals.lapsed(newest_first):
            newest_first = [closed if item.id == closed.id else item for item in newest_first]
            yield ThreadItemReplacedEvent(item=closed)
        async with self._dispatcher.at_work() as agent:
            prepared = await self._prepared(agent, newest_first, thread, context)
            takes: Collection[FileKind] = self._settings.model_files
            while True:
                history = self._history(context, takes)
                run = await self._started(prepared, history)
                is_begun = prepared.held is not None  # an approved tool must not be called twice
                try:
                    async with aclosing(run.events()) as events:
                        async for event in events:
                            is_begun = True
                            yield event
                    return
                except (openai.APIError, FailedError) as error:
                    refused = set() if is_begun or run.has_responses else refused_files(error, history.shown)
                    if not refused:
                        raise
                    run.refused()
                    log_fault("file_refused", error, **user_errors.logged_of(error))
                    takes = [kind for kind in takes if kind not in refused]

    async def _newest_first(
        self, thread: ThreadMetadata, context: RequestContext, message: UserMessageItem | None
    ) -> list[ThreadItem]:
        ahead = None if context.turn is None or message is None else context.turn.ahead
        if ahead is not None:
            items = list(ahead.items)
        else:
            page = await self._store.load_thread_items(
                thread_id=thread.id, after=None, limit=self._settings.history_items, order="desc", context=context
            )
            items = page.data
        if message is None:
            return items
        for place, item in enumerate(items):  # items newer than the message belong to a newer turn
            if item.id == message.id:
                return items[place:]
        if ahead is not None:
            return [message, *items][: self._settings.history_items]
        before = await self._store.load_thread_items(
            thread.id, message.id, max(1, self._settings.history_items - 1), "desc", context
        )
        return [message, *before.data][: self._settings.history_items]

    async def _prepared(
        self, agent: Agent[Any], newest_first: Sequence[ThreadItem], thread: ThreadMetadata, context: RequestContext
    ) -> "_Prepared":
        starting, run_config = await with_choices(
            _newest_choices(newest_first),
            _last_agent(agent, thread),
            self._dispatcher.run_config,
            models=self._settings.models,
            tools=self._settings.tool_choices,
            context=self._agent_context(thread, context),
        )
        run_config = replace(
            models.for_user(run_config, context.user),
            group_id=thread.id,  # the SDK derives OpenAI's prompt_cache_key from it
            tool_not_found_behavior="return_error_to_model",
            tool_error_formatter=_log_tool_error,
        )
        run_config = models.capped(run_config, turn_limits(self._settings, context.user).output_tokens)
        held = await approvals.taken(newest_first, self._store, context)
        return _Prepared(agent, starting, run_config, held, newest_first, thread, context)

    async def _started(self, prepared: "_Prepared", history: HistoryConverter) -> RunEvents:
        """Start a run; a refused request that is sent again gets a new one."""
        newest_first, thread, context = prepared.newest_first, prepared.thread, prepared.context
        agent_context = self._agent_context(thread, context)
        watching = Watching(
            thread,
            context.turn,
            output_tokens=turn_limits(self._settings, context.user).reserved_output,
            activity=ToolActivity(self._settings.tool_activity, self._dispatcher.tool_titles, agent_context),
        )
        is_ahead = flags.is_on("ahead")
        is_whole = is_ahead and len(newest_first) < self._settings.history_items
        answering: Any = NewestItems(agent_context, newest_first if is_ahead else [], is_whole=is_whole)
        agent_context.store = answering
        if (held := prepared.held) is None:
            until = newest_first[0].id if newest_first else ""
            run = Runner.run_streamed(
                prepared.starting,
                await history.history_to_input(newest_first[::-1]),
                context=agent_context,
                run_config=prepared.run_config,
                hooks=watching,
            )
        else:
            until = held.until
            before = await self._shown_until(until, history, thread, context)
            state = await held.resumed(prepared.agent, before, agent_context)
            run = Runner.run_streamed(prepared.agent, state, run_config=prepared.run_config, hooks=watching)
        return RunEvents(run, watching, agent_context, until=until, files=self._files, store=self._store)

    def _agent_context(self, thread: ThreadMetadata, context: RequestContext) -> AgentContext[RequestContext]:
        return AgentContext(thread=thread, store=self._store, request_context=context)

    async def _shown_until(
        self, item_id: str, history: HistoryConverter, thread: ThreadMetadata, context: RequestContext
    ) -> list[TResponseInputItem]:
        """The input of a run for which `item_id` was the newest item. Raises CustomStreamError if that item is gone."""
        try:
            newest = await self._store.load_item(thread.id, item_id, context=context)
            before = await self._store.load_thread_items(
                thread.id, item_id, max(1, self._settings.history_items - 1), "desc", context
            )
        except NotFoundError as error:
            raise CustomStreamError(approvals.OVER) from error
        return await history.history_to_input([newest, *before.data][::-1])

    def _history(self, context: RequestContext, takes: Collection[FileKind]) -> HistoryConverter:
        most = turn_limits(self._settings, context.user).history_tokens
        if (files := self._files) is None:
            return HistoryConverter(max_tokens=most, takes=takes)

        async def read(file_id: str, max_bytes: int) -> bytes:
            return await files.read(file_id, context, max_bytes=max_bytes)

        return HistoryConverter(read=read, max_tokens=most, takes=takes, largest_bytes=files.largest_bytes)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The input of every attempt at a run. `starting` is the agent of a new run; `held` is a run that waited."""

    agent: Agent[Any]
    starting: Agent[Any]
    run_config: RunConfig
    held: approvals.Held | None
    newest_first: Sequence[ThreadItem]
    thread: ThreadMetadata
    context: RequestContext


def _last_agent(agent: Agent[Any], thread: ThreadMetadata) -> Agent[Any]:
    """The agent with which the thread continues: the target of its last handoff, or `agent` if that is gone."""
    name = thread.metadata.get(LAST_AGENT)
    return next((other for other in agents_of(agent) if other.name == name), agent) if name is not None else agent


def _log_tool_error(failed: ToolErrorFormatterArgs[Any]) -> None:
    """The SDK's formatter: logs the error and keeps the SDK's message, which has no details."""
    match failed.kind:
        case "tool_exception" if failed.error is not None:
            note_tool_error(failed.tool_name, failed.error, failed.run_context)
        case "tool_not_found":
            log.warning("tool_not_found")  # without its name: the model made it up
        case _:
            pass


class NewestItems:
    """A store that answers the first read of stream_agent_response from items that are already loaded.

    That read is for the thread's newest two items, to continue an open workflow. Activity items are left out, because
    they have ended. Then the context gets its store back.
    """

    def __init__(
        self, agent_context: AgentContext[RequestContext], newest_first: Sequence[ThreadItem], *, is_whole: bool
    ) -> None:
        self._agent_context, self._store = agent_context, agent_context.store
        self._newest_first, self._is_whole = newest_first, is_whole

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - delegates to the store
        return getattr(self._store, name)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        """The newest items as they were loaded; the store reads any other page."""
        self._agent_context.store = self._store
        newest_first = [item for item in self._newest_first if not is_activity(item)]
        is_known = self._is_whole or limit <= len(newest_first)
        if after is None and order == "desc" and is_known:
            return Page(data=newest_first[:limit], has_more=limit < len(newest_first))
        page = await self._store.load_thread_items(thread_id, after, limit, order, context)
        return page.model_copy(update={"data": [item for item in page.data if not is_activity(item)]})


def _newest_choices(newest_first: Iterable[ThreadItem]) -> InferenceOptions:
    """The model and tool that the user chose with the newest message.

    A turn without a message (the output of a client tool, a form) continues with the choices of the last one.
    """
    messages = (item for item in newest_first if isinstance(item, UserMessageItem))
    return next((message.inference_options for message in messages), NO_CHOICES)


async def with_choices(
    options: InferenceOptions,
    agent: Agent[Any],
    run_config: RunConfig,
    *,
    models: Sequence[str],
    tools: Collection[str],
    context: AgentContext[RequestContext],
) -> tuple[Agent[Any], RunConfig]:
    """The agent and the run configuration with the model and the tool that the user chose.

    CustomStreamError: the tool is not one of `tools`, or this agent does not have it. A model that is no longer offered
    (an old message's) is replaced by the default: the first of `models`, or, without a list, the agent's own. A run
    whose model is an object, as the demo's, keeps it.
    """
    name = options.model if options.model in models else next(iter(models), None)
    if name is not None and not isinstance(run_config.model, Model):
        run_config = replace(run_config, model=name)
    if options.tool_choice is None:
        return agent, run_config
    tool_name = options.tool_choice.id
    agent_tools = {tool.name for tool in await agent.get_all_tools(RunContextWrapper(context))}
    if tool_name not in tools or tool_name not in agent_tools:
        raise CustomStreamError("This assistant does not have the tool that was chosen.")
    settings = agent.model_settings.resolve(ModelSettings(tool_choice=tool_name))
    return agent.clone(model_settings=settings), run_config
