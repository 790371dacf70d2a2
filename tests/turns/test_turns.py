"""Turns in two processes: stop, deadline, duplicates, resume, refusals, model errors, deleted threads."""

import asyncio
import json

import pytest
from chatkit.store import NotFoundError

from lambda_src.errors import ConflictError
from lambda_src.turns.duplicates import BOUND_S, SAME_BODY_S
from lambda_src.turns.lease import RENEW_S
from lambda_src.turns.persistence import CUT_NOTE, STOPPED_NOTE
from lambda_src.turns.turn_task import CLOSING_TIME_MS
from tests.turns.turn_fixture import THREAD, Model, ProcessPair, Reader, as_user, sse

ANN, BOB = as_user("ann"), as_user("bob")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def say(pair: ProcessPair, model: Model, *words: str) -> None:
    model.say(*words)
    await pair.time.settle()


async def test_an_undisturbed_turn_streams_everything_and_ends_its_lease(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "Hello ", "you.")
    assert await pair.second.turns.running_in(THREAD, ANN) == reader.stream.turn_id
    model.finish()
    await pair.time.advance(0)
    assert reader.over
    assert reader.kinds[0] == reader.kinds[-1] == "thread.item.done"
    assert await pair.texts() == ["hi", "Hello you."]
    assert await pair.second.turns.running_in(THREAD, ANN) is None


@pytest.mark.parametrize("by_thread", [True, False])
async def test_a_stop_in_another_process_ends_the_run_within_a_renewal_and_keeps_its_words(
    pair: ProcessPair, by_thread: bool
) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "Hello ", "you")
    turn_id = reader.stream.turn_id
    names = {"turn_id": None, "thread_id": THREAD} if by_thread else {"turn_id": turn_id, "thread_id": None}
    assert await pair.second.turns.stop(ANN, **names)
    await pair.time.advance(RENEW_S)
    assert reader.over
    assert model.cancelled == 1
    assert await pair.texts() == ["hi", "Hello you", f"[{STOPPED_NOTE}]"]
    assert reader.kinds[-1] == "thread.item.done"
    assert json.loads(reader.events[-1][6:])["item"]["content"][0]["text"] == "Hello you"


