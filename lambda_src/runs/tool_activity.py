"""Shows the tool calls of a run: ChatKit events of a workflow item with one task per call. Knows no store and no HTTP.

The item is added with the first call, and ends before the next visible item (a message, a widget, a picture), or with
the run. So the calls between two visible items are one item of the thread, which is written once. If a tool shows an
item while others run, the calls of the others continue in a new item after it.

The item is not the context's `workflow_item`: tools that stream a workflow of their own work as if there were no
activity. A tool that does so is not shown twice: its task is removed.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypeGuard
from urllib.parse import urlsplit

from agents import Agent, AgentBase, Handoff, RunContextWrapper, Tool
from agents.exceptions import InputGuardrailTripwireTriggered, OutputGuardrailTripwireTriggered
from agents.tool_context import ToolContext
from chatkit.agents import AgentContext
from chatkit.types import (
    AssistantMessageItem,
    CustomTask,
    FileSource,
    FileTask,
    HiddenContextItem,
    ProgressUpdateEvent,
    SDKHiddenContextItem,
    SearchTask,
    Task,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    URLSource,
    Workflow,
    WorkflowItem,
    WorkflowTaskAdded,
    WorkflowTaskUpdated,
)
from pydantic import ConfigDict, Field

from lambda_src.context import RequestContext
from lambda_src.languages import Sentence
from lambda_src.runs.approvals import title_of, visible
from lambda_src.runs.assistants import TITLE_CHARS
from lambda_src.runs.tool_details import block, safe, short
from lambda_src.settings import ToolActivityMode
from lambda_src.turns.activity import PREFIX, ended

MOST_TASKS = 50  # in one item; further calls are not shown
MOST_CHARS = 40_000  # of arguments and results in one item; the tasks after that have titles only
LABELS = {"arguments": Sentence("Arguments"), "result": Sentence("Result")}
MOST_SOURCES = 10  # of one search
QUERY_CHARS = 200
URL_CHARS = 2_000
WEB_PAGE = re.compile(r"https?://[^\s/]+(/\S*)?", re.ASCII | re.IGNORECASE)
ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})
HOSTED = {  # types of a vendor's calls that no hook reports, and the names of their tools
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "mcp_call": "hosted_mcp",
}
HOSTED_TITLES = {
    "web_search": Sentence("Web search"),
    "file_search": Sentence("File search"),
    "code_interpreter": Sentence("Code interpreter"),
}

log = logging.getLogger(__name__)


class Step(ProgressUpdateEvent):
    """The beginning or end of a call, between the events that the tool streams itself. It is never sent."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    text: str = ""
    read: asyncio.Event = Field(default_factory=asyncio.Event)  # set once everything before it has been read
    call: str
    begins: bool
    task: Task | None = None
    details: str | None = None


