"""Gives a run's output items unique ids, and an end for every item that is open. Pure; knows no store."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartAnnotationAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ClientEffectEvent,
    ClientToolCallItem,
    DurationSummary,
    ErrorEvent,
    GeneratedImage,
    GeneratedImageItem,
    GeneratedImageUpdated,
    HiddenContextItem,
    NoticeEvent,
    ProgressUpdateEvent,
    SDKHiddenContextItem,
    StreamOptionsEvent,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    ThreadUpdatedEvent,
    WorkflowItem,
)

MessageUpdate = (
    AssistantMessageContentPartTextDelta  # first: isinstance tries them in order, and this one comes for every word
    | AssistantMessageContentPartAdded
    | AssistantMessageContentPartAnnotationAdded
    | AssistantMessageContentPartDone
)


@dataclass(slots=True)
class _Open:
    own_id: str
    item: ThreadItem
    updates: list[MessageUpdate] = field(default_factory=list)  # of a message, since it was added

    def content(self) -> list[AssistantMessageContent]:
        """The parts of a message with all updates applied, as clients display them; empty for other items."""
        if not isinstance(self.item, AssistantMessageItem):
            return []
        parts = [part.model_copy(deep=True) for part in self.item.content]
        for update in self.updates:
            while len(parts) <= update.content_index:
                parts.append(AssistantMessageContent(text=""))
            part = parts[update.content_index]
            match update:
                case AssistantMessageContentPartTextDelta():
                    part.text += update.delta
                case AssistantMessageContentPartAnnotationAdded():
                    part.annotations.insert(update.annotation_index, update.annotation)
                case _:
                    parts[update.content_index] = update.content.model_copy(deep=True)
        return parts

    @property
    def has_text(self) -> bool:
        return any(part.text.strip() for part in self.content())


class Answer:
    """The events of one run, with our own ids instead of the model's, and with an end for every item.

    Give every event of the run to `events_of`, and when the run has ended or failed, call `closing`.

    stream_agent_response keeps the model's id for assistant messages and client tool calls. With Chat Completions and
    LiteLLM that id is a constant, so the second answer would replace the first (chatkit-python issue 36). An id is
    minted when an item is first seen, and again when the model opens a second item under an id that is done.

    Models and vendors also leave items open, repeat events and send them out of order; ChatKit passes all that on.
    """

    def __init__(
        self,
        thread_id: str,
        *,
        mint: Callable[[ThreadItem], str],
        renamed: Callable[[GeneratedImage], GeneratedImage] = lambda image: image,
    ) -> None:
        """`renamed` returns a generated image under the id of the file that it is kept in."""
        self._thread_id, self._mint, self._renamed = thread_id, mint, renamed
        self._open: dict[str, _Open] = {}  # by the model's id
        self._own_ids: dict[str, dict[str, None]] = {}
        self._done: dict[str, ThreadItem] = {}  # the last one done under each of the model's ids
        self._has_client_tool_call = False
        self.has_content = False  # something visible other than reasoning
        self.has_reasoning = False

    @property
    def is_cut(self) -> bool:
        """Whether a message has text but no end."""
        return any(opened.has_text for opened in self._open.values())

    def unended(self) -> Iterator[AssistantMessageItem]:
        """The messages without an end, with the text that was streamed."""
        for opened in self._open.values():
            if isinstance(opened.item, AssistantMessageItem):
                yield opened.item.model_copy(update={"id": opened.own_id, "content": opened.content()})

    def events_of(self, event: ThreadStreamEvent) -> Iterable[ThreadStreamEvent]:
        """The events to send for an event of the run: usually one, which may be the same object with our id."""
        return self._updated(event) if isinstance(event, ThreadItemUpdatedEvent) else self._handled(event)

    def _handled(self, event: ThreadStreamEvent) -> Iterator[ThreadStreamEvent]:
        match event:
            case ThreadItemAddedEvent():
                if event.item.id not in self._open:
                    yield event.model_copy(update={"item": self._own(event.item, done=False)})
            case ThreadItemDoneEvent():
                yield from self._ended(event)
            case ThreadItemRemovedEvent():
                self._open.pop(event.item_id, None)
                for own_id in self._own_ids.get(event.item_id, [event.item_id]):
                    yield ThreadItemRemovedEvent(item_id=own_id)
            case ThreadItemReplacedEvent() | ClientEffectEvent() | ErrorEvent() | NoticeEvent():
                self.has_content = True
                yield event
            case (
                ThreadItemUpdatedEvent()
                | ThreadCreatedEvent()
                | ThreadUpdatedEvent()
                | StreamOptionsEvent()
                | ProgressUpdateEvent()
            ):
                yield event
            case _:
                assert_never(event)

    def _ended(self, event: ThreadItemDoneEvent) -> Iterator[ThreadStreamEvent]:
        item = event.item
        opened = self._open.get(item.id)
        match item:
            case WorkflowItem():
                if item.id in self._done:
                    return  # upstream ends a workflow twice if a fast tool ends it before its first event is read
                if _is_empty(item):
                    yield from self._removed(item.id)
                    return
                self.has_reasoning = True
            case AssistantMessageItem():
                if opened is None and item.id in self._done and _said(item) == _said(self._done[item.id]):
                    return  # sent twice
                if opened is None and (opened := self._open_message()) is not None:
                    item = item.model_copy(update={"id": opened.item.id})
                if not _said(item):
                    if opened is None or not opened.has_text:
                        yield from self._removed(item.id)
                    return
                self.has_content = True
            case HiddenContextItem() | SDKHiddenContextItem():
                pass
            case _:
                if isinstance(item, GeneratedImageItem) and item.image is not None:
                    item = item.model_copy(update={"image": self._renamed(item.image)})
                self._has_client_tool_call |= isinstance(item, ClientToolCallItem)
                self.has_content = True
        self._done[item.id] = item
        yield event.model_copy(update={"item": self._own(item, done=True)})

    def _own(self, item: ThreadItem, *, done: bool) -> ThreadItem:
        opened = self._open.get(item.id)
        if opened is None:
            is_models = isinstance(item, AssistantMessageItem | ClientToolCallItem)  # else minted by our store already
            opened = self._open[item.id] = _Open(self._mint(item) if is_models else item.id, item)
            self._own_ids.setdefault(item.id, {})[opened.own_id] = None
        if done:
            del self._open[item.id]
        return item if opened.own_id == item.id else item.model_copy(update={"id": opened.own_id})

    def _open_message(self) -> _Open | None:
        """The message in progress. Models write one at a time, but not every vendor repeats its id."""
        return next((opened for opened in self._open.values() if isinstance(opened.item, AssistantMessageItem)), None)

    def _opened(self, item_id: str) -> _Open:
        """Open a message whose text arrives before its beginning, or without one."""
        item = AssistantMessageItem(id=item_id, thread_id=self._thread_id, created_at=datetime.now(), content=[])
        self._own(item, done=False)
        return self._open[item_id]

    def _updated(self, event: ThreadItemUpdatedEvent) -> tuple[ThreadStreamEvent, ...]:
        """The event with our id. Most are text deltas, which are neither copied nor inspected."""
        update, opened = event.update, self._open.get(event.item_id)
        if isinstance(update, MessageUpdate):
            added: tuple[ThreadStreamEvent, ...] = ()
            if opened is None:
                if event.item_id in self._own_ids:
                    return ()  # the item has ended
                if (opened := self._open_message()) is None:
                    opened = self._opened(event.item_id)
                    added = (ThreadItemAddedEvent(item=opened.item.model_copy(update={"id": opened.own_id})),)
            if not isinstance(update, AssistantMessageContentPartTextDelta):
                if _would_empty(opened, update):
                    return added
                update = update.model_copy(deep=True)  # ChatKit's server modifies the text of the original
            opened.updates.append(update)
            event.item_id = opened.own_id  # in place: nobody else uses the event
            return (*added, event)
        if isinstance(update, GeneratedImageUpdated):
            update = update.model_copy(update={"image": self._renamed(update.image)})
            event = event.model_copy(update={"update": update})
            if opened is not None and isinstance(opened.item, GeneratedImageItem):
                opened.item = opened.item.model_copy(update={"image": update.image})
        if opened is not None and opened.own_id != event.item_id:
            event = event.model_copy(update={"item_id": opened.own_id})
        return (event,)

    def _removed(self, item_id: str) -> Iterator[ThreadStreamEvent]:
        if (opened := self._open.pop(item_id, None)) is not None:
            yield ThreadItemRemovedEvent(item_id=opened.own_id)

    def closing(self) -> Iterator[ThreadStreamEvent]:
        """The ends of items that a finished or failed run left open. The turn stores text that has no end."""
        for item_id, opened in list(self._open.items()):
            match opened.item:
                case AssistantMessageItem() if not opened.has_text:
                    yield from self._removed(item_id)
                case WorkflowItem() as item if not self._has_client_tool_call:  # otherwise the next run continues it
                    if item.workflow.summary is None:
                        seconds = int((datetime.now() - item.created_at).total_seconds())
                        item.workflow.summary = DurationSummary(duration=seconds)
                    item.workflow.expanded = False
                    yield from self._ended(ThreadItemDoneEvent(item=item))
                case GeneratedImageItem(image=None):
                    yield from self._removed(item_id)
                case GeneratedImageItem() as item:  # the preview of an image that failed
                    yield from self._ended(ThreadItemDoneEvent(item=item))
                case _:  # created by a tool
                    pass


def _would_empty(opened: _Open, update: MessageUpdate) -> bool:
    """Whether the update would delete the text of its part."""
    if isinstance(update, AssistantMessageContentPartAdded | AssistantMessageContentPartDone) and not (
        update.content.text.strip()
    ):
        parts = opened.content()
        return update.content_index < len(parts) and bool(parts[update.content_index].text.strip())
    return False


def _said(item: ThreadItem) -> str:
    return "\n".join(part.text for part in item.content).strip() if isinstance(item, AssistantMessageItem) else ""


def _is_empty(item: WorkflowItem) -> bool:
    """Whether it would read "Thought for 0 s" only, as for models that do not show their reasoning."""
    summary = item.workflow.summary
    no_time = isinstance(summary, DurationSummary) and summary.duration == 0
    return item.workflow.type == "reasoning" and not item.workflow.tasks and no_time
