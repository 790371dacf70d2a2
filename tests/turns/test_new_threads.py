"""A new thread on one table: one write stores it with its message, lease and key, before the model is called."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chatkit.types import ThreadsCreateReq

from lambda_src.dev.store_contract.samples import file_of
from lambda_src.errors import UnavailableError
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.turns.duplicates import CREATE, UNBEGUN_S, IdempotencyKey, TurnRequest
from tests.apps.chat import message
from tests.store.engine.engine import Engine
from tests.store.model import Inline
from tests.turns.test_newer_messages import SlowModel, Tab
from tests.turns.test_retried_messages import NAMED, LostAnswers
from tests.turns.turn_fixture import Patched, as_user
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")
HI = ThreadsCreateReq.model_validate({"params": {"input": message("hi")}})


class SharedTable:
    """Processes of ann's on one table."""

    def __init__(self) -> None:
        self.time, self.engine = VirtualTime(), Engine()
        self.model = SlowModel(self.time)
        self.store = self.open_store()

    def open_store(self) -> Any:
        """Return the store of another process."""
        client: Any = self.engine
        return DynamoDBStore(client, "table", clock=self.time.now_ns, executor=Inline())

    async def tab(self, new_threads: Callable[[Any], Any] = lambda store: store) -> Tab:
        """Return a browser tab with its own process, whose store for new threads is made by `new_threads`."""
        store = self.open_store()
        tab = Tab(store, self.time, self.model, new_threads=new_threads(store))
        await tab.agent.ensure_initialized()
        return tab

    async def answered(self, tab: Tab, *, named: str | None = None) -> list[bytes]:
        """Return the events of a message that starts a thread."""
        task = self.time.start(tab.answered(HI, named=named))
        await self.time.advance(60)
        return await task

    async def items(self) -> list[list[str]]:
        """Return the types of the items of each thread."""
        threads = (await self.store.load_threads(10, None, "asc", ANN)).data
        pages = [await self.store.load_thread_items(thread.id, None, 10, "asc", ANN) for thread in threads]
        return [[item.type for item in page.data] for page in pages]


ANSWERED = [["user_message", "assistant_message"]]


@pytest.fixture
def shared() -> SharedTable:
    return SharedTable()


@pytest.mark.parametrize("named", [None, NAMED])
async def test_a_new_thread_makes_two_requests_before_the_model_is_called(
    shared: SharedTable, named: str | None
) -> None:
    tab = await shared.tab()
    before: list[str] = []
    stream = shared.model.stream_response

    async def recorded(*args: Any, **kwargs: Any) -> Any:
        before.extend(shared.engine.requests)
        async for event in stream(*args, **kwargs):
            yield event

    shared.model.stream_response = recorded  # type: ignore[method-assign] # to see when it is called
    await shared.answered(tab, named=named)
    assert before == ["UpdateItem", "TransactWriteItems"]
    assert await shared.items() == ANSWERED


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "does not land"])
async def test_a_named_request_with_a_lost_write_answer_is_stored_and_answered_once(
    shared: SharedTable, lands: bool
) -> None:
    tab = await shared.tab(lambda store: LostAnswers(store, lands=lands).losing("begin_thread"))
    with pytest.raises(UnavailableError):
        await shared.answered(tab, named=NAMED)
    await shared.answered(await shared.tab(), named=NAMED)
    assert await shared.items() == ANSWERED
    assert shared.model.inputs == [["hi"]]


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "does not land"])
async def test_an_unnamed_request_with_a_lost_write_answer_leaves_no_thread(shared: SharedTable, lands: bool) -> None:
    tab = await shared.tab(lambda store: LostAnswers(store, lands=lands).losing("begin_thread"))
    with pytest.raises(UnavailableError):
        await shared.answered(tab)
    assert await shared.items() == []
    await shared.answered(await shared.tab())
    assert await shared.items() == ANSWERED


async def test_a_stop_that_arrives_before_its_request_stores_the_message_and_calls_no_model(
    shared: SharedTable,
) -> None:
    tab = await shared.tab()
    await tab.turns.stop(ANN, turn_id=NAMED, thread_id=None)
    await shared.answered(tab, named=NAMED)
    assert shared.model.inputs == []
    assert [kinds[0] for kinds in await shared.items()] == ["user_message"]


