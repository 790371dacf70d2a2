"""Limits on followers of a turn and per user, since each follower occupies an invocation while the turn runs."""

import asyncio

import pytest

from lambda_src.context import RequestContext
from lambda_src.turns.closing import CROWDED, ELSEWHERE, SHUTDOWN, encoded
from tests.turns.turn_fixture import Model, ProcessPair, Reader, as_user, kill, thread_at

OF_A_TURN, OF_A_USER = 3, 5  # the limits; not imported, so that changing either fails these tests

ANN = as_user("ann")
NOTICED_S = 3.0  # two renewals of a follower


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def follow(pair: ProcessPair, turn_id: str, context: RequestContext = ANN) -> Reader:
    """Follow the turn in another process."""
    reader = Reader(await pair.second.turns.resume(turn_id, context))
    reader.task = asyncio.create_task(reader.read())
    await pair.time.advance(0.1)
    return reader


async def test_the_oldest_followers_of_a_crowded_turn_are_asked_to_come_back(pair: ProcessPair) -> None:
    model = Model()
    original = await pair.first.ask(model, "hi")
    model.say("word ")
    await pair.time.advance(1)
    readers = [await follow(pair, original.stream.turn_id) for _ in range(10)]
    await pair.time.advance(NOTICED_S)
    assert [reader.over for reader in readers] == [True] * (10 - OF_A_TURN) + [False] * OF_A_TURN
    assert {reader.events[-1] for reader in readers if reader.over} == {encoded(CROWDED)}
    model.finish()
    await pair.time.advance(2)
    assert [reader.events for reader in readers[-OF_A_TURN:]] == [original.events] * OF_A_TURN


async def test_a_follower_of_a_crashed_turn_without_words_gets_a_notice(pair: ProcessPair) -> None:
    original = await pair.first.ask(Model(), "hi")
    await pair.time.advance(1)
    reader = await follow(pair, original.stream.turn_id)
    await kill(original)
    await pair.time.advance(15)
    assert reader.over
    assert reader.events[-1] == encoded(SHUTDOWN)


async def test_a_follower_of_a_superseded_turn_without_words_gets_a_notice(pair: ProcessPair) -> None:
    original = await pair.first.ask(Model(), "hi")
    await pair.time.advance(1)
    reader = await follow(pair, original.stream.turn_id)
    await kill(original)  # before it writes its own notice
    other = await pair.second.ask(Model("msg_other"), "and this")
    await pair.time.advance(1)
    assert reader.over
    assert reader.events[-1] == encoded(ELSEWHERE)
    await other.stream.stop()


async def test_duplicates_of_a_message_count_as_followers(pair: ProcessPair) -> None:
    model = Model()
    await pair.first.ask(model, "hi")
    await pair.time.advance(1)
    readers = []
    for _ in range(6):
        readers.append(await pair.second.ask(Model(), "hi"))
        await pair.time.advance(0.1)
    await pair.time.advance(NOTICED_S)
    assert sum(reader.over for reader in readers) == 6 - OF_A_TURN


async def test_the_limit_of_followers_per_user_does_not_affect_other_users(pair: ProcessPair) -> None:
    for number in range(4):
        await pair.first.store.save_thread(thread_at(f"thr_more_{number}"), ANN)
    turns = [
        (await pair.first.ask(Model(f"msg_{number}"), f"hi {number}", thread_id=f"thr_more_{number}")).stream.turn_id
        for number in range(4)
    ]
    await pair.first.store.save_thread(thread_at("thr_bob"), as_user("bob"))
    bobs = await pair.first.ask(Model("msg_bob"), "hi", user="bob", thread_id="thr_bob")
    await pair.time.advance(1)
    readers = [await follow(pair, turn_id) for turn_id in turns * 2]
    other = await follow(pair, bobs.stream.turn_id, as_user("bob"))
    await pair.time.advance(NOTICED_S)
    assert [reader.over for reader in readers] == [True] * (8 - OF_A_USER) + [False] * OF_A_USER
    assert not other.over
