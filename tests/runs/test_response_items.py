"""The history converter (thread items to model input) and the item ids of streamed answers."""

import base64
from datetime import datetime
from itertools import count

import pytest
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ClientToolCallItem,
    FileAttachment,
    GeneratedImage,
    GeneratedImageItem,
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

from lambda_src.runs.conversion import Answer, HistoryConverter, history
from lambda_src.settings import MAX_FILE_BYTES

PNG = b"\x89PNG\r\n\x1a\n"
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
    input_items = await HistoryConverter().history_to_input([hidden(content)])
    assert len(input_items) == 1


async def test_attachments_and_tags_reach_the_model() -> None:
    item = user(
        "look",
        attachments=[FileAttachment(id="atc_1", name="plan.pdf", mime_type="application/pdf")],
        content=[UserMessageTagContent(id="t", text="Ann", data={"role": "boss"})],
    )
    input_items = str(await HistoryConverter().history_to_input([item]))
    assert "plan.pdf" in input_items
    assert "boss" in input_items


async def test_a_tag_without_data_reaches_the_model_with_its_id() -> None:
    tag = UserMessageTagContent(id="t", text="Ann", data={})
    input_items = str(await HistoryConverter().history_to_input([user("", content=[tag])]))
    assert "@Ann has the id 't'." in input_items
    assert "stands for" not in input_items


async def test_an_item_that_cannot_be_converted_becomes_a_note() -> None:
    class Brittle(HistoryConverter):
        async def assistant_message_to_input(self, item: AssistantMessageItem) -> None:
            raise ValueError(item.id)

    input_items = await Brittle().history_to_input([user("a"), assistant("msg_2"), user("b")])
    assert "cannot be shown" in str(input_items[1])
    assert len(input_items) == 3


def rewritten(*events: ThreadStreamEvent) -> list[ThreadStreamEvent]:
    numbers = count(1)
    answer = Answer("thr_1", mint=lambda _: f"own_{next(numbers)}")
    return [*(own for event in events for own in answer.events_of(event)), *answer.closing()]


def delta(item_id: str) -> ThreadItemUpdatedEvent:
    update = AssistantMessageContentPartTextDelta(content_index=0, delta="x")
    return ThreadItemUpdatedEvent(item_id=item_id, update=update)


def ids(events: list[ThreadStreamEvent]) -> list[str]:
    item_ids: list[str] = []
    for event in events:
        match event:
            case ThreadItemAddedEvent() | ThreadItemDoneEvent():
                item_ids.append(event.item.id)
            case ThreadItemUpdatedEvent() | ThreadItemRemovedEvent():
                item_ids.append(event.item_id)
    return item_ids


async def test_the_models_id_is_replaced_consistently_in_every_event() -> None:
    item: ThreadItem = assistant("__fake_id__")
    events = rewritten(ThreadItemAddedEvent(item=item), delta("__fake_id__"), ThreadItemDoneEvent(item=item))
    assert ids(events) == ["own_1", "own_1", "own_1"]
    assert item.id == "__fake_id__", "the SDK's object must not change"


async def test_two_messages_of_a_run_with_the_same_id_get_different_ids() -> None:
    item = assistant("__fake_id__")
    events: list[ThreadStreamEvent] = []
    for _ in range(2):
        events += [ThreadItemAddedEvent(item=item), delta("__fake_id__"), ThreadItemDoneEvent(item=item)]
    assert ids(rewritten(*events)) == ["own_1"] * 3 + ["own_2"] * 3


async def test_a_removal_removes_every_item_with_the_models_id() -> None:
    first, second = (ThreadItemDoneEvent(item=assistant("__fake_id__", text)) for text in ("one", "two"))
    assert ids(rewritten(first, second, ThreadItemRemovedEvent(item_id="__fake_id__"))) == [
        "own_1", "own_2", "own_1", "own_2",
    ]  # fmt: skip


async def test_our_own_items_and_other_events_are_unchanged() -> None:
    events: list[ThreadStreamEvent] = [
        ThreadItemDoneEvent(item=hidden("x")),
        NoticeEvent(level="info", message="hello"),
        ThreadItemRemovedEvent(item_id="msg_9"),
    ]
    assert rewritten(*events) == events


def call(number: int, output: object) -> ClientToolCallItem:
    return ClientToolCallItem(
        id=f"tc_{number}", thread_id="thr_1", created_at=NOW, status="completed", call_id=f"call_{number}",
        name="look", arguments={"n": number}, output=output,
    )  # fmt: skip


async def test_the_newest_items_that_fit_are_kept_and_calls_stay_with_their_outputs() -> None:
    items: list[ThreadItem] = [*(call(n, "x" * 4_000) for n in range(10)), user("and now?")]
    input_items = await HistoryConverter(max_tokens=6_500).history_to_input(items)
    kinds = [part.get("type") for part in input_items]
    assert kinds == ["function_call", "function_call_output"] * 4 + ["message"]
    assert [part.get("call_id") for part in input_items[:-1:2]] == ["call_6", "call_7", "call_8", "call_9"]


async def test_everything_since_the_last_user_message_is_always_included() -> None:
    items: list[ThreadItem] = [user("old"), user("the question"), call(1, "x" * 40_000)]
    input_items = str(await HistoryConverter(max_tokens=100).history_to_input(items))
    assert "the question" in input_items
    assert "call_1" in input_items
    assert "old" not in input_items


