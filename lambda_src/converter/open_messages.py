"""The assistant messages that a run has begun and not ended, with the text they have so far. Pure; knows no store.

A vendor that stops at a limit may end its stream without ending the message.
"""

from collections.abc import Iterator, Sequence

from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartAnnotationAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)


class OpenMessages:
    """Follows a run's events. Copies what ChatKit's server changes later: items and their content."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[AssistantMessageItem, list[ThreadItemUpdatedEvent]]] = {}

    def see(self, event: ThreadStreamEvent) -> None:
        """Take note of one event."""
        match event:
            case ThreadItemUpdatedEvent():
                if event.item_id in self._open:
                    is_delta = isinstance(event.update, AssistantMessageContentPartTextDelta)
                    self._open[event.item_id][1].append(event if is_delta else event.model_copy(deep=True))
            case ThreadItemAddedEvent(item=AssistantMessageItem() as item):
                self._open[item.id] = (item.model_copy(deep=True), [])
            case ThreadItemDoneEvent():
                self._open.pop(event.item.id, None)
            case ThreadItemRemovedEvent():
                self._open.pop(event.item_id, None)
            case _:
                pass

    def ended(self) -> Iterator[AssistantMessageItem]:
        """The open messages, with the text that the reader has seen."""
        for item, updates in self._open.values():
            yield item.model_copy(update={"content": written(item.content, updates)})


def written(
    content: Sequence[AssistantMessageContent], updates: Sequence[ThreadItemUpdatedEvent]
) -> list[AssistantMessageContent]:
    """The content of a message after its updates, as ChatKit's client shows it."""
    parts = [part.model_copy(deep=True) for part in content]
    for event in updates:
        update = event.update
        if isinstance(
            update,
            AssistantMessageContentPartAdded
            | AssistantMessageContentPartDone
            | AssistantMessageContentPartTextDelta
            | AssistantMessageContentPartAnnotationAdded,
        ):
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
