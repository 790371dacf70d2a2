"""The model's output on its way into the thread: own ids, an end for every item, images in files. Knows no store."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from chatkit.agents import ResponseStreamConverter
from chatkit.types import (
    AssistantMessageContentPartAdded,
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

from lambda_src.attachments.files import Files
from lambda_src.context import RequestContext

MESSAGE_UPDATE = "assistant_message."  # how the types of a message's updates begin
PARTIAL_IMAGES = 3  # what OpenAI's image tool sends at most; progress is counted against it


@dataclass(slots=True)
class _Open:
    own_id: str
    item: ThreadItem
    written: set[int] = field(default_factory=set)  # the parts of a message that have text


class Answer:
    """The events of one run, with ids of our own where the model chose them, and with an end for every item.

    stream_agent_response keeps the model's id for assistant messages and client tool calls. With Chat Completions and
    LiteLLM that id is a constant, so the second answer would replace the first (chatkit-python issue 36). An id is
    minted when an item is first seen, and again when the model opens a second item under an id that is done.

    Models and vendors also leave items open, repeat events and send them out of order; ChatKit passes all that on.
    """

    def __init__(self, thread_id: str, *, mint: Callable[[ThreadItem], str]) -> None:
        self._thread_id, self._mint = thread_id, mint
        self._open: dict[str, _Open] = {}  # by the model's id
        self._own_ids: dict[str, dict[str, None]] = {}
        self._done: dict[str, ThreadItem] = {}  # the last one done under each of the model's ids
        self._has_client_tool_call = False
        self.has_content = False  # something that the reader sees, other than reasoning
        self.has_reasoning = False

    @property
    def is_cut(self) -> bool:
        """Whether a message has text and no end."""
        return any(known.written for known in self._open.values())

    async def events(self, events: AsyncIterator[ThreadStreamEvent]) -> AsyncIterator[ThreadStreamEvent]:
        """The run's events. Items without text that are open when it ends or fails are closed."""
        try:
            async for event in events:
                if isinstance(event, ThreadItemUpdatedEvent):
                    known = self._open.get(event.item_id)
                    if known is None and event.update.type.startswith(MESSAGE_UPDATE):
                        if event.item_id in self._own_ids:
                            continue  # it is done: nothing can follow
                        if (known := self._open_message()) is None:
                            known = self._opened(event.item_id)
                            yield ThreadItemAddedEvent(item=known.item.model_copy(update={"id": known.own_id}))
                    if (updated := event if known is None else self._updated(known, event)) is not None:
                        yield updated
                    continue
                for own in self._handled(event):
                    yield own
        except Exception:
            for closing in self._closing():
                yield closing
            raise
        for closing in self._closing():
            yield closing

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
        known = self._open.get(item.id)
        match item:
            case WorkflowItem():
                if item.id in self._done:
                    return  # upstream ends one again that a quick tool began and ended before its first event was read
                if _is_empty(item):
                    yield from self._removed(item.id)
                    return
                self.has_reasoning = True
            case AssistantMessageItem():
                if known is None and item.id in self._done and _said(item) == _said(self._done[item.id]):
                    return  # sent twice
                if known is None and (known := self._open_message()) is not None:
                    item = item.model_copy(update={"id": known.item.id})
                if not _said(item):
                    if known is None or not known.written:
                        yield from self._removed(item.id)
                    return
                self.has_content = True
            case HiddenContextItem() | SDKHiddenContextItem():
                pass
            case _:
                self._has_client_tool_call |= isinstance(item, ClientToolCallItem)
                self.has_content = True
        self._done[item.id] = item
        yield event.model_copy(update={"item": self._own(item, done=True)})

    def _own(self, item: ThreadItem, *, done: bool) -> ThreadItem:
        known = self._open.get(item.id)
        if known is None:
            is_models = isinstance(item, AssistantMessageItem | ClientToolCallItem)  # else minted by our store already
            known = self._open[item.id] = _Open(self._mint(item) if is_models else item.id, item)
            self._own_ids.setdefault(item.id, {})[known.own_id] = None
        if done:
            del self._open[item.id]
        return item if known.own_id == item.id else item.model_copy(update={"id": known.own_id})

    def _open_message(self) -> _Open | None:
        """The message that is being written; a model writes one at a time, though not every vendor repeats its id."""
        return next((known for known in self._open.values() if isinstance(known.item, AssistantMessageItem)), None)

    def _opened(self, item_id: str) -> _Open:
        """A message whose text comes before its beginning, or without one."""
        item = AssistantMessageItem(id=item_id, thread_id=self._thread_id, created_at=datetime.now(), content=[])
        self._own(item, done=False)
        return self._open[item_id]

    def _updated(self, known: _Open, event: ThreadItemUpdatedEvent) -> ThreadItemUpdatedEvent | None:
        """The event under our id; None if it would empty a part that has text."""
        update = event.update
        match update:
            case AssistantMessageContentPartTextDelta():
                if update.content_index not in known.written and update.delta.strip():
                    known.written.add(update.content_index)
            case AssistantMessageContentPartAdded() | AssistantMessageContentPartDone():
                if update.content.text.strip():
                    known.written.add(update.content_index)
                elif update.content_index in known.written:
                    return None
            case GeneratedImageUpdated() if isinstance(known.item, GeneratedImageItem):
                known.item = known.item.model_copy(update={"image": update.image})
            case _:
                pass
        return event if known.own_id == event.item_id else event.model_copy(update={"item_id": known.own_id})

    def _removed(self, item_id: str) -> Iterator[ThreadStreamEvent]:
        if (known := self._open.pop(item_id, None)) is not None:
            yield ThreadItemRemovedEvent(item_id=known.own_id)

    def _closing(self) -> Iterator[ThreadStreamEvent]:
        """An end for what the run left open. Text without an end is left to turns/, which keeps it."""
        for item_id, known in list(self._open.items()):
            match known.item:
                case AssistantMessageItem() if not known.written:
                    yield from self._removed(item_id)
                case WorkflowItem() as item if not self._has_client_tool_call:  # else the next run continues it
                    if item.workflow.summary is None:
                        seconds = int((datetime.now() - item.created_at).total_seconds())
                        item.workflow.summary = DurationSummary(duration=seconds)
                    item.workflow.expanded = False
                    yield from self._ended(ThreadItemDoneEvent(item=item))
                case GeneratedImageItem(image=None):
                    yield from self._removed(item_id)
                case GeneratedImageItem() as item:  # a preview of one that failed
                    yield from self._ended(ThreadItemDoneEvent(item=item))
                case _:  # a tool's own
                    pass


