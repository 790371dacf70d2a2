"""Deleting a PostgreSQL thread during its turn: the turn ends, and its journaled events are deleted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatkit.store import NotFoundError
from sqlalchemy.ext.asyncio import AsyncEngine

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.inbox import Matter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.postgres import PostgresStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.store.engine.engine import Engine
from tests.store.local import Local
from tests.store.model import Inline
from tests.store.postgres import emptied, sessions_of
from tests.turns.turn_fixture import THREAD, Model, Process, as_user, thread_at
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")
NAMED = "a-turn-that-has-a-name"


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on an empty database."""
    async with emptied(postgres_url) as engine:
        yield engine


def process(engine: AsyncEngine, ledger: Any, time: VirtualTime) -> Process:
    """Return a process with a PostgreSQL store whose turns are in `ledger`."""
    store: Any = PostgresStore(sessions_of(engine), ledger=ledger)
    server = Process(MemoryStore(), time)
    server.store = store
    server.turns = Turns(TurnServices(ledger, AnswerStore(store), sleep=time.sleep, clock=time.now_ms))
    return server


@pytest.mark.parametrize("on_table", [False, True], ids=["in memory", "on the table"])
async def test_an_erased_user_leaves_nothing_in_the_inbox(engine: AsyncEngine, *, on_table: bool) -> None:
    local = Local()
    ledger: Any = local.store().ledger if on_table else MemoryStore(clock=lambda: local.now).ledger
    store = PostgresStore(sessions_of(engine), ledger=ledger)
    await store.save_thread(thread_at(THREAD), ANN)
    for user, thread_id in (("ann", THREAD), ("ann", "thr-that-retention-removed"), ("bob", "thr-of-bob")):
        assert await ledger.inbox().open_matter(Matter("thumbs-down", "", user, thread_id, local.now, "msg_1"))
    async for _ in store.erase_user(ANN):
        pass
    assert [matter.user_id for matter in (await ledger.inbox().page("")).matters] == ["bob"]


@pytest.mark.parametrize("removal", ["delete", "erase"])
@pytest.mark.parametrize("on_table", [False, True], ids=["in memory", "on the table"])
async def test_a_deleted_threads_turn_ends_and_its_events_are_gone(
    engine: AsyncEngine, removal: str, *, on_table: bool
) -> None:
    time, rows = VirtualTime(), Engine()
    table: Any = DynamoDBStore(rows, "table", clock=time.now_ns, executor=Inline())  # type: ignore[arg-type] # a fake
    ledger = table.ledger if on_table else MemoryStore(clock=time.now_ns).ledger
    server = process(engine, ledger, time)
    await server.store.save_thread(thread_at(THREAD), ANN)
    model = Model()
    reader = await server.ask(model, "hi", named=NAMED)
    model.say("private words")
    await time.advance(1.2)
    if removal == "delete":
        await server.store.delete_thread(THREAD, ANN)
    else:
        assert [erased.threads async for erased in server.store.erase_user(ANN)] == [1]
    for turn_id in (NAMED, reader.stream.turn_id):
        with pytest.raises(NotFoundError):
            await server.turns.resume(turn_id, ANN)
    with pytest.raises(NotFoundError):
        await server.ask(Model("msg_other"), "hi", named=NAMED)
    model.say(" and more of them")
    for _ in range(3):
        await time.advance(1.1)
    await reader.stream.finished()
    assert model.cancelled == 1
    assert [batch async for batch in ledger.read_journal(THREAD, reader.stream.turn_id, first=0, context=ANN)] == []
    assert "EVENTS#" not in str(rows.rows)
