"""Erasing a user during a running turn: its late writes are invisible and removed by the hourly sweep."""

from typing import Any

import pytest

from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.engine.engine import Engine
from tests.store.model import Inline
from tests.turns.turn_fixture import THREAD, Model, Process, as_user, thread_at
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")


@pytest.mark.parametrize("ends", [True, False], ids=["it ends at once", "it notices"])
async def test_late_writes_of_a_running_answer_after_an_erasure_are_swept(ends: bool) -> None:
    time = VirtualTime()
    engine: Any = Engine()
    store: Any = DynamoDBStore(engine, "table", clock=time.now_ns, executor=Inline())
    process = Process(store, time)
    await store.save_thread(thread_at(THREAD), ANN)
    thread = await store.load_thread(THREAD, ANN)
    model = Model()
    reader = await process.ask(model, "hi")
    model.say("private words")
    await time.advance(1.2)
    model.say(" that wait for the next second")
    await time.settle()

    async for _ in store.erase_user(ANN):
        pass
    if ends:
        model.finish()
        await time.settle()
    await time.advance(1.5)
    assert reader.over
    assert ("ITEM" in str(engine.rows)) is ends, "only writes from before the turn noticed the erasure may remain"
    assert (await store.load_thread_items(THREAD, None, 100, "asc", ANN)).data == []
    assert [record async for record in store.export_user(ANN)] == []
    assert await process.turns.running_in(THREAD, ANN) is None
    thread.title = "private words"
    with pytest.raises(Exception, match="not found"):
        await store.save_thread(thread, ANN)

    await time.advance(LATE_WRITES_S)
    await store.sweep(stop=lambda: False)
    assert engine.rows == {}
