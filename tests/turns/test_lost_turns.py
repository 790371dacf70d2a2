"""Turns that another one took the thread from, or whose process died: what they had said, and who goes on."""

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
from tests.turns.turn_fixture import THREAD, Model, ProcessPair, Reader, Replaced, as_user, kill

ANN, BOB = as_user("ann"), as_user("bob")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def said(pair: ProcessPair, model: Model, *words: str) -> None:
    model.say(*words)
    await pair.time.rest()


async def test_a_newer_message_from_another_process_supersedes_and_keeps_what_the_older_turn_had_said(
    pair: ProcessPair,
) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.one.ask(old, "first")
    await said(pair, old, "I was ", "saying")
    await pair.time.advance(RENEW_S)
    newer = await pair.two.ask(new, "second")
    await said(pair, new, "Yes.")
    await pair.time.advance(RENEW_S)
    assert older.over
    assert old.cancelled == 1
    assert not newer.over
    new.finish()
    await pair.time.advance(0)
    assert await pair.texts() == ["first", "I was saying", f"[{SUPERSEDED_NOTE}]", "second", "Yes."]


async def test_what_a_turn_journals_after_the_next_one_began_is_not_put_behind_its_message(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.one.ask(old, "first")
    await said(pair, old, "never journaled")
    await pair.two.ask(new, "second")
    await older.stream.stop()  # its process goes down: all of it is journaled now
    await pair.time.rest()
    await pair.one.ask(Model("msg_newest"), "third")
    assert [text for text in await pair.texts() if not text.startswith("[")] == ["first", "second", "third"]


async def test_a_turn_that_finishes_after_it_was_superseded_doubles_nothing(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    older = await pair.one.ask(old, "first")
    await said(pair, old, "Almost")
    await pair.time.advance(RENEW_S)
    await pair.two.ask(new, "second")
    old.say(" done.")
    old.finish()
    await pair.time.advance(RENEW_S)
    assert older.over
    assert await pair.texts() == ["first", "Almost", f"[{SUPERSEDED_NOTE}]", "second"]


async def test_after_a_crash_the_next_reader_finds_what_was_journaled_once(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.one.ask(model, "hi")
    await said(pair, model, "Before ", "the crash")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.waited(pair.two.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi"], "while the lease runs the turn may be alive"
    await pair.time.advance(LEASE_MS / 1000)
    for _ in range(3):
        await pair.waited(pair.two.turns.recover(THREAD, ANN))
    assert await pair.texts() == ["hi", "Before the crash", f"[{CUT_NOTE}]"]


async def test_after_a_crash_the_thread_takes_the_next_message_at_once(pair: ProcessPair) -> None:
    model, again = Model("msg_old"), Model("msg_new")
    reader = await pair.one.ask(model, "hi")
    await said(pair, model, "Before the crash")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.two.ask(again, "still there?")
    assert await pair.texts() == ["hi", "Before the crash", f"[{SUPERSEDED_NOTE}]", "still there?"]


async def test_whoever_follows_a_turn_that_dies_sees_what_was_kept(pair: ProcessPair) -> None:
    model = Model()
    reader = await pair.one.ask(model, "hi")
    await said(pair, model, "half an ans")
    await pair.time.advance(RENEW_S)
    resumed = Reader(await pair.two.turns.resume(reader.stream.turn_id, ANN))
    resumed.task = asyncio.create_task(resumed.read())
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000 + 1 + UNRENEWED_S)
    assert resumed.over
    assert resumed.kinds[-1] == "thread.item.done"
    assert (await pair.texts())[:2] == ["hi", "half an ans"]


@pytest.mark.parametrize("method", ["load_turn", "read_journal"])
@pytest.mark.parametrize("faults", [1, FOLLOW_FAULTS, FOLLOW_FAULTS + 1])
async def test_who_follows_a_turn_outlasts_a_store_that_fails_for_some_seconds(
    pair: ProcessPair, method: str, faults: int
) -> None:
    model = Model()
    reader = await pair.one.ask(model, "hi")
    await said(pair, model, "one ")
    await pair.time.advance(RENEW_S)
    ledger = pair.two.store.ledger
    failing = iter([False] * 3 + [True] * faults)

    def unless_failing(*args: Any, **named: Any) -> Any:
        if next(failing, False):
            raise UnavailableError("throttled")
        return getattr(ledger, method)(*args, **named)

    flaky: Any = Replaced(ledger, **{method: unless_failing})
    pair.two.turns.services = replace(pair.two.turns.services, ledger=flaky)
    resumed = Reader(await pair.two.turns.resume(reader.stream.turn_id, ANN))
    resumed.task = asyncio.create_task(resumed.read())
    await pair.time.advance(2 * RENEW_S)
    await said(pair, model, "two")
    await pair.time.advance(FOLLOW_EVERY_S * FOLLOW_FAULTS)
    model.finish()
    await pair.time.advance(RENEW_S)
    if faults > FOLLOW_FAULTS:
        assert isinstance(resumed.error, UnavailableError)
    else:
        assert (resumed.over, resumed.error, resumed.events) == (True, None, reader.events)


async def test_the_same_words_run_anew_once_the_turn_that_they_began_is_dead(pair: ProcessPair) -> None:
    model, again = Model("msg_old"), Model("msg_new")
    reader = await pair.one.ask(model, "continue")
    await said(pair, model, "Before")
    await pair.time.advance(RENEW_S)
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000)
    anew = await pair.waited(pair.two.ask(again, "continue"))
    assert anew.stream.turn_id != reader.stream.turn_id
    assert await pair.texts() == ["continue", "Before", f"[{CUT_NOTE}]", "continue"]


async def test_a_superseded_turn_ends_with_what_is_stored_of_it_and_without_an_error(pair: ProcessPair) -> None:
    old = Model("msg_old")
    older = await pair.one.ask(old, "first")
    await said(pair, old, "Journaled,")
    await pair.time.advance(RENEW_S)
    await said(pair, old, " not yet journaled")
    await pair.two.ask(Model("msg_new"), "second")
    old.fail(ZeroDivisionError("of no concern any more"))
    await pair.time.advance(RENEW_S)
    assert older.over
    assert older.error is None
    assert json.loads(older.events[-1][6:])["item"]["content"][0]["text"] == "Journaled,"


async def test_a_reader_who_recovers_a_dead_turn_does_not_end_the_one_that_began_meanwhile(pair: ProcessPair) -> None:
    old, new = Model("msg_old"), Model("msg_new")
    reader = await pair.one.ask(old, "first")
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000)
    dead = await pair.two.store.ledger.load_turn(THREAD, context=ANN)
    newer = await pair.two.ask(new, "second")

    async def late(*_: object, **__: object) -> TurnRow | None:
        return dead

    ledger: Any = Replaced(pair.two.store.ledger, load_turn=late)
    pair.two.turns.services = replace(pair.two.turns.services, ledger=ledger)
    await pair.waited(pair.two.turns.recover(THREAD, ANN))
    await pair.time.advance(RENEW_S)
    assert not newer.over
    assert new.cancelled == 0
