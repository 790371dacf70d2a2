"""Dead or running turns: a turn is dead once its lease expires unrenewed, even if clocks of machines differ."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.errors import QuotaError
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store.counters import MemoryCounters
from lambda_src.turns.lease import LEASE_MS
from tests.quotas.engine import settings_with
from tests.turns.turn_fixture import THREAD, Model, Patched, Process, ProcessPair, Reader, as_user, kill, thread_at

ANN = as_user("ann")
NAMED = "turn-named-by-the-client"
APART_S = [-60, 12, 60]


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


def set_clock(pair: ProcessPair, process: Process, *, ahead_s: int) -> None:
    """Set a process's clock ahead (or back)."""
    process.turns.services = replace(process.turns.services, clock=lambda: pair.time.now_ms() + ahead_s * 1000)


@pytest.mark.parametrize("ahead_s", APART_S)
async def test_a_reader_with_a_wrong_clock_does_not_end_a_running_turn(pair: ProcessPair, ahead_s: int) -> None:
    set_clock(pair, pair.second, ahead_s=ahead_s)
    model = Model()
    reader = await pair.first.ask(model, "hi", named=NAMED)
    model.say("one ")
    await pair.time.advance(1.2)
    reading = asyncio.create_task(pair.second.turns.recover(THREAD, ANN))
    looking = asyncio.create_task(pair.second.turns.running_in(THREAD, ANN))
    follower = Reader(await pair.second.turns.resume(NAMED, ANN))
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


async def test_a_duplicate_on_a_machine_with_a_fast_clock_attaches_to_the_running_turn(
    pair: ProcessPair,
) -> None:
    set_clock(pair, pair.second, ahead_s=12)
    model, other = Model(), Model("msg_other")
    await pair.first.ask(model, "hi")
    await pair.time.advance(1.2)
    asking = asyncio.create_task(pair.second.ask(other, "hi"))
    await pair.time.advance(3)
    assert asking.done()
    assert other.calls == 0


@pytest.mark.parametrize("ahead_s", APART_S)
async def test_a_dead_turn_is_recovered_whatever_the_readers_clock(pair: ProcessPair, ahead_s: int) -> None:
    set_clock(pair, pair.second, ahead_s=ahead_s)
    model = Model()
    reader = await pair.first.ask(model, "hi")
    model.say("I was saying")
    await pair.time.advance(1.2)
    await kill(reader)
    await pair.time.advance(LEASE_MS / 1000 + max(0, -ahead_s))
    reading = asyncio.create_task(pair.second.turns.recover(THREAD, ANN))
    await pair.time.advance(2.5)
    assert reading.done()
    assert (await pair.texts())[:2] == ["hi", "I was saying"]


def limit_running(pair: ProcessPair, process: Process) -> None:
    """Limit users to one running turn."""
    ledger, time = process.store.ledger, pair.time
    quotas = Quotas(ledger, MemoryCounters(), settings_with(running_turns=1), clock=time.now_ns)
    process.turns.services = replace(process.turns.services, quotas=quotas)


async def forever(*_: object, **__: object) -> None:
    """Never return."""
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("is_bound", [True, False], ids=["while it ran", "before it began"])
async def test_a_dead_turn_stops_counting_as_running_when_its_lease_expires(pair: ProcessPair, is_bound: bool) -> None:
    for process in (pair.first, pair.second):
        limit_running(pair, process)
    await pair.first.store.save_thread(thread_at("thr_2"), ANN)
    if is_bound:
        await kill(await pair.first.ask(Model(), "hi"))
    else:
        services = pair.first.turns.services
        dying: Any = Patched(services.ledger, take_lease=forever)
        pair.first.turns.services = replace(services, ledger=dying)
        hanging = asyncio.create_task(pair.first.ask(Model(), "hi"))
        await pair.time.settle()
    await pair.time.advance(2)
    with pytest.raises(QuotaError):
        await pair.second.ask(Model("msg_2"), "elsewhere", thread_id="thr_2")
    await pair.time.advance(LEASE_MS / 1000)
    asking = asyncio.create_task(pair.second.ask(Model("msg_3"), "elsewhere again", thread_id="thr_2"))
    await pair.time.advance(3)
    assert (await asking).stream.turn_id
    if not is_bound:
        hanging.cancel()


async def test_a_machine_with_a_fast_clock_does_not_free_a_running_turns_place(pair: ProcessPair) -> None:
    for process in (pair.first, pair.second):
        limit_running(pair, process)
    set_clock(pair, pair.second, ahead_s=12)
    await pair.first.store.save_thread(thread_at("thr_2"), ANN)
    await pair.first.ask(Model(), "hi")
    await pair.time.advance(1.5)
    asking = asyncio.create_task(pair.second.ask(Model("msg_2"), "elsewhere", thread_id="thr_2"))
    await pair.time.advance(3)
    with pytest.raises(QuotaError):
        await asking