async def test_a_stop_while_the_model_answers_ends_the_turn(shared: SharedTable) -> None:
    tab, other = await shared.tab(), await shared.tab()
    task = shared.time.start(tab.answered(HI, named=NAMED))
    await shared.time.advance(0.1)
    assert await other.turns.stop(ANN, turn_id=NAMED, thread_id=None)
    await shared.time.advance(60)
    await task
    (kinds,) = await shared.items()
    assert kinds[-1] == "sdk_hidden_context"


async def test_a_request_with_the_same_name_attaches_to_the_turn_that_started_the_thread(shared: SharedTable) -> None:
    first = shared.time.start((await shared.tab()).answered(HI, named=NAMED))
    await shared.time.advance(0.1)
    second = shared.time.start((await shared.tab()).answered(HI, named=NAMED))
    await shared.time.advance(60)
    assert await first == await second
    assert len(shared.model.inputs) == 1


class LateStore:
    """A store that starts threads too late: their key has expired, and another process has claimed it."""

    def __init__(self, store: Any, shared: SharedTable, other: Tab) -> None:
        self._store, self._shared, self._other = store, shared, other
        self.others: list[asyncio.Task[list[bytes]]] = []

    async def begin_thread(self, *args: Any, **kwargs: Any) -> bool:
        """Start a thread after another process has claimed its key."""
        self._shared.time.now_s += UNBEGUN_S + 1
        self.others.append(self._shared.time.start(self._other.answered(HI, named=NAMED)))
        await self._shared.time.settle()
        is_stored: bool = await self._store.begin_thread(*args, **kwargs)
        return is_stored


async def test_a_request_whose_key_another_claimed_meanwhile_does_not_start(shared: SharedTable) -> None:
    other = await shared.tab()
    late: list[LateStore] = []

    def too_late(store: Any) -> LateStore:
        late.append(LateStore(store, shared, other))
        return late[0]

    tab = await shared.tab(too_late)
    with pytest.raises(UnavailableError):
        await shared.answered(tab, named=NAMED)
    await shared.time.advance(60)
    await late[0].others[0]
    gc.collect()  # nothing that the first attempt left may touch the thread, which is the other one's
    await shared.time.advance(60)
    assert await shared.items() == ANSWERED
    assert shared.model.inputs == [["hi"]]


@pytest.mark.parametrize(("named", "later_s", "is_kept"), [(NAMED, 1, True), (NAMED, -1, False), (None, 1, False)])
async def test_a_turn_that_ends_early_keeps_a_new_thread_that_may_be_of_another_attempt(
    shared: SharedTable, named: str | None, later_s: int, is_kept: bool
) -> None:
    request = TurnRequest(CREATE, None, b"{}", named)
    turn = request.turn(ANN.user.id)
    key = IdempotencyKey(shared.store.ledger, request, replace(ANN, turn=turn), clock=shared.time.now_ms)
    assert await key.claim() is None
    shared.time.now_s += UNBEGUN_S + later_s
    key.note_expiry()
    assert turn.is_retried_after(None) is is_kept


async def test_a_new_thread_that_ends_before_it_has_its_lease_leaves_its_files_to_the_next_attempt(
    shared: SharedTable,
) -> None:
    tab = await shared.tab()
    await shared.store.save_attachment(file_of("atc_1"), ANN)
    with_file = ThreadsCreateReq.model_validate({"params": {"input": message("hi") | {"attachments": ["atc_1"]}}})

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    services = tab.turns.services
    tab.turns.services = replace(services, ledger=Patched(services.ledger, take_lease=never))
    task = shared.time.start(tab.answered(with_file))
    await shared.time.advance(1)
    assert await shared.items() == [["user_message"]]
    task.cancel()  # the reader leaves
    await shared.time.advance(60)
    gc.collect()
    await shared.time.advance(60)
    assert task.cancelled()
    assert await shared.items() == []
    assert (await shared.store.load_attachment("atc_1", ANN)).thread_id is None
