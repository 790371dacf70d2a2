"""The model's output on its way into the thread: ids of our own, and pictures kept as files. Knows no store."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import assert_never

from chatkit.agents import ResponseStreamConverter
from chatkit.types import (
    AssistantMessageItem,
    ClientEffectEvent,
    ClientToolCallItem,
    ErrorEvent,
    GeneratedImage,
    GeneratedImageItem,
    GeneratedImageUpdated,
    NoticeEvent,
    ProgressUpdateEvent,
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

PARTIAL_IMAGES = 3  # what OpenAI's image tool sends at most; progress is counted against it


async def with_own_ids(
    events: AsyncIterator[ThreadStreamEvent], *, mint: Callable[[ThreadItem], str]
) -> AsyncIterator[ThreadStreamEvent]:
    """The events of one run, with ids of our own where the model chose them.

    stream_agent_response keeps the model's id for assistant messages and client tool calls. With Chat Completions and
    LiteLLM that id is one constant, so the second answer would take the place of the first (chatkit-python issue 36).
    An id is minted when an item is first seen, and again when the model opens a second item under an id that is done.
    """
    ended_workflows: set[str] = set()
    open_ids: dict[str, str] = {}
    all_ids: dict[str, list[str]] = {}

    def own(item: ThreadItem, *, done: bool) -> ThreadItem:
        if not isinstance(item, AssistantMessageItem | ClientToolCallItem):
            return item  # minted by our store already
        if item.id not in open_ids:
            open_ids[item.id] = mint(item)
            all_ids.setdefault(item.id, []).append(open_ids[item.id])
        own_id = open_ids.pop(item.id) if done else open_ids[item.id]
        return item.model_copy(update={"id": own_id})

    async for event in events:
        match event:
            case ThreadItemAddedEvent():
                yield event.model_copy(update={"item": own(event.item, done=False)})
            case ThreadItemDoneEvent(item=WorkflowItem(id=workflow_id)) if workflow_id in ended_workflows:
                pass  # upstream ends one again that a quick tool began and ended before its first event was read
            case ThreadItemDoneEvent():
                if isinstance(event.item, WorkflowItem):
                    ended_workflows.add(event.item.id)
                yield event.model_copy(update={"item": own(event.item, done=True)})
            case ThreadItemUpdatedEvent():
                yield event.model_copy(update={"item_id": open_ids.get(event.item_id, event.item_id)})
            case ThreadItemRemovedEvent():
                for own_id in all_ids.get(event.item_id, [event.item_id]):
                    yield ThreadItemRemovedEvent(item_id=own_id)
            case (
                ThreadItemReplacedEvent()
                | ThreadCreatedEvent()
                | ThreadUpdatedEvent()
                | StreamOptionsEvent()
                | ProgressUpdateEvent()
                | ClientEffectEvent()
                | ErrorEvent()
                | NoticeEvent()
            ):
                yield event
            case _:
                assert_never(event)


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
