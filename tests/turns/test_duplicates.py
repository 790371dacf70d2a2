"""The same request twice: which turn it meets, what it is told, and what a name is worth. Time is handed in."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.errors import ChatError, ConflictError, QuotaError, UnavailableError
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.duplicates import BOUND_S, SAME_BODY_S, UNBEGUN_S
from lambda_src.turns.lease import RENEW_S
from lambda_src.turns.lifecycle import LOOK_AGAIN_S
from tests.apps.chat import Chat, app_with, message, server_with
from tests.turns.turn_fixture import THREAD, Model, Process, ProcessPair, Reader, Replaced, as_user

ANN = as_user("ann")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def answered(pair: ProcessPair, process: Process, words: str, **asked: Any) -> Reader:
    """A turn of this process that has said its words and ended."""
    model = Model(f"msg_{words}")
    reader = await process.ask(model, "hi", **asked)
    model.say(words)
    model.finish()
    await pair.time.advance(0)
    assert reader.over
    assert model.calls == 1
    return reader


async def replayed(pair: ProcessPair, turn_id: str) -> list[bytes]:
    return [event async for event in await pair.two.turns.resume(turn_id, ANN)]


async def test_a_name_used_again_when_it_is_over_is_a_turn_with_a_journal_of_its_own(pair: ProcessPair) -> None:
    first = await answered(pair, pair.one, "once", named=NAMED)
    await pair.time.advance(BOUND_S + 1)
    second = await answered(pair, pair.two, "twice", named=NAMED)
    assert second.stream.turn_id != first.stream.turn_id
    assert await replayed(pair, NAMED) == await replayed(pair, second.stream.turn_id) == second.events
    assert await pair.texts() == ["hi", "once", "hi", "twice"]


async def test_an_id_that_was_minted_here_names_its_request_and_no_other(pair: ProcessPair) -> None:
    first = await answered(pair, pair.one, "once")
    turn_id = first.stream.turn_id
    await pair.time.advance(SAME_BODY_S + 1)
    again = await pair.two.ask(Model("msg_no"), "hi", named=turn_id)
    await pair.time.advance(0)
    assert (again.stream.turn_id, again.events) == (turn_id, first.events)
    with pytest.raises(ConflictError, match="x-chat-turn"):
        await pair.two.ask(Model("msg_no"), "something else", named=turn_id)


async def test_a_name_is_each_users_own(pair: ProcessPair) -> None:
    await answered(pair, pair.one, "once", named=NAMED)
    with pytest.raises(NotFoundError):
        await pair.two.turns.resume(NAMED, as_user("bob"))


REFUSALS: dict[str, Callable[[], ChatError | NotFoundError]] = {
    "missing": lambda: NotFoundError("x"),
    "conflict": lambda: ConflictError("This thread is closed."),
    "quota": lambda: QuotaError("Enough for today.", limit="day", retry_after_s=77),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("named", [NAMED, None])
async def test_duplicates_of_a_request_that_is_refused_are_refused_alike_and_at_once(
    pair: ProcessPair, kind: str, named: str | None
) -> None:
    """One is refused while the others wait for it; none of them tries its own luck."""
    tried: list[str] = []

    class Refusing:
        async def look(self) -> None:
            """The switch is on."""

        async def admit(self, *_: object) -> None:
            tried.append("admit")
            await pair.time.sleep(0.2)
            raise REFUSALS[kind]()

    for process in (pair.one, pair.two):
        process.turns.services = replace(process.turns.services, quotas=Refusing())  # type: ignore[arg-type] # admit is all
    asking = [
        asyncio.create_task((pair.one, pair.two)[number % 2].ask(Model(), "hi", named=named)) for number in range(50)
    ]
    await pair.time.advance(0.2 + sum(LOOK_AGAIN_S))
    assert all(task.done() for task in asking)
    refusals = [task.exception() for task in asking]
    wanted = REFUSALS[kind]()
    assert tried == ["admit"]
    assert {type(refusal) for refusal in refusals} == {type(wanted)}
    if not isinstance(wanted, NotFoundError):
        assert {str(refusal) for refusal in refusals} == {str(wanted)}
    if isinstance(wanted, QuotaError):
        assert {(refusal.limit, refusal.retry_after_s) for refusal in refusals} == {("day", 77)}  # type: ignore[union-attr]


async def test_the_next_request_after_a_refusal_is_asked_anew(pair: ProcessPair) -> None:
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await pair.one.ask(Model(), "hi", named=NAMED, thread_id="thr_no")
    await pair.two.store.save_thread(
        (await pair.two.store.load_thread(THREAD, ANN)).model_copy(update={"id": "thr_no"}), ANN
    )
    model = Model()
    await pair.one.ask(model, "hi", named=NAMED, thread_id="thr_no")
    assert model.calls == 1


@pytest.mark.parametrize("named", [NAMED, None])
async def test_a_claim_that_landed_after_its_time_out_holds_its_key_for_seconds_only(
    pair: ProcessPair, named: str | None
) -> None:
    ledger = pair.one.store.ledger

    async def landed_late(*args: Any, **kwargs: Any) -> None:
        await ledger.claim_request(*args, **kwargs)
        raise UnavailableError("The store did not answer in time.")

    async def lost(*_: object, **__: object) -> None:
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Replaced(ledger, claim_request=landed_late, release_request=lost)
    pair.one.turns.services = replace(pair.one.turns.services, ledger=faulty)
    with pytest.raises(UnavailableError):
        await pair.one.ask(Model(), "hi", named=named)
    model = Model()
    asking = asyncio.create_task(pair.two.ask(model, "hi", named=named))
    await pair.time.advance(UNBEGUN_S + RENEW_S)
    await asking
    assert model.calls == 1


async def test_a_claim_whose_fault_was_told_is_given_back_at_once(pair: ProcessPair) -> None:
    ledger = pair.one.store.ledger

    async def landed(*args: Any, **kwargs: Any) -> None:
        await ledger.claim_request(*args, **kwargs)
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Replaced(ledger, claim_request=landed)
    pair.one.turns.services = replace(pair.one.turns.services, ledger=faulty)
    with pytest.raises(UnavailableError):
        await pair.one.ask(Model(), "hi")
    model = Model()
    await pair.two.ask(model, "hi")
    assert model.calls == 1


async def test_a_refusal_is_told_even_if_it_cannot_be_noted(pair: ProcessPair) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Replaced(pair.one.store.ledger, refuse_request=lost)
    pair.one.turns.services = replace(pair.one.turns.services, ledger=faulty)
    with pytest.raises(NotFoundError):
        await pair.one.ask(Model(), "hi", thread_id="thr_no")


@pytest.mark.parametrize("at", ["before the lease", "after it"])
async def test_a_request_that_took_too_long_to_begin_never_runs_beside_the_one_that_took_its_key(
    pair: ProcessPair, at: str
) -> None:
    ledger = pair.one.store.ledger

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await pair.time.sleep(UNBEGUN_S + 1)
        return await ledger.bind_request(*args, **kwargs)

    class Slow:
        async def look(self) -> None:
            """The switch is on."""

        async def admit(self, *_: object) -> None:
            await pair.time.sleep(UNBEGUN_S + 1)

        async def settle(self, *_: object, **__: object) -> None:
            """Nothing was spent."""

    services = pair.one.turns.services
    if at == "after it":
        late: Any = Replaced(ledger, bind_request=slow)
        pair.one.turns.services = replace(services, ledger=late)
    else:
        pair.one.turns.services = replace(services, quotas=Slow())  # type: ignore[arg-type] # what is used of it
    first, second = Model("msg_first"), Model("msg_second")
    asking = asyncio.create_task(pair.one.ask(first, "hi"))
    again = asyncio.create_task(pair.two.ask(second, "hi"))
    await pair.time.advance(UNBEGUN_S * 2)
    with pytest.raises(UnavailableError):
        await asking
    assert (first.calls, second.calls) == (0, 1)
    assert not (await again).over


@pytest.mark.parametrize("named", [None, NAMED])
async def test_the_request_of_a_thread_that_was_deleted_is_a_new_one_unless_its_name_says_that_it_is_not(
    named: str | None,
) -> None:
    store = MemoryStore()
    chat = Chat(app_with(server_with(store)))
    headers = {} if named is None else {"x_chat_turn": named}
    body = json.dumps({"type": "threads.create", "params": {"input": message("hi")}}).encode()
    created = await chat.post(body, **headers)
    await chat("threads.delete", thread_id=created.of("thread.created")[0]["thread"]["id"])
    again = await chat.post(body, **headers)
    listed = (await chat("threads.list")).json["data"]
    if named is None:
        assert again.events[-1]["type"] == "thread.item.done"
        assert len(listed) == 1
    else:
        assert (again.status, listed) == (404, [])
