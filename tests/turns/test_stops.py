"""Stop that comes early: before the request that it is about, and before that has begun. Time is handed in."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.turns.lifecycle import STOP_S
from lambda_src.turns.persistence import STOPPED_NOTE
from tests.turns.turn_fixture import Model, ProcessPair, Replaced, as_user

ANN, BOB = as_user("ann"), as_user("bob")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def stop(pair: ProcessPair, turn_id: str = NAMED) -> bool:
    return await pair.two.turns.stop(ANN, turn_id=turn_id, thread_id=None)


async def test_a_stop_by_name_between_claim_and_lease_stops_the_turn_when_it_begins(pair: ProcessPair) -> None:
    """A cold start: the claim is written, the rest is still to come."""
    ledger = pair.one.store.ledger
    may_lease = asyncio.Event()

    async def take(*args: Any, **kwargs: Any) -> Any:
        await may_lease.wait()
        return await ledger.take_lease(*args, **kwargs)

    late: Any = Replaced(ledger, take_lease=take)
    pair.one.turns.services = replace(pair.one.turns.services, ledger=late)
    model = Model()
    asking = asyncio.create_task(pair.one.ask(model, "hi", named=NAMED))
    await pair.time.rest()
    assert await stop(pair)
    may_lease.set()
    reader = await asking
    await pair.time.rest()
    assert reader.over
    assert await pair.texts() == ["hi", f"[{STOPPED_NOTE}]"]


async def test_a_stop_that_overtakes_its_request_is_kept_for_it(pair: ProcessPair) -> None:
    assert not await stop(pair), "nobody knows that name yet"
    model = Model()
    reader = await pair.one.ask(model, "hi", named=NAMED)
    await pair.time.rest()
    assert reader.over
    assert await pair.texts() == ["hi", f"[{STOPPED_NOTE}]"]


async def test_a_stop_is_for_its_request_alone_and_for_a_while(pair: ProcessPair) -> None:
    await stop(pair)
    assert not await pair.two.turns.stop(BOB, turn_id="another-name-of-a-turn", thread_id=None)
    others = [await pair.one.ask(Model("msg_1"), "hi", named="another-name-of-a-turn")]
    others += [await pair.one.ask(Model("msg_2"), "hi")]
    await pair.time.advance(STOP_S)
    others += [await pair.one.ask(Model("msg_3"), "ho", named=NAMED)]
    await pair.time.rest()
    assert not others[-1].over


async def test_a_turn_is_stopped_by_its_name_and_by_its_id(pair: ProcessPair) -> None:
    for name in (NAMED, "another-name-of-a-turn"):
        model = Model(f"msg_{name}")
        reader = await pair.one.ask(model, "hi", named=name)
        assert await stop(pair, name if name == NAMED else reader.stream.turn_id)
        await pair.time.advance(1)
        assert reader.over
        assert not await stop(pair, name), "it is over"


async def test_a_stop_for_a_turn_that_its_request_began_again_stops_nobody_else(pair: ProcessPair) -> None:
    first = Model("msg_first")
    old = await pair.one.ask(first, "hi")
    first.finish()
    await pair.time.advance(10)
    new = await pair.one.ask(Model("msg_second"), "hi")
    assert old.stream.turn_id != new.stream.turn_id
    assert not await stop(pair, old.stream.turn_id)
    await pair.time.advance(2)
    assert not new.over
