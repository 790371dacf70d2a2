"""Partial answers: the unfinished messages in a turn's journaled events, wherever the events end."""

import json
from collections.abc import Sequence
from typing import Any

from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
)
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.dev.store_contract.samples import ITEM_FIELDS, item_of
from lambda_src.turns.closing import encoded
from lambda_src.turns.partial_answer import left_open, split, unfinished


def sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def added(item_id: str, kind: str = "assistant_message", **extra: Any) -> bytes:
    item = {"id": item_id, "thread_id": "thr_1", "created_at": "2026-01-01T00:00:00Z", "type": kind, "content": []}
    return sse({"type": "thread.item.added", "item": item | extra})


def delta(item_id: str, text: str, index: int = 0) -> bytes:
    update = {"type": "assistant_message.content_part.text_delta", "content_index": index, "delta": text}
    return sse({"type": "thread.item.updated", "item_id": item_id, "update": update})


def finished(item_id: str) -> bytes:
    item = {"id": item_id, "thread_id": "thr_1", "created_at": "2026-01-01T00:00:00Z", "type": "assistant_message"}
    return sse({"type": "thread.item.done", "item": item | {"content": [{"type": "output_text", "text": "all"}]}})


def message_of(item: ThreadItem) -> AssistantMessageItem:
    assert isinstance(item, AssistantMessageItem)
    return item


def texts(items: Sequence[ThreadItem]) -> list[str]:
    return ["".join(part.text for part in message_of(item).content) for item in items]


def test_the_text_is_the_sum_of_the_deltas() -> None:
    items = unfinished([added("msg_1"), delta("msg_1", "one "), delta("msg_1", "two")])
    assert [(item.id, item.thread_id) for item in items] == [("msg_1", "thr_1")]
    assert texts(items) == ["one two"]


def test_finished_removed_and_empty_items_are_not_unfinished() -> None:
    events = [added("msg_1"), delta("msg_1", "x"), finished("msg_1")]
    events += [added("msg_2"), delta("msg_2", "x"), sse({"type": "thread.item.removed", "item_id": "msg_2"})]
    events += [added("msg_3"), delta("msg_3", " \n")]
    events += [added("wf_1", kind="workflow"), delta("msg_9", "never added")]
    assert unfinished(events) == []


def test_parts_annotations_and_other_events_are_applied_as_in_chatkit() -> None:
    source = {"type": "url", "url": "https://example.com/", "title": "T"}
    part = "assistant_message.content_part."
    updates = [
        {"type": part + "added", "content_index": 0, "content": {"type": "output_text", "text": "", "annotations": []}},
        {"type": part + "text_delta", "content_index": 1, "delta": "second"},
        {
            "type": part + "annotation_added",
            "content_index": 1,
            "annotation_index": 7,
            "annotation": {"source": source},
        },
        {"type": part + "done", "content_index": 0, "content": {"type": "output_text", "text": "first"}},
    ]
    events = [sse({"type": "thread.item.updated", "item_id": "msg_1", "update": update}) for update in updates]
    (item,) = unfinished([sse({"type": "stream_options"}), added("msg_1"), *events])
    content = message_of(item).content
    assert [part.text for part in content] == ["first", "second"]
    assert len(content[1].annotations) == 1
    assert isinstance(content[0], AssistantMessageContent)


@given(st.lists(st.text(max_size=20), max_size=20), st.integers(0, 10_000))
def test_truncated_bytes_yield_the_complete_events_before_the_cut(words: list[str], cut: int) -> None:
    events = [added("msg_1"), *(delta("msg_1", word) for word in words)]
    data = b"".join(events)[:cut]
    complete = split(data)
    assert complete == events[: len(complete)]
    assert sum(map(len, complete)) <= len(data)
    text = "".join(words[: max(0, len(complete) - 1)])
    assert texts(unfinished(complete)) == ([text] if text.strip() else [])


def test_an_item_of_any_type_is_open_from_added_to_done_replaced_or_removed() -> None:
    """Uses the wire encoding, because the scan looks at how an event begins."""
    items = [item_of(kind, f"item_{number}") for number, kind in enumerate(ITEM_FIELDS)]
    added_events = [encoded(ThreadItemAddedEvent(item=item)) for item in items]
    assert left_open(added_events) == [item.id for item in items]
    ends = [
        encoded(ThreadItemDoneEvent(item=items[0])),
        encoded(ThreadItemReplacedEvent(item=items[1])),
        encoded(ThreadItemRemovedEvent(item_id=items[2].id)),
    ]
    assert left_open([*added_events, *ends]) == [item.id for item in items[3:]]