def _said(item: ThreadItem) -> str:
    return "\n".join(part.text for part in item.content).strip() if isinstance(item, AssistantMessageItem) else ""


def _is_empty(item: WorkflowItem) -> bool:
    """Whether it says nothing but "Thought for 0 s": a model that does not show its reasoning."""
    summary = item.workflow.summary
    no_time = isinstance(summary, DurationSummary) and summary.duration == 0
    return item.workflow.type == "reasoning" and not item.workflow.tasks and no_time


@dataclass(slots=True)
class _Picture:
    own_id: str
    final: bool = False


@dataclass(slots=True)
class KeptImages(ResponseStreamConverter):
    """Generated images of one run, partial and final, in `files`: in an item they would be far past a row's size.

    `adopt` is given the id of each new image, so that it can be deleted with its thread. The model's ids are replaced,
    as they may be one constant: `renamed` does it for the events.
    """

    files: Files
    context: RequestContext
    adopt: Callable[[], Awaitable[str]]
    partial_images: int | None = PARTIAL_IMAGES
    _pictures: dict[str, _Picture] = field(default_factory=dict)

    async def base64_image_to_url(
        self, image_id: str, base64_image: str, partial_image_index: int | None = None
    ) -> str:
        """Keep the image and say where it can be seen for a while. ValueError: it is not base64."""
        picture = self._pictures.get(image_id)
        if picture is None or picture.final:
            picture = self._pictures[image_id] = _Picture(await self.adopt())
        await self.files.keep_image(picture.own_id, base64.b64decode(base64_image, validate=True), self.context)
        picture.final = partial_image_index is None
        return self.files.image_url(picture.own_id, self.context)

    async def renamed(self, events: AsyncIterator[ThreadStreamEvent]) -> AsyncIterator[ThreadStreamEvent]:
        """The events, with images under the ids they are kept by."""
        async for event in events:
            match event:
                case ThreadItemUpdatedEvent(update=GeneratedImageUpdated() as update):
                    image = self._renamed(update.image)
                    yield event.model_copy(update={"update": update.model_copy(update={"image": image})})
                case ThreadItemDoneEvent(item=GeneratedImageItem(image=GeneratedImage() as shown) as item):
                    image = self._renamed(shown)
                    yield event.model_copy(update={"item": item.model_copy(update={"image": image})})
                case _:
                    yield event

    def _renamed(self, image: GeneratedImage) -> GeneratedImage:
        picture = self._pictures.get(image.id)
        return image if picture is None else image.model_copy(update={"id": picture.own_id})
