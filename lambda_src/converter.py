"""Thread items to the model's input, and the model's output to thread items. Knows no store, no HTTP.

One item that cannot be converted never ends a conversation: it becomes a sentence that says what it was.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import assert_never

from agents import TResponseInputItem
from chatkit.agents import ThreadItemConverter
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientEffectEvent,
    ClientToolCallItem,
    ErrorEvent,
    HiddenContextItem,
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
    UserMessageTagContent,
)
from openai.types.responses import ResponseInputTextParam
from openai.types.responses.response_input_item_param import Message


class HistoryConverter(ThreadItemConverter):
    """What the model is shown of a thread. Total: every item type, whatever its content, becomes input."""

    async def attachment_to_message_content(self, attachment: Attachment) -> ResponseInputTextParam:
        """The file's name and type: its bytes are not shown to the model yet."""
        return _said(f"[The user attached the file {attachment.name!r} ({attachment.mime_type}).]")

    async def tag_to_message_content(self, tag: UserMessageTagContent) -> ResponseInputTextParam:
        """What the mention @tag stands for, as the page sent it."""
        return _said(f"@{tag.text} stands for: {json.dumps(tag.data, ensure_ascii=False, default=str)}")

    async def hidden_context_to_input(
        self, item: HiddenContextItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Hidden context of any shape; upstream's takes text only."""
        if not isinstance(item.content, str):
            content = json.dumps(item.content, ensure_ascii=False, default=str)
            item = item.model_copy(update={"content": content})
        return await super().hidden_context_to_input(item)

    async def history_to_input(self, items: list[ThreadItem]) -> list[TResponseInputItem]:
        """`items` in the order of the thread, as one input for the model."""
        shown: list[TResponseInputItem] = []
        for item in items:
            try:
                shown += await self._thread_item_to_input_item(item, is_last_message=item is items[-1])
            except (TypeError, ValueError, NotImplementedError):
                unreadable = f"[An item of type {item.type} stands here that cannot be shown.]"
                shown.append(Message(type="message", role="user", content=[_said(unreadable)]))
        return shown


def _said(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)


async def with_own_ids(
    events: AsyncIterator[ThreadStreamEvent], *, mint: Callable[[ThreadItem], str]
) -> AsyncIterator[ThreadStreamEvent]:
    """The events of one run, with ids of our own where the model chose them.

    stream_agent_response keeps the model's id for assistant messages and client tool calls. With Chat Completions and
    LiteLLM that id is one constant, so the second answer would take the place of the first (chatkit-python issue 36).
    An id is minted when an item is first seen, and again when the model opens a second item under an id that is done.
    """
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
            case ThreadItemDoneEvent():
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
