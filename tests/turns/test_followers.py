"""How many may follow a turn at a time: each one holds an invocation as long as the turn runs."""

import asyncio

import pytest

from lambda_src.context import RequestContext
from lambda_src.turns.closing import CROWDED, encoded
from tests.turns.turn_fixture import Model, ProcessPair, Reader, as_user, thread_at

OF_A_TURN, OF_A_USER = 3, 5  # followers at a time; not imported, so that a change of either turns this red

ANN = as_user("ann")
NOTICED_S = 3.0  # two renewals of a follower


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def following(pair: ProcessPair, turn_id: str, context: RequestContext = ANN) -> Reader:
    """Somebody who reads the turn in another process, for a while now."""
    reader = Reader(await pair.two.turns.resume(turn_id, context))
    reader.task = asyncio.create_task(reader.read())
    await pair.time.advance(0.1)
    return reader


async def test_the_oldest_followers_of_a_turn_are_told_to_come_back(pair: ProcessPair) -> None:
    model = Model()
    runs = await pair.one.ask(model, "hi")
    model.say("word ")
    await pair.time.advance(1)
    readers = [await following(pair, runs.stream.turn_id) for _ in range(10)]
    await pair.time.advance(NOTICED_S)
    assert [reader.over for reader in readers] == [True] * (10 - OF_A_TURN) + [False] * OF_A_TURN
    assert {reader.events[-1] for reader in readers if reader.over} == {encoded(CROWDED)}
    model.finish()
    await pair.time.advance(2)
    assert [reader.events for reader in readers[-OF_A_TURN:]] == [runs.events] * OF_A_TURN


async def test_duplicates_of_a_message_count_as_followers(pair: ProcessPair) -> None:
    model = Model()
    await pair.one.ask(model, "hi")
    await pair.time.advance(1)
    readers = []
    for _ in range(6):
        readers.append(await pair.two.ask(Model(), "hi"))
        await pair.time.advance(0.1)
    await pair.time.advance(NOTICED_S)
    assert sum(reader.over for reader in readers) == 6 - OF_A_TURN


async def test_a_user_follows_so_many_turns_and_another_user_is_not_affected(pair: ProcessPair) -> None:
    for number in range(4):
        await pair.one.store.save_thread(thread_at(f"thr_more_{number}"), ANN)
    turns = [
        (await pair.one.ask(Model(f"msg_{number}"), f"hi {number}", thread_id=f"thr_more_{number}")).stream.turn_id
        for number in range(4)
    ]
    await pair.one.store.save_thread(thread_at("thr_bob"), as_user("bob"))
    bobs = await pair.one.ask(Model("msg_bob"), "hi", user="bob", thread_id="thr_bob")
    await pair.time.advance(1)
    readers = [await following(pair, turn_id) for turn_id in turns * 2]
    other = await following(pair, bobs.stream.turn_id, as_user("bob"))
    await pair.time.advance(NOTICED_S)
    assert [reader.over for reader in readers] == [True] * (8 - OF_A_USER) + [False] * OF_A_USER
    assert not other.over
