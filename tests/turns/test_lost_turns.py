"""Superseded and crashed turns: their words are kept, readers see them, and the thread continues."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.errors import UnavailableError
from lambda_src.store.ports import TurnRow
from lambda_src.turns.journal import FOLLOW_EVERY_S, FOLLOW_FAULTS, UNRENEWED_S
from lambda_src.turns.lease import LEASE_MS, RENEW_S
from lambda_src.turns.persistence import CUT_NOTE, SUPERSEDED_NOTE
from tests.turns.turn_fixture import THREAD, Model, Patched, ProcessPair, Reader, as_user, kill

ANN, BOB = as_user("ann"), as_user("bob")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def say(pair: ProcessPair, model: Model, *words: str) -> None:
    model.say(*words)
    await pair.time.settle()


async def test_a_newer_message_in_another_process_supersedes_the_turn_and_keeps_its_words(
    pair: ProcessPair,
) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.first.ask(old, "first")
    await say(pair, old, "I was ", "saying")
    await pair.time.advance(RENEW_S)
    newer = await pair.second.ask(new, "second")
    await say(pair, new, "Yes.")
    await pair.time.advance(RENEW_S)
    assert older.over
    assert old.cancelled == 1
    assert not newer.over
    new.finish()
    await pair.time.advance(0)
    assert await pair.texts() == ["first", "I was saying", f"[{SUPERSEDED_NOTE}]", "second", "Yes."]


async def test_words_journaled_after_the_next_turn_began_are_not_placed_after_its_message(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.first.ask(old, "first")
    await say(pair, old, "never journaled")
    await pair.second.ask(new, "second")
    await older.stream.stop()  # its process shuts down and journals everything
    await pair.time.settle()
    await pair.first.ask(Model("msg_newest"), "third")
    assert [text for text in await pair.texts() if not text.startswith("[")] == ["first", "second", "third"]


async def test_a_turn_that_finishes_after_it_was_superseded_duplicates_nothing(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.first.ask(old, "first")
    await say(pair, old, "Almost")
    await pair.time.advance(RENEW_S)
    await pair.second.ask(new, "second")
    old.say(" done.")
    old.finish()
    await pair.time.advance(RENEW_S)
    assert older.over
    assert await pair.texts() == ["first", "Almost", f"[{SUPERSEDED_NOTE}]", "second"]


async def test_after_a_crash_the_journaled_words_are_recovered_once(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "Before ", "the crash")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi"], "the turn may be alive until its lease expires"
    await pair.time.advance(LEASE_MS / 1000)
    for _ in range(3):
        await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", "Before the crash", f"[{CUT_NOTE}]"]


async def test_after_a_crash_the_thread_accepts_the_next_message_at_once(pair: ProcessPair) -> None:
    model, again = Model("msg_old"), Model("msg_new")
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "Before the crash")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.second.ask(again, "still there?")
    assert await pair.texts() == ["hi", "Before the crash", f"[{SUPERSEDED_NOTE}]", "still there?"]


async def test_a_follower_of_a_turn_that_dies_sees_the_recovered_words(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "half an ans")
    await pair.time.advance(RENEW_S)
    resumed = Reader(await pair.second.turns.resume(reader.stream.turn_id, ANN))
    resumed.task = asyncio.create_task(resumed.read())
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000 + 1 + UNRENEWED_S)
    assert resumed.over
    assert resumed.kinds[-1] == "thread.item.done"
    assert (await pair.texts())[:2] == ["hi", "half an ans"]


@pytest.mark.parametrize("method", ["load_turn", "read_journal"])
@pytest.mark.parametrize("faults", [1, FOLLOW_FAULTS, FOLLOW_FAULTS + 1])
async def test_a_follower_survives_a_store_that_fails_for_a_few_seconds(
    pair: ProcessPair, method: str, faults: int
) -> None:
    model = Model()
    reader = await pair.first.ask(model, "hi")
    await say(pair, model, "one ")
    await pair.time.advance(RENEW_S)
    ledger = pair.second.store.ledger
    failing = iter([False] * 3 + [True] * faults)

    def unless_failing(*args: Any, **named: Any) -> Any:
        if next(failing, False):
            raise UnavailableError("throttled")
        return getattr(ledger, method)(*args, **named)

    flaky: Any = Patched(ledger, **{method: unless_failing})
    pair.second.turns.services = replace(pair.second.turns.services, ledger=flaky)
    resumed = Reader(await pair.second.turns.resume(reader.stream.turn_id, ANN))
    resumed.task = asyncio.create_task(resumed.read())
    await pair.time.advance(2 * RENEW_S)
    await say(pair, model, "two")
    await pair.time.advance(FOLLOW_EVERY_S * FOLLOW_FAULTS)
    model.finish()
    await pair.time.advance(RENEW_S)
    if faults > FOLLOW_FAULTS:
        assert isinstance(resumed.error, UnavailableError)
    else:
        assert (resumed.over, resumed.error, resumed.events) == (True, None, reader.events)


async def test_the_same_message_runs_again_once_its_turn_is_dead(pair: ProcessPair) -> None:
    model, again = Model("msg_old"), Model("msg_new")
    reader = await pair.first.ask(model, "continue")
    await say(pair, model, "Before")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000)
    rerun = await pair.wait_for(pair.second.ask(again, "continue"))
    assert rerun.stream.turn_id != reader.stream.turn_id
    assert await pair.texts() == ["continue", "Before", f"[{CUT_NOTE}]", "continue"]


async def test_a_superseded_turn_ends_with_its_stored_words_and_without_an_error(pair: ProcessPair) -> None:
    old = Model("msg_old")
    older = await pair.first.ask(old, "first")
    await say(pair, old, "Journaled,")
    await pair.time.advance(RENEW_S)
    await say(pair, old, " not yet journaled")
    await pair.second.ask(Model("msg_new"), "second")
    old.fail(ZeroDivisionError("ignored"))
    await pair.time.advance(RENEW_S)
    assert older.over
    assert older.error is None
    assert json.loads(older.events[-1][6:])["item"]["content"][0]["text"] == "Journaled,"


async def test_recovering_a_dead_turn_does_not_end_a_turn_that_began_meanwhile(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    reader = await pair.first.ask(old, "first")
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000)
    dead = await pair.second.store.ledger.load_turn(THREAD, context=ANN)
    newer = await pair.second.ask(new, "second")

    async def late(*_: object, **__: object) -> TurnRow | None:
        return dead

    ledger: Any = Patched(pair.second.store.ledger, load_turn=late)
    pair.second.turns.services = replace(pair.second.turns.services, ledger=ledger)
    await pair.wait_for(pair.second.turns.recover(THREAD, ANN))
    await pair.time.advance(RENEW_S)
    assert not newer.over
    assert new.cancelled == 0