async def test_quoted_text_stays_with_the_last_user_message_after_a_tool_result() -> None:
    input_items = str(
        await HistoryConverter().history_to_input([user("this?", quoted_text="the quote"), call(1, "done")])
    )
    assert "the quote" in input_items
    earlier = str(await HistoryConverter().history_to_input([user("a", quoted_text="the quote"), user("b")]))
    assert "the quote" not in earlier


async def test_a_pending_call_is_not_included() -> None:
    pending = call(1, None).model_copy(update={"status": "pending"})
    assert await HistoryConverter().history_to_input([pending]) == []


async def test_an_empty_thread_is_an_empty_input() -> None:
    assert await HistoryConverter().history_to_input([]) == []


# Files


def file(size: int | None, *, mime_type: str = "application/pdf") -> FileAttachment:
    metadata = {} if size is None else {"size": size}
    return FileAttachment(id="atc_1", name="plan", mime_type=mime_type, metadata=metadata)


async def content_of(data: bytes, attachment: FileAttachment) -> str:
    """Return the content that the model receives for a file with this data."""

    async def read(_: str, max_bytes: int) -> bytes:
        return data[:max_bytes]

    return str(await HistoryConverter(read=read).attachment_to_message_content(attachment))


async def test_a_file_larger_than_the_default_limit_is_sent_in_full() -> None:
    """CHAT_MAX_FILE_BYTES may be raised, and half a PDF is not a PDF."""
    data = b"%PDF-" + b"x" * MAX_FILE_BYTES
    assert base64.b64encode(data).decode() in await content_of(data, file(len(data)))


async def test_the_configured_file_limit_applies_to_model_input() -> None:
    size = history.FILES_SHOWN_BYTES + 1
    data = b"%PDF-" + b"x" * (size - 5)

    async def read(_: str, max_bytes: int) -> bytes:
        return data[:max_bytes]

    async def part(largest_bytes: int) -> dict[str, object]:
        converter = HistoryConverter(read=read, largest_bytes=largest_bytes)
        return dict(await converter.attachment_to_message_content(file(size)))

    assert (await part(size))["type"] == "input_file"
    assert (await part(size - 1))["type"] == "input_text"


@pytest.mark.parametrize("size", [1_001, None], ids=["known", "unknown"])
async def test_a_file_that_does_not_fit_becomes_a_note_and_is_never_truncated(
    monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    monkeypatch.setattr(history, "FILES_SHOWN_BYTES", 1_000)
    assert "It is not shown here" in await content_of(b"x" * 1_001, file(size))
    assert "It is not shown here" not in await content_of(b"x" * 1_000, file(size and 1_000))


@pytest.mark.parametrize(("more", "cut"), [(0, False), (1, True)])
async def test_a_long_text_is_truncated_with_a_note(more: int, cut: bool) -> None:
    data = b"x" * (history.TEXT_SHOWN_BYTES + more)
    input_items = await content_of(data, file(len(data), mime_type="text/plain"))
    assert ("Only its beginning is shown" in input_items) is cut
    assert input_items.count("x") >= history.TEXT_SHOWN_BYTES


async def test_an_image_after_a_text_that_used_all_the_space_reads_at_least_one_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 has no empty range: it would answer with the whole file, without Content-Range."""
    monkeypatch.setattr(history, "FILES_SHOWN_BYTES", 10)
    sizes: list[int] = []

    async def read(_: str, max_bytes: int) -> bytes:
        sizes.append(max_bytes)
        return b"x" * max_bytes

    converter = HistoryConverter(read=read)
    await converter.attachment_to_message_content(file(20, mime_type="text/plain"))
    image = GeneratedImage(id="img_1", url="about:blank")
    item = GeneratedImageItem(id="msg_1", thread_id="thr_1", created_at=NOW, image=image)
    await converter.history_to_input([item])
    assert sizes == [11, 1]


async def test_a_generated_image_that_does_not_fit_becomes_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FILES_SHOWN_BYTES", 10)

    async def read(_: str, max_bytes: int) -> bytes:
        return (PNG + b"x" * 100)[:max_bytes]

    image = GeneratedImage(id="img_1", url="about:blank")
    item = GeneratedImageItem(id="msg_1", thread_id="thr_1", created_at=NOW, image=image)
    input_items = str(await HistoryConverter(read=read).history_to_input([item]))
    assert "You made a picture here" in input_items
    assert "base64" not in input_items


async def test_a_repeated_message_is_sent_once() -> None:
    done = ThreadItemDoneEvent(item=assistant("msg_1"))
    assert ids(rewritten(ThreadItemAddedEvent(item=assistant("msg_1")), done, done, delta("msg_1"))) == [
        "own_1",
        "own_1",
    ]


async def test_text_before_its_message_adds_the_message() -> None:
    item = assistant("msg_1")
    events = rewritten(delta("msg_1"), ThreadItemAddedEvent(item=item), ThreadItemDoneEvent(item=item))
    assert [event.type for event in events] == ["thread.item.added", "thread.item.updated", "thread.item.done"]
    assert ids(events) == ["own_1"] * 3
