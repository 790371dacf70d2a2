"""A turn's journal, lease and thread rows when the store is slow, loses answers or fails, or the process must end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from chatkit.types import AssistantMessageItem

from lambda_src.errors import UnavailableError
from lambda_src.store import bounds
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import JournalBatch
from lambda_src.turns import journal, partial_answer
from lambda_src.turns.journal import Journal
from lambda_src.turns.lease import LEASE_MS, RENEW_S, RENEW_WITHIN_S
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import Chat, app_with, message, server_with
from tests.turns.machine import Connection, RemoteStore
from tests.turns.turn_fixture import THREAD, Model, Patched, ProcessPair, as_user
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def test_a_journal_batch_whose_answer_was_lost_is_sent_again_unchanged() -> None:
    """The batch may be stored already; a longer batch with the same number would be ignored and lost."""
    store = MemoryStore()
    faults = iter([UnavailableError("no answer"), None, None])

    async def append(thread_id: str, turn_id: str, batch: JournalBatch, **kwargs: Any) -> None:
        await store.ledger.append_journal(thread_id, turn_id, batch, **kwargs)
        if (fault := next(faults)) is not None:
            raise fault

    ledger: Any = Patched(store.ledger, append_journal=append)
    written = Journal(ledger, "turn", ANN)
    written.add(b"data: 1\n\n")
    with pytest.raises(UnavailableError):
        await written.flush(THREAD)
    written.add(b"data: 2\n\n")
    await written.flush(THREAD)
    assert await journal.read(store.ledger, THREAD, "turn", ANN) == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_a_slow_journal_does_not_delay_renewals(pair: ProcessPair) -> None:
    ledger = pair.first.store.ledger
    stuck = asyncio.Event()

    async def append(*_: object, **__: object) -> None:
        await stuck.wait()

    slow: Any = Patched(ledger, append_journal=append)
    pair.first.turns.services = replace(pair.first.turns.services, ledger=slow)
    model = Model()
    reader = await pair.first.ask(model, "hi")
    model.say("words")
    await pair.time.advance(LEASE_MS / 1000 + RENEW_S)
    assert await pair.second.turns.running_in(THREAD, ANN) == reader.stream.turn_id
    assert await pair.second.turns.stop(ANN, turn_id=None, thread_id=THREAD)
    await pair.time.advance(RENEW_S)
    assert model.cancelled == 1
    stuck.set()


def test_two_renewals_may_fail_before_a_lease_expires() -> None:
    assert 3 * (RENEW_S + RENEW_WITHIN_S) * 1000 < LEASE_MS
    assert RENEW_WITHIN_S < bounds.OPERATION_BUDGET_S, "otherwise the operation budget would be the limit"


async def test_a_process_that_must_end_writes_its_journal_first() -> None:
    """After SIGTERM there are 100 ms: one write, from which the next process recovers every word."""
    time = VirtualTime()
    rows = MemoryStore(clock=time.now_ns)
    connection = Connection(time, 0.01)
    pair = await ProcessPair.create()
    pair.time = time
    store: Any = RemoteStore(MemoryStore(beside=rows, clock=time.now_ns), connection, taken=lambda *_: None)
    await rows.save_thread((await pair.second.store.load_thread(THREAD, ANN)), ANN)
    pair.first = type(pair.first)(store, time)
    model = Model()
    asking = asyncio.create_task(pair.first.ask(model, "hi"))
    await time.advance(0.5)
    reader = await asking
    model.say("never ", "journaled ", "before")
    await time.settle()
    ending = asyncio.create_task(reader.stream.stop())
    await time.advance(0.03)
    connection.is_cut = True
    await time.advance(1)
    events = await journal.read(rows.ledger, THREAD, reader.stream.turn_id, ANN)
    (item,) = partial_answer.unfinished(events)
    assert isinstance(item, AssistantMessageItem)
    assert item.content[0].text == "never journaled before"
    ending.cancel()


Step = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("method", ["take_lease", "bind_request"])
async def test_a_new_thread_is_removed_if_its_lease_cannot_be_taken(method: str) -> None:
    store = MemoryStore()

    async def fail(*_: object, **__: object) -> None:
        raise UnavailableError("The store did not answer in time.")

    ledger: Any = Patched(store.ledger, **{method: fail})
    chat = Chat(app_with(server_with(store), services=TurnServices(ledger, AnswerStore(store))))
    assert (await chat("threads.create", input=message("hi"))).status == 503
    assert (await chat("threads.list")).json["data"] == []


async def test_the_words_of_three_crashed_turns_are_all_recovered(pair: ProcessPair) -> None:
    """Each took the lease from the previous one and died at once; the fourth stores all their words in order."""
    models = [Model(f"msg_{number}") for number in range(4)]
    for number, model in enumerate(models[:3]):
        turn_id = f"turn-that-died-{number}"
        context = as_user("ann")
        await pair.first.store.ledger.take_lease(THREAD, turn_id, lease_ms=LEASE_MS, context=context)
        written = Journal(pair.first.store.ledger, turn_id, context)
        model.say(f"words {number}")
        model.finish()
        async for event in model.events(MemoryStore(), context, THREAD, f"question {number}"):
            if b'"done"' not in event and b"item.done" not in event:
                written.add(event)
        await written.flush(THREAD)
    await pair.second.ask(models[3], "still there?")
    texts = [text for text in await pair.texts() if not text.startswith("[")]
    assert texts == ["words 0", "words 1", "words 2", "still there?"]