async def test_stopping_an_ended_foreign_or_unknown_turn_returns_false(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    turn_id = reader.stream.turn_id
    stop = pair.second.turns.stop
    assert not await stop(BOB, turn_id=turn_id, thread_id=None)
    assert not await stop(BOB, turn_id=None, thread_id=THREAD)
    assert not await stop(ANN, turn_id="turn-that-never-was", thread_id=None)
    assert not await stop(ANN, turn_id=None, thread_id="thr_no")
    model.finish()
    await pair.time.advance(0)
    assert not await stop(ANN, turn_id=turn_id, thread_id=None)
    assert not await stop(ANN, turn_id=None, thread_id=THREAD)


async def test_a_stop_before_the_first_word_leaves_a_note_for_the_model(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await pair.second.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    await pair.time.advance(RENEW_S)
    assert reader.over
    assert await pair.texts() == ["hi", f"[{STOPPED_NOTE}]"]


@pytest.mark.parametrize("timeout_s", [1, 2, 3, 5, 10, 300])
async def test_before_the_deadline_the_answer_is_stored_and_a_notice_says_how_to_continue(
    pair: ProcessPair, timeout_s: int
) -> None:
    model = Model()
    deadline_ms = pair.time.now_ms() + timeout_s * 1000
    reader = await pair.first.ask(model, "hi", deadline_ms=deadline_ms)
    await say(pair, model, "A long ", "story")
    margin_s = min(CLOSING_TIME_MS / 1000, timeout_s * 2 / 3)
    await pair.time.advance(timeout_s - margin_s + 0.001)
    assert reader.over
    assert reader.kinds[-2:] == ["thread.item.done", "notice"]
    assert "continue" in json.loads(reader.events[-1][6:])["message"]
    assert await pair.texts() == ["hi", "A long story", f"[{CUT_NOTE}]"]

    again = Model("msg_more")
    more = await pair.second.ask(again, "continue")
    again.finish()
    await pair.time.advance(0)
    assert more.over
    assert (await pair.texts())[3] == "continue"


async def test_a_hundred_duplicates_run_one_turn_and_get_the_same_bytes(pair: ProcessPair) -> None:
    model = Model()
    asking = [asyncio.create_task(pair.first.ask(model, "hi")) for number in range(50)] + [
        asyncio.create_task(pair.second.ask(model, "hi")) for number in range(50, 100)
    ]
    await pair.time.settle()
    await say(pair, model, "one ", "two ", "three")
    model.finish()
    await pair.time.advance(10)
    readers = await asyncio.gather(*asking)
    assert all(reader.over for reader in readers)
    assert model.calls == 1
    assert len({b"".join(reader.events) for reader in readers}) == 1
    assert len({reader.stream.turn_id for reader in readers}) == 1
    assert await pair.texts() == ["hi", "one two three"]


async def test_the_same_message_runs_again_after_the_retry_window(pair: ProcessPair) -> None:
    for number, later_s in enumerate([SAME_BODY_S - 1, SAME_BODY_S + 1]):
        model = Model(f"msg_{number}")
        reader = await pair.first.ask(model, "continue")
        model.finish()
        await pair.time.advance(later_s)
        again = Model(f"msg_again_{number}")
        again.finish()
        second = await pair.second.ask(again, "continue")
        await pair.time.advance(SAME_BODY_S + 1)
        assert (second.stream.turn_id == reader.stream.turn_id) is (later_s < SAME_BODY_S)
        assert second.over


@pytest.mark.parametrize("operation", ["threads.retry_after_item", "threads.custom_action"])
async def test_a_second_click_after_the_end_is_a_new_turn(pair: ProcessPair, operation: str) -> None:
    for number in range(2):
        model = Model(f"msg_{number}")
        model.finish()
        await pair.first.ask(model, "again", operation=operation)
        await pair.time.settle()
        assert model.calls == 1


async def test_a_name_stands_for_its_turn_until_a_minute_after_the_longest_turn(
    pair: ProcessPair,
) -> None:
    model = Model()
    await pair.first.ask(model, "hi", named=NAMED)
    await say(pair, model, "Hello")
    model.finish()
    await pair.time.advance(BOUND_S - 2)
    other = Model("msg_other")
    again = await pair.second.ask(other, "hi", named=NAMED)
    await pair.time.advance(0)
    assert again.over
    assert other.calls == 0
    with pytest.raises(ConflictError, match="x-chat-turn"):
        await pair.second.ask(other, "something else", named=NAMED)


async def test_named_turns_with_the_same_words_are_separate_turns(pair: ProcessPair) -> None:
    first, second = Model("msg_1"), Model("msg_2")
    await pair.first.ask(first, "hi", named="turn-number-one-of-two")
    await pair.second.ask(second, "hi", named="turn-number-two-of-two")
    assert (first.calls, second.calls) == (1, 1)


async def test_a_resumed_stream_has_every_event_from_first_to_last(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "one ")
    await pair.time.advance(RENEW_S)
    resumed = Reader(await pair.second.turns.resume(reader.stream.turn_id, ANN))
    resumed.task = asyncio.create_task(resumed.read())
    await say(pair, model, "two")
    model.finish()
    await pair.time.advance(2)
    assert resumed.over
    assert resumed.events == reader.events


async def test_an_unknown_or_foreign_turn_cannot_be_resumed(pair: ProcessPair) -> None:
    reader = await pair.first.ask(Model(), "hi")
    for context, turn_id in [(BOB, reader.stream.turn_id), (ANN, "turn-that-never-was")]:
        with pytest.raises(NotFoundError):
            await pair.second.turns.resume(turn_id, context)
    assert await pair.second.turns.running_in(THREAD, BOB) is None


async def test_a_refused_request_neither_ends_the_running_turn_nor_keeps_its_idempotency_key(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await pair.second.ask(Model(), "to nowhere", thread_id="thr_no")
    await pair.time.advance(RENEW_S)
    assert not reader.over


async def test_a_model_that_breaks_off_loses_no_words(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "I know ", "that")
    model.event(sse("error", code="custom", message="The model broke off.", allow_retry=True))
    model.finish()
    await pair.time.advance(0)
    assert reader.kinds[-2:] == ["thread.item.done", "error"] or reader.kinds[-3:-1] == ["thread.item.done", "error"]
    assert (await pair.texts())[:3] == ["hi", "I know that", f"[{CUT_NOTE}]"]


async def test_an_exception_during_the_stream_is_sent_as_an_error_and_raised_and_the_words_are_kept(
    pair: ProcessPair,
) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "I know ", "that")
    model.fail(ZeroDivisionError("secret"))
    await pair.time.advance(0)
    assert isinstance(reader.error, ZeroDivisionError)
    assert reader.kinds[-2:] == ["thread.item.done", "error"]
    assert b"secret" not in b"".join(reader.events)
    assert (await pair.texts())[:2] == ["hi", "I know that"]


async def test_a_deleted_thread_ends_its_turn_and_stays_deleted(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "word")
    await pair.second.store.delete_thread(THREAD, ANN)
    await pair.time.advance(RENEW_S)
    assert reader.over
    assert model.cancelled == 1
    assert await pair.items() == []


async def test_a_stream_without_a_reader_ends_the_turn_and_keeps_the_answer(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "to be kept")
    await reader.stream.stop()
    await reader.stream.stop()
    assert model.cancelled == 1
    assert await pair.texts() == ["hi", "to be kept", f"[{CUT_NOTE}]"]
