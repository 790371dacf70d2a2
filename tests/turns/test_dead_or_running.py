"""Whether a turn is dead: its lease has run out and nobody renews it, whatever the clocks of the two machines say."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.errors import QuotaError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.counters import MemoryCounters
from lambda_src.turns.lease import LEASE_MS
from tests.quotas.engine import settings_with
from tests.turns.turn_fixture import THREAD, Model, Process, ProcessPair, Reader, Replaced, as_user, kill, thread_at

ANN = as_user("ann")
NAMED = "turn-named-by-the-client"
APART_S = [-60, 12, 60]


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


def set_clock(pair: ProcessPair, process: Process, *, ahead_s: int) -> None:
    """The clock of a process is wrong."""
    process.turns.services = replace(process.turns.services, clock=lambda: pair.time.now_ms() + ahead_s * 1000)


@pytest.mark.parametrize("ahead_s", APART_S)
async def test_a_reader_whose_clock_is_wrong_ends_no_turn_that_runs(pair: ProcessPair, ahead_s: int) -> None:
    set_clock(pair, pair.two, ahead_s=ahead_s)
    model = Model()
    reader = await pair.one.ask(model, "hi", named=NAMED)
    model.say("one ")
    await pair.time.advance(1.2)
    reading = asyncio.create_task(pair.two.turns.recover(THREAD, ANN))
    looking = asyncio.create_task(pair.two.turns.running_in(THREAD, ANN))
    follower = Reader(await pair.two.turns.resume(NAMED, ANN))
    follower.task = asyncio.create_task(follower.read())
    for word in ("two ", "three ", "four ", "five "):
        model.say(word)
        await pair.time.advance(2.5)
    assert reading.done()
    assert await looking == reader.stream.turn_id
    assert not follower.over
    model.finish()
    await pair.time.advance(2)
    assert reader.over
    assert await pair.texts() == ["hi", "one two three four five "]
    assert follower.over
    assert follower.events == reader.events


async def test_the_same_bytes_from_a_machine_whose_clock_is_ahead_attach_to_the_turn_that_runs(
    pair: ProcessPair,
) -> None:
    set_clock(pair, pair.two, ahead_s=12)
    model, other = Model(), Model("msg_other")
    await pair.one.ask(model, "hi")
    await pair.time.advance(1.2)
    asking = asyncio.create_task(pair.two.ask(other, "hi"))
    await pair.time.advance(3)
    assert asking.done()
    assert other.calls == 0


@pytest.mark.parametrize("ahead_s", APART_S)
async def test_a_dead_turn_is_recovered_whatever_the_readers_clock_says(pair: ProcessPair, ahead_s: int) -> None:
    set_clock(pair, pair.two, ahead_s=ahead_s)
    model = Model()
    reader = await pair.one.ask(model, "hi")
    model.say("I was saying")
    await pair.time.advance(1.2)
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000 + max(0, -ahead_s))
    reading = asyncio.create_task(pair.two.turns.recover(THREAD, ANN))
    await pair.time.advance(2.5)
    assert reading.done()
    assert (await pair.texts())[:2] == ["hi", "I was saying"]


def limit_running(pair: ProcessPair, process: Process) -> None:
    """One turn at a time, for each user."""
    ledger, time = process.store.ledger, pair.time
    quotas = Quotas(ledger, MemoryCounters(), settings_with(running_turns=1), clock=time.now_ns)
    process.turns.services = replace(process.turns.services, quotas=quotas)


async def forever(*_: object, **__: object) -> None:
    """An answer that never comes."""
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("is_bound", [True, False], ids=["while it ran", "before it began"])
async def test_a_dead_turn_holds_its_place_no_longer_than_its_lease(pair: ProcessPair, is_bound: bool) -> None:
    for process in (pair.one, pair.two):
        limit_running(pair, process)
    await pair.one.store.save_thread(thread_at("thr_2"), ANN)
    if is_bound:
        await kill(await pair.one.ask(Model(), "hi"))
    else:
        services = pair.one.turns.services
        dying: Any = Replaced(services.ledger, take_lease=forever)
        pair.one.turns.services = replace(services, ledger=dying)
        hanging = asyncio.create_task(pair.one.ask(Model(), "hi"))
        await pair.time.rest()
    await pair.time.advance(2)
    with pytest.raises(QuotaError):
        await pair.two.ask(Model("msg_2"), "elsewhere", thread_id="thr_2")
    await pair.time.advance(LEASE_MS / 1000)
    asking = asyncio.create_task(pair.two.ask(Model("msg_3"), "elsewhere again", thread_id="thr_2"))
    await pair.time.advance(3)
    assert (await asking).stream.turn_id
    if not is_bound:
        hanging.cancel()


async def test_a_machine_whose_clock_is_ahead_frees_no_place_of_a_turn_that_runs(pair: ProcessPair) -> None:
    for process in (pair.one, pair.two):
        limit_running(pair, process)
    set_clock(pair, pair.two, ahead_s=12)
    await pair.one.store.save_thread(thread_at("thr_2"), ANN)
    await pair.one.ask(Model(), "hi")
    await pair.time.advance(1.5)
    asking = asyncio.create_task(pair.two.ask(Model("msg_2"), "elsewhere", thread_id="thr_2"))
    await pair.time.advance(3)
    with pytest.raises(QuotaError):
        await asking
