"""The partial answer: fold a turn's events into its unfinished messages and activity. Pure: no store, no clock.

This is its only definition. It serves turns that were stopped, cut by the deadline, superseded or whose process died,
from the events sent or from the journal.
"""

import json
from collections.abc import Iterable
from typing import Any

from chatkit.types import AssistantMessageItem, WorkflowItem

from lambda_src.turns import activity

Unfinished = AssistantMessageItem | WorkflowItem

DONE = frozenset({"thread.item.done", "thread.item.removed", "thread.item.replaced"})
ITEM_ENDS_OR_BEGINS = tuple(f'data: {{"type":"{kind}"'.encode() for kind in ("thread.item.added", *sorted(DONE)))


def split(data: bytes) -> list[bytes]:
    """The complete events (`data: {...}\\n\\n`) in `data`, without an incomplete one at its end."""
    return [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]


def unfinished(events: Iterable[bytes]) -> list[Unfinished]:
    """The assistant messages and activity items that began and did not end, in order, as far as they came.

    Messages without text are left out. Activity items are ended. All have the ids of the events. An update of an item
    that was not added is ignored.
    """
    open_items: dict[str, dict[str, Any]] = {}
    for data in events:
        event = json.loads(data.removeprefix(b"data: "))
        match event["type"]:
            case "thread.item.added" if _is_kept(event["item"]):
                open_items[event["item"]["id"]] = event["item"]
            case "thread.item.updated" if event["item_id"] in open_items:
                _update(open_items[event["item_id"]], event["update"])
            case kind if kind in DONE:
                open_items.pop(event.get("item_id") or event["item"]["id"], None)
            case _:
                pass
    items: list[Unfinished] = []
    for raw in open_items.values():
        if raw["type"] == "workflow":
            items.append(activity.ended(WorkflowItem.model_validate(raw)))
            continue
        item = AssistantMessageItem.model_validate(raw)
        if any(part.text.strip() for part in item.content):
            items.append(item)
    return items


def _is_kept(item: dict[str, Any]) -> bool:
    return item["type"] == "assistant_message" or (
        item["type"] == "workflow" and str(item["id"]).startswith(activity.PREFIX)
    )


def left_open(events: Iterable[bytes]) -> list[str]:
    """The ids of all items, of any type, that were added and did not end."""
    open_ids: dict[str, None] = {}
    for data in events:
        if not data.startswith(ITEM_ENDS_OR_BEGINS):
            continue
        event = json.loads(data.removeprefix(b"data: "))
        if event["type"] == "thread.item.added":
            open_ids[event["item"]["id"]] = None
        else:
            open_ids.pop(event.get("item_id") or event["item"]["id"], None)
    return list(open_ids)


def _update(item: dict[str, Any], update: dict[str, Any]) -> None:
    """Apply one update to a message or an activity item, as ChatKit's own server does."""
    match item["type"], update["type"]:
        case "workflow", "workflow.task.added" | "workflow.task.updated":
            tasks, index = item["workflow"]["tasks"], update["task_index"]
            tasks[index : index + 1] = [update["task"]]
        case "assistant_message", str(kind) if kind.startswith("assistant_message."):
            _update_content(item["content"], update)
        case _:
            pass


def _update_content(content: list[dict[str, Any]], update: dict[str, Any]) -> None:
    index = update["content_index"]
    while len(content) <= index:
        content.append({"type": "output_text", "text": "", "annotations": []})
    match update["type"]:
        case "assistant_message.content_part.text_delta":
            content[index]["text"] += update["delta"]
        case "assistant_message.content_part.annotation_added":
            annotations = content[index].setdefault("annotations", [])
            annotations.insert(min(update["annotation_index"], len(annotations)), update["annotation"])
        case "assistant_message.content_part.added" | "assistant_message.content_part.done":
            content[index] = update["content"]
        case _:
            pass
