"""Early Stops: a Stop that arrives before its request, or before the request's turn has begun."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lambda_src.turns.lifecycle import STOP_S
from lambda_src.turns.persistence import STOPPED_NOTE
from tests.turns.turn_fixture import Model, Patched, ProcessPair, as_user

ANN, BOB = as_user("ann"), as_user("bob")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def stop(pair: ProcessPair, turn_id: str = NAMED) -> bool:
    return await pair.second.turns.stop(ANN, turn_id=turn_id, thread_id=None)


async def test_a_stop_between_claim_and_lease_stops_the_turn_when_it_begins(pair: ProcessPair) -> None:
    """This happens during a cold start, when only the claim has been written."""
    ledger = pair.first.store.ledger
    may_lease = asyncio.Event()

    async def take(*args: Any, **kwargs: Any) -> Any:
        await may_lease.wait()
        return await ledger.take_lease(*args, **kwargs)

    late: Any = Patched(ledger, take_lease=take)
    pair.first.turns.services = replace(pair.first.turns.services, ledger=late)
    model = Model()
    asking = asyncio.create_task(pair.first.ask(model, "hi", named=NAMED))
    await pair.time.settle()
    assert await stop(pair)
    may_lease.set()
    reader = await asking
    await pair.time.settle()
    assert reader.over
    assert await pair.texts() == ["hi", f"[{STOPPED_NOTE}]"]


async def test_a_stop_that_arrives_before_its_request_is_remembered(pair: ProcessPair) -> None:
    assert not await stop(pair), "no turn has this name yet"
    model = Model()
    reader = await pair.first.ask(model, "hi", named=NAMED)
    await pair.time.settle()
    assert reader.over
    assert await pair.texts() == ["hi", f"[{STOPPED_NOTE}]"]


async def test_an_early_stop_affects_only_its_own_request_and_expires(pair: ProcessPair) -> None:
    await stop(pair)
    assert not await pair.second.turns.stop(BOB, turn_id="another-name-of-a-turn", thread_id=None)
    others = [await pair.first.ask(Model("msg_1"), "hi", named="another-name-of-a-turn")]
    others += [await pair.first.ask(Model("msg_2"), "hi")]
    await pair.time.advance(STOP_S)
    others += [await pair.first.ask(Model("msg_3"), "ho", named=NAMED)]
    await pair.time.settle()
    assert not others[-1].over


async def test_a_turn_can_be_stopped_by_name_and_by_id(pair: ProcessPair) -> None:
    for name in (NAMED, "another-name-of-a-turn"):
        model = Model(f"msg_{name}")
        reader = await pair.first.ask(model, "hi", named=name)
        assert await stop(pair, name if name == NAMED else reader.stream.turn_id)
        await pair.time.advance(1)
        assert reader.over
        assert not await stop(pair, name), "the turn has ended"


async def test_stopping_an_ended_turn_does_not_stop_the_repeated_request(pair: ProcessPair) -> None:
    first = Model("msg_first")
    old = await pair.first.ask(first, "hi")
    first.finish()
    await pair.time.advance(10)
    new = await pair.first.ask(Model("msg_second"), "hi")
    assert old.stream.turn_id != new.stream.turn_id
    assert not await stop(pair, old.stream.turn_id)
    await pair.time.advance(2)
    assert not new.over