class ToolActivity:
    """The activity of one run. Report calls with the async methods, and send what the other methods return.

    `titles` are titles by the name of a tool; other tools get one made from their name. Calls begin and end in the
    order of the context's events, so that a workflow which a tool streams is seen while its tool runs.
    """

    def __init__(
        self, mode: ToolActivityMode, titles: Mapping[str, str], agent_context: AgentContext[RequestContext]
    ) -> None:
        self._mode, self._titles, self._agent_context = mode, titles, agent_context
        self._language = agent_context.request_context.language
        self._item: WorkflowItem | None = None
        self._running: dict[str, int] = {}  # by call: the index of its task
        self._continued: dict[str, Task] = {}  # by call: the task that the next item begins with
        self._chars = 0
        self._steps: deque[Step] = deque()  # that have not been applied
        self._item_ids: list[str] = []
        self._begun: set[str] = set()  # other items that were added and have not ended
        self._unread: list[Step] = []  # for which a call waits
        self._has_reader = True

    async def tool_started(self, context: RunContextWrapper[Any], tool: Tool) -> None:
        """A tool of this process is about to run."""
        arguments = context.tool_arguments if isinstance(context, ToolContext) else None
        await self._begin(str(id(context)), CustomTask(title=self._title(tool.name)), self._blocks(arguments=arguments))

    async def tool_ended(self, context: RunContextWrapper[Any], result: object) -> None:
        """The tool that was started with the same context has returned. Waits until all that it sent has been read.

        Otherwise the model's next message could overtake it: ChatKit reads from tools and from the model at once.
        """
        step = Step(call=str(id(context)), begins=False, details=self._blocks(result=result))
        if self._has_reader:
            self._unread.append(step)
            await self._put(step)
            await step.read.wait()

    async def handed_off(self, source: AgentBase[Any], target: AgentBase[Any]) -> None:
        """The run continues with another agent."""
        call = f"handoff:{target.name}"
        await self._begin(call, CustomTask(title=self._title(_handoff_name(source, target))))
        await self._end(call)

    async def on_event(self, event: Any) -> None:  # noqa: ANN401 - a class of openai's; a vendor's may lack any field
        """A stream event of a type in ITEM_EVENTS: possibly the beginning or the end of a hosted tool's call."""
        item = getattr(event, "item", None)
        kind = str(getattr(item, "type", ""))
        if self._mode == "off" or kind not in HOSTED:
            return
        call = f"{kind}:{getattr(item, 'id', '')}"
        task = self._hosted_task(kind, item)
        await self._begin(call, task)
        if event.type == "response.output_item.done":
            await self._end(call, task)

    def ahead_of(self, event: ThreadStreamEvent) -> Iterator[ThreadStreamEvent]:
        """The events to send before `event`, which is not an update of an item; in place of it, if it is a Step."""
        match event:
            case Step():
                event.read.set()
                while any(step is event for step in self._steps):
                    yield from self._applied(self._steps.popleft())
            case ThreadItemAddedEvent(item=item) | ThreadItemDoneEvent(item=item):
                yield from self._before(item)
                if isinstance(event, ThreadItemAddedEvent):
                    self._begun.add(item.id)
                else:
                    self._begun.discard(item.id)
            case _:
                pass

    def behind(self) -> Iterator[ThreadStreamEvent]:
        """The events to send after the one that `ahead_of` was called with."""
        continued, self._continued = self._continued, {}
        if continued:
            yield self._begun_with([*continued.values()])
            self._running = {call: index for index, call in enumerate(continued)}

    def closing(self, failure: Exception | None) -> Iterator[ThreadStreamEvent]:
        """The last events of the run, which ended with `failure`, if any. After a guardrail, all items are removed."""
        if isinstance(failure, InputGuardrailTripwireTriggered | OutputGuardrailTripwireTriggered):
            for item_id in self._item_ids:
                yield ThreadItemRemovedEvent(item_id=item_id)
            return
        yield from self._all_applied()
        yield from self._ended(is_cut=True)

    def reader_left(self) -> None:
        """Let calls that wait for the reader of the context's events end, because nobody reads them any more."""
        self._has_reader = False
        for step in self._unread:
            step.read.set()

    def _title(self, tool: str) -> str:
        name = tool.rpartition("__")[2] or tool  # without the name of an MCP server
        if tool not in self._titles and tool in HOSTED_TITLES:
            return self._language.text(HOSTED_TITLES[tool])
        return self._titles.get(tool) or short(visible(title_of(name)), TITLE_CHARS)

    async def _begin(self, call: str, task: Task, details: str | None = None) -> None:
        await self._put(Step(call=call, begins=True, task=task, details=details))

    async def _end(self, call: str, task: Task | None = None, details: str | None = None) -> None:
        """End a call; `task` replaces its task."""
        await self._put(Step(call=call, begins=False, task=task, details=details))

    async def _put(self, step: Step) -> None:
        self._steps.append(step)
        await self._agent_context.stream(step)

    def _before(self, item: ThreadItem) -> Iterator[ThreadStreamEvent]:
        """The events before one that adds or ends another item of the run."""
        is_tools = isinstance(item, WorkflowItem) and item.workflow.type != "reasoning"
        is_models = isinstance(item, WorkflowItem | AssistantMessageItem) and not is_tools
        only = next(iter(self._running)) if len(self._running) == 1 else None  # of several calls, any may show the item
        if not is_tools:
            yield from self._all_applied()
        if item.id in self._begun or isinstance(item, HiddenContextItem | SDKHiddenContextItem):
            return
        if is_tools and only is not None:
            self._taken_out(only)  # its tool shows steps itself
        if not is_models:
            self._continued = {call: self._taken_out(call) for call in [*self._running] if call != only}
        yield from self._ended(is_cut=False)

    def _taken_out(self, call: str) -> Task:
        """The task of a running call, removed from the open item."""
        assert self._item is not None, "calls run in an open item"
        index = self._running.pop(call)
        self._running = {other: place - (place > index) for other, place in self._running.items()}
        return self._item.workflow.tasks.pop(index)

    def _all_applied(self) -> Iterator[ThreadStreamEvent]:
        while self._steps:
            yield from self._applied(self._steps.popleft())

    def _applied(self, step: Step) -> Iterator[ThreadStreamEvent]:
        """The event for a step; none if it is of a call that is not shown."""
        if self._mode == "off":
            return
        if not step.begins:
            index = self._running.pop(step.call, None)
            if index is None or self._item is None:
                return
            task = self._described(step.task or self._item.workflow.tasks[index], step, "complete")
            self._item.workflow.tasks[index] = task
            yield self._updated(WorkflowTaskUpdated(task_index=index, task=task))
        elif step.task is not None and step.call not in self._running:
            index = 0 if self._item is None else len(self._item.workflow.tasks)
            if index == MOST_TASKS:
                return
            self._running[step.call] = index
            task = self._described(step.task, step, "loading")
            if self._item is None:
                yield self._begun_with([task])
            else:
                self._item.workflow.tasks.append(task)
                yield self._updated(WorkflowTaskAdded(task_index=index, task=task))

    def _described(self, task: Task, step: Step, state: Literal["loading", "complete"]) -> Task:
        """The task in its new state, with the details of the step if there is room for them."""
        changes: dict[str, Any] = {"status_indicator": state}
        if isinstance(task, CustomTask) and step.details is not None and self._chars < MOST_CHARS:
            self._chars += len(step.details)
            changes["content"] = step.details if task.content is None else f"{task.content}\n\n{step.details}"
        return task.model_copy(update=changes)

    def _updated(self, update: WorkflowTaskAdded | WorkflowTaskUpdated) -> ThreadItemUpdatedEvent:
        assert self._item is not None, "only the open item is updated"
        return ThreadItemUpdatedEvent(item_id=self._item.id, update=update)

    def _begun_with(self, tasks: list[Task]) -> ThreadItemAddedEvent:
        """The event that adds a new item."""
        item_id, thread_id = PREFIX + self._agent_context.generate_id("workflow"), self._agent_context.thread.id
        self._item_ids.append(item_id)
        self._chars = sum(len(task.content or "") for task in tasks if isinstance(task, CustomTask))
        workflow = Workflow(type="custom", tasks=tasks)
        self._item = WorkflowItem(id=item_id, thread_id=thread_id, created_at=datetime.now(), workflow=workflow)
        return ThreadItemAddedEvent(item=self._item.model_copy(deep=True))

    def _blocks(self, **values: object) -> str | None:
        """Markdown with the values that are not None; None if details are not shown."""
        if self._mode != "full":
            return None
        try:
            blocks = [
                block(self._language.text(LABELS[name]), value) for name, value in values.items() if value is not None
            ]
        except Exception as error:  # noqa: BLE001 - a fence: a value of a tool may raise anything, and ends no run
            log.warning("activity_not_shown", extra={"error_type": type(error).__qualname__})
            return None
        return "\n\n".join(blocks) or None

    def _hosted_task(self, kind: str, item: Any) -> Task:  # noqa: ANN401 - as in on_event
        title = self._title(HOSTED[kind])
        match kind:
            case "web_search_call":
                return SearchTask(title=title, **self._search(getattr(item, "action", None)))
            case "file_search_call":
                results = _listed(getattr(item, "results", None)) if self._mode == "full" else []
                names = dict.fromkeys(_line(getattr(result, "filename", None)) for result in results)
                sources = [FileSource(title=name, filename=name) for name in names if name][:MOST_SOURCES]
                return FileTask(title=title, sources=sources)
            case "mcp_call":
                arguments = getattr(item, "arguments", None) or None
                result = getattr(item, "error", None) or getattr(item, "output", None)
                title = self._title(str(getattr(item, "name", None) or HOSTED[kind]))
            case _:
                arguments, result = getattr(item, "code", None) or None, getattr(item, "outputs", None)
        return CustomTask(title=title, content=self._blocks(arguments=arguments, result=result))

    def _search(self, action: Any) -> dict[str, Any]:  # noqa: ANN401 - as in on_event
        """The queries and sources of a web search, as fields of its task."""
        if self._mode != "full":
            return {}
        queries = [*_listed(getattr(action, "queries", None)), getattr(action, "query", None)]
        urls = [getattr(source, "url", None) for source in _listed(getattr(action, "sources", None))]
        urls += [getattr(action, "url", None)]
        lines = dict.fromkeys(filter(None, map(_line, queries)))
        links = dict.fromkeys(filter(_is_link, urls))
        return {
            "queries": [*lines][:MOST_SOURCES],
            "sources": [URLSource(title=urlsplit(link).netloc or link, url=link) for link in links][:MOST_SOURCES],
        }

    def _ended(self, *, is_cut: bool) -> Iterator[ThreadStreamEvent]:
        """The end of the open item. Calls that are still running count as complete, unless the run `is_cut`."""
        item, self._item = self._item, None
        self._running.clear()
        self._chars = 0
        if item is None:
            return
        if item.workflow.tasks:
            yield ThreadItemDoneEvent(item=ended(item, running="none" if is_cut else "complete"))
        else:
            self._item_ids.remove(item.id)
            yield ThreadItemRemovedEvent(item_id=item.id)


def _handoff_name(source: AgentBase[Any], target: AgentBase[Any]) -> str:
    """The name of the tool with which a model hands off to `target`."""
    handoffs = source.handoffs if isinstance(source, Agent) else []
    for handoff in handoffs:
        if isinstance(handoff, Handoff) and handoff.agent_name == target.name:
            return handoff.tool_name
    return Handoff.default_tool_name(target)


def _is_link(url: object) -> TypeGuard[str]:
    """Whether it is the URL of a page, without a secret."""
    return isinstance(url, str) and len(url) <= URL_CHARS and bool(WEB_PAGE.fullmatch(url)) and safe(url) == url


def _listed(value: object) -> list[Any]:
    return list(value)[: 2 * MOST_SOURCES] if isinstance(value, list | tuple) else []


def _line(value: object) -> str | None:
    """A query or a file name; None for anything else."""
    return short(safe(value), QUERY_CHARS) if isinstance(value, str) and value.strip() else None
