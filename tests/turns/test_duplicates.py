"""Duplicate requests: attaching to a running turn, replaying a finished one, turn names, and refused originals."""

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
from tests.turns.turn_fixture import THREAD, Model, Patched, Process, ProcessPair, Reader, as_user

ANN = as_user("ann")
NAMED = "turn-named-by-the-client"


@pytest.fixture
async def pair() -> ProcessPair:
    return await ProcessPair.create()


async def answered(pair: ProcessPair, process: Process, words: str, **options: Any) -> Reader:
    """Run a turn that answers with these words."""
    model = Model(f"msg_{words}")
    reader = await process.ask(model, "hi", **options)
    model.say(words)
    model.finish()
    await pair.time.advance(0)
    assert reader.over
    assert model.calls == 1
    return reader


async def replayed(pair: ProcessPair, turn_id: str) -> list[bytes]:
    return [event async for event in await pair.second.turns.resume(turn_id, ANN)]


async def test_a_name_reused_after_its_lifetime_is_a_new_turn_with_its_own_journal(pair: ProcessPair) -> None:
    first = await answered(pair, pair.first, "once", named=NAMED)
    await pair.time.advance(BOUND_S + 1)
    second = await answered(pair, pair.second, "twice", named=NAMED)
    assert second.stream.turn_id != first.stream.turn_id
    assert await replayed(pair, NAMED) == await replayed(pair, second.stream.turn_id) == second.events
    assert await pair.texts() == ["hi", "once", "hi", "twice"]


async def test_a_turn_id_used_as_a_name_stands_for_its_own_request_only(pair: ProcessPair) -> None:
    first = await answered(pair, pair.first, "once")
    turn_id = first.stream.turn_id
    await pair.time.advance(SAME_BODY_S + 1)
    again = await pair.second.ask(Model("msg_no"), "hi", named=turn_id)
    await pair.time.advance(0)
    assert (again.stream.turn_id, again.events) == (turn_id, first.events)
    with pytest.raises(ConflictError, match="x-chat-turn"):
        await pair.second.ask(Model("msg_no"), "something else", named=turn_id)


async def test_names_are_separate_per_user(pair: ProcessPair) -> None:
    await answered(pair, pair.first, "once", named=NAMED)
    with pytest.raises(NotFoundError):
        await pair.second.turns.resume(NAMED, as_user("bob"))


