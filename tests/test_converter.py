"""The converter: every item reaches the model, every id is ours."""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count

import pytest
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    FileAttachment,
    HiddenContextItem,
    InferenceOptions,
    NoticeEvent,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
)

from lambda_src.converter import HistoryConverter, with_own_ids

NOW = datetime(2026, 1, 1)
BASE = {"id": "msg_1", "thread_id": "thr_1", "created_at": NOW}


def assistant(item_id: str, text: str = "hi") -> AssistantMessageItem:
    return AssistantMessageItem(
        id=item_id, thread_id="thr_1", created_at=NOW, content=[AssistantMessageContent(text=text)]
    )


def user(text: str, **extra: object) -> UserMessageItem:
    return UserMessageItem.model_validate(
        {**BASE, "content": [UserMessageTextContent(text=text)], "inference_options": InferenceOptions(), **extra}
    )


def hidden(content: object) -> HiddenContextItem:
    return HiddenContextItem(id="msg_1", thread_id="thr_1", created_at=NOW, content=content)


@pytest.mark.parametrize("content", ["plain", {"a": [1, None]}, 7, None, object()])
async def test_hidden_context_of_any_shape_reaches_the_model(content: object) -> None:
    shown = await HistoryConverter().history_to_input([hidden(content)])
    assert len(shown) == 1


async def test_attachments_and_tags_do_not_end_the_conversation() -> None:
    item = user(
        "look",
        attachments=[FileAttachment(id="atc_1", name="plan.pdf", mime_type="application/pdf")],
        content=[UserMessageTagContent(id="t", text="Ann", data={"role": "boss"})],
    )
    shown = str(await HistoryConverter().history_to_input([item]))
    assert "plan.pdf" in shown
    assert "boss" in shown


async def test_one_item_that_cannot_be_converted_becomes_a_sentence() -> None:
    class Brittle(HistoryConverter):
        async def assistant_message_to_input(self, item: AssistantMessageItem) -> None:
            raise ValueError(item.id)

    shown = await Brittle().history_to_input([user("a"), assistant("msg_2"), user("b")])
    assert "cannot be shown" in str(shown[1])
    assert len(shown) == 3


async def rewritten(*events: ThreadStreamEvent) -> list[ThreadStreamEvent]:
    async def run() -> AsyncIterator[ThreadStreamEvent]:
        for event in events:
            yield event

    numbers = count(1)
    return [event async for event in with_own_ids(run(), mint=lambda _: f"own_{next(numbers)}")]


def delta(item_id: str) -> ThreadItemUpdatedEvent:
    update = AssistantMessageContentPartTextDelta(content_index=0, delta="x")
    return ThreadItemUpdatedEvent(item_id=item_id, update=update)


def ids(events: list[ThreadStreamEvent]) -> list[str]:
    named: list[str] = []
    for event in events:
        match event:
            case ThreadItemAddedEvent() | ThreadItemDoneEvent():
                named.append(event.item.id)
            case ThreadItemUpdatedEvent() | ThreadItemRemovedEvent():
                named.append(event.item_id)
    return named


async def test_the_models_id_is_replaced_alike_in_every_event() -> None:
    item: ThreadItem = assistant("__fake_id__")
    events = await rewritten(ThreadItemAddedEvent(item=item), delta("__fake_id__"), ThreadItemDoneEvent(item=item))
    assert ids(events) == ["own_1", "own_1", "own_1"]
    assert item.id == "__fake_id__", "the SDK's own object is left alone"


async def test_two_messages_of_one_run_under_one_constant_id_become_two() -> None:
    item = assistant("__fake_id__")
    one: list[ThreadStreamEvent] = [
        ThreadItemAddedEvent(item=item),
        delta("__fake_id__"),
        ThreadItemDoneEvent(item=item),
    ]
    assert ids(await rewritten(*one, *one)) == ["own_1"] * 3 + ["own_2"] * 3


async def test_a_removal_names_all_that_stood_under_the_models_id() -> None:
    item = assistant("__fake_id__")
    done = ThreadItemDoneEvent(item=item)
    assert ids(await rewritten(done, done, ThreadItemRemovedEvent(item_id="__fake_id__"))) == [
        "own_1", "own_2", "own_1", "own_2",
    ]  # fmt: skip


async def test_items_of_our_own_and_other_events_pass_unchanged() -> None:
    events: list[ThreadStreamEvent] = [
        ThreadItemDoneEvent(item=hidden("x")),
        NoticeEvent(level="info", message="hello"),
        ThreadItemRemovedEvent(item_id="msg_9"),
    ]
    assert await rewritten(*events) == events