REFUSALS: dict[str, Callable[[], ChatError | NotFoundError]] = {
    "missing": lambda: NotFoundError("x"),
    "conflict": lambda: ConflictError("This thread is closed."),
    "quota": lambda: QuotaError("Enough for today.", limit="day", retry_after_s=77),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("named", [NAMED, None])
async def test_duplicates_of_a_refused_request_get_the_same_refusal_at_once(
    pair: ProcessPair, kind: str, named: str | None
) -> None:
    """Only one request asks for admission; the others wait for its result."""
    calls: list[str] = []

    class Refusing:
        async def look(self) -> None:
            """The kill switch is off."""

        async def admit(self, *_: object) -> None:
            calls.append("admit")
            await pair.time.sleep(0.2)
            raise REFUSALS[kind]()

    for process in (pair.first, pair.second):
        process.turns.services = replace(process.turns.services, quotas=Refusing())  # type: ignore[arg-type] # only admit is used
    asking = [
        asyncio.create_task((pair.first, pair.second)[number % 2].ask(Model(), "hi", named=named))
        for number in range(50)
    ]
    await pair.time.advance(0.2 + sum(LOOK_AGAIN_S))
    assert all(task.done() for task in asking)
    refusals = [task.exception() for task in asking]
    expected = REFUSALS[kind]()
    assert calls == ["admit"]
    assert {type(refusal) for refusal in refusals} == {type(expected)}
    if not isinstance(expected, NotFoundError):
        assert {str(refusal) for refusal in refusals} == {str(expected)}
    if isinstance(expected, QuotaError):
        assert {(refusal.limit, refusal.retry_after_s) for refusal in refusals} == {("day", 77)}  # type: ignore[union-attr]


async def test_the_next_request_after_a_refusal_is_checked_again(pair: ProcessPair) -> None:
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await pair.first.ask(Model(), "hi", named=NAMED, thread_id="thr_no")
    await pair.second.store.save_thread(
        (await pair.second.store.load_thread(THREAD, ANN)).model_copy(update={"id": "thr_no"}), ANN
    )
    model = Model()
    await pair.first.ask(model, "hi", named=NAMED, thread_id="thr_no")
    assert model.calls == 1


@pytest.mark.parametrize("named", [NAMED, None])
async def test_a_claim_that_landed_after_its_timeout_blocks_its_key_only_for_seconds(
    pair: ProcessPair, named: str | None
) -> None:
    ledger = pair.first.store.ledger

    async def landed_late(*args: Any, **kwargs: Any) -> None:
        await ledger.claim_request(*args, **kwargs)
        raise UnavailableError("The store did not answer in time.")

    async def lost(*_: object, **__: object) -> None:
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Patched(ledger, claim_request=landed_late, release_request=lost)
    pair.first.turns.services = replace(pair.first.turns.services, ledger=faulty)
    with pytest.raises(UnavailableError):
        await pair.first.ask(Model(), "hi", named=named)
    model = Model()
    asking = asyncio.create_task(pair.second.ask(model, "hi", named=named))
    await pair.time.advance(UNBEGUN_S + RENEW_S)
    await asking
    assert model.calls == 1


async def test_a_claim_that_failed_with_an_error_is_released_at_once(pair: ProcessPair) -> None:
    ledger = pair.first.store.ledger

    async def landed(*args: Any, **kwargs: Any) -> None:
        await ledger.claim_request(*args, **kwargs)
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Patched(ledger, claim_request=landed)
    pair.first.turns.services = replace(pair.first.turns.services, ledger=faulty)
    with pytest.raises(UnavailableError):
        await pair.first.ask(Model(), "hi")
    model = Model()
    await pair.second.ask(model, "hi")
    assert model.calls == 1


async def test_a_refusal_is_answered_even_if_it_cannot_be_recorded(pair: ProcessPair) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise UnavailableError("The store did not answer in time.")

    faulty: Any = Patched(pair.first.store.ledger, refuse_request=lost)
    pair.first.turns.services = replace(pair.first.turns.services, ledger=faulty)
    with pytest.raises(NotFoundError):
        await pair.first.ask(Model(), "hi", thread_id="thr_no")


@pytest.mark.parametrize("at", ["before the lease", "after the lease"])
async def test_a_request_that_began_too_slowly_never_runs_next_to_the_one_that_took_its_key(
    pair: ProcessPair, at: str
) -> None:
    ledger = pair.first.store.ledger

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await pair.time.sleep(UNBEGUN_S + 1)
        return await ledger.bind_request(*args, **kwargs)

    class Slow:
        async def look(self) -> None:
            """The kill switch is off."""

        async def admit(self, *_: object) -> None:
            await pair.time.sleep(UNBEGUN_S + 1)

        async def settle(self, *_: object, **__: object) -> None:
            """Settle nothing."""

    services = pair.first.turns.services
    if at == "after the lease":
        late: Any = Patched(ledger, bind_request=slow)
        pair.first.turns.services = replace(services, ledger=late)
    else:
        pair.first.turns.services = replace(services, quotas=Slow())  # type: ignore[arg-type] # has all used methods
    first, second = Model("msg_first"), Model("msg_second")
    asking = asyncio.create_task(pair.first.ask(first, "hi"))
    again = asyncio.create_task(pair.second.ask(second, "hi"))
    await pair.time.advance(UNBEGUN_S * 2)
    with pytest.raises(UnavailableError):
        await asking
    assert (first.calls, second.calls) == (0, 1)
    assert not (await again).over


@pytest.mark.parametrize("named", [None, NAMED])
async def test_repeating_the_request_of_a_deleted_thread_is_new_unless_it_is_named(
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
