"""Reading ahead: the thread read during a message's check becomes model input, unless the thread has changed since.

Uses the real server on a recorded engine, where every request takes one round trip of virtual time.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from chatkit.types import ThreadsAddUserMessageReq, ThreadsCreateReq

from lambda_src.chat.server import ChatServer
from lambda_src.chat.validation import Checks
from lambda_src.context import RequestContext, User
from lambda_src.models.demo_model import DemoModel
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.startup import flags
from lambda_src.store.dynamodb.counters import TableCounters
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import SETTLED_MS, TurnServices
from tests.apps.chat import dispatcher_with, message, no_pause
from tests.quotas.engine import settings_with
from tests.turns.machine import Connection, RemoteStore
from tests.turns.test_costs import ROUND_TRIP_S, Counted
from tests.turns.turn_fixture import THREAD, Patched

MAX_ROUND_TRIPS = 4  # sequential requests before the model is called
NUMBERS = count()  # makes every message a different request
ahead_only = pytest.mark.skipif(not flags.is_on("ahead"), reason="without the optimization nothing is read ahead")


class RecordingModel(DemoModel):
    """The demo model; records its inputs, and after how many round trips it was called."""

    def __init__(self, counted: Counted) -> None:
        super().__init__(sleep=no_pause)
        self._counted = counted
        self.inputs: list[Any] = []
        self.round_trips = 0

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Record the input and stream the demo model's answer."""
        self.inputs.append(kwargs["input"] if "input" in kwargs else args[1])
        self.round_trips = round((self._counted.time.now_s - self._counted.engine.began_s) / ROUND_TRIP_S)
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Client:
    """Ann's client of the whole server on a counted store."""

    def __init__(self, counted: Counted, quotas: Quotas | None = None, *, user: User | None = None) -> None:
        self.counted, self.model = counted, RecordingModel(counted)
        self.user = user or User("ann")
        time, store = counted.time, counted.store
        self.agent = dispatcher_with(model=self.model)
        self.server = ChatServer(store, self.agent, feedback=store, new_threads=store)
        services = TurnServices(store.ledger, AnswerStore(store), sleep=time.sleep, clock=time.now_ms, quotas=quotas)
        self.turns = Turns(services)

    async def say(self, text: str, *, thread_id: str | None = THREAD) -> None:
        """Send a message and let time pass for its answer."""
        await self.agent.ensure_initialized()  # before virtual time matters: it uses a thread
        self.counted.engine.began_s = self.counted.time.now_s
        task = self.counted.time.start(self.answered(text, thread_id=thread_id))
        await self.counted.time.advance(4)
        await task

    async def answered(self, text: str, *, thread_id: str | None = THREAD) -> None:
        """Send a message and read its answer to the end; the caller lets time pass."""
        number = next(NUMBERS)
        params: dict[str, Any] = {"input": message(text)}
        kind: Any = ThreadsCreateReq
        if thread_id is not None:
            kind, params["thread_id"] = ThreadsAddUserMessageReq, thread_id
        request = kind.model_validate({"params": params})
        turn_request = TurnRequest(request.type, thread_id=thread_id, body=b"%d" % number, named=None)
        context = RequestContext(user=self.user, request_id="r", turn=turn_request.turn(self.user.id))

        async def check() -> None:
            await Checks(self.counted.store).check(request, context)

        async def begin() -> AsyncIterator[bytes]:
            return await self.server.events(request, context)

        turn = await self.turns.open(turn_request, check, begin, context=context)
        async for _ in turn:
            pass
        await turn.stop()

    async def pause(self) -> None:
        """Let enough time pass that the last turn is over by any clock."""
        await self.counted.time.advance(SETTLED_MS / 1000 + 1)


def quotas_of(counted: Counted, **limits: int) -> Quotas:
    """Return quotas whose counters are as far away as the store."""
    time, local = counted.time, TableCounters(counted.local.table, clock=counted.time.now_ns)
    counters: Any = RemoteStore(local, Connection(time, ROUND_TRIP_S / 2), taken=lambda *_: None)
    ledger = counted.store.ledger
    return Quotas(ledger, counters, settings_with(**limits), clock=time.now_ns)


@pytest.fixture
async def counted() -> Counted:
    counted = Counted()
    await counted.begin()
    return counted


def texts(model_input: list[Any]) -> list[str]:
    """Return the texts in a model's input."""
    contents = [part["content"] for part in model_input if "content" in part]
    return [content if isinstance(content, str) else "".join(part["text"] for part in content) for content in contents]


@ahead_only
async def test_a_message_makes_four_sequential_requests_before_the_model_is_called(counted: Counted) -> None:
    client = Client(counted)
    for text in ("one", "two", "three"):
        await client.say(text)
        assert client.model.round_trips == MAX_ROUND_TRIPS
        await client.pause()


@ahead_only
@pytest.mark.parametrize(
    ("allowance", "more"),
    [
        ({}, 0),  # the kill switch is read concurrently with the check
        ({"messages_per_minute": 5, "messages_per_day": 50, "running_turns": 3}, 1),
        ({"messages_per_day": 50, "stage_tokens_per_day": 400_000}, 2),
        ({"messages_per_day": 50, "tokens_per_day": 50_000, "stage_tokens_per_day": 400_000}, 2),
    ],
)
async def test_message_limits_cost_one_more_round_trip_and_token_limits_another(
    counted: Counted, allowance: dict[str, int], more: int
) -> None:
    client = Client(counted, quotas_of(counted, **allowance))
    await client.say("one")
    assert client.model.round_trips == MAX_ROUND_TRIPS + more


@ahead_only
@pytest.mark.parametrize(("percent", "more"), [(100, 2), (25, 2)], ids=["all", "a quarter"])
async def test_guests_wait_no_longer_than_users_whatever_is_counted(counted: Counted, percent: int, more: int) -> None:
    guest = User("ann", is_guest=True)
    quotas = quotas_of(counted, stage_tokens_per_day=400_000, guest_tokens_percent=percent)
    client = Client(counted, quotas, user=guest)
    await client.say("one")
    assert client.model.round_trips == MAX_ROUND_TRIPS + more


@ahead_only
async def test_a_new_thread_makes_two_sequential_requests(counted: Counted) -> None:
    """The idempotency key; then the thread with its message, lease and binding."""
    client = Client(counted)
    await client.say("a new thread", thread_id=None)
    assert client.model.round_trips == 2


@ahead_only
async def test_a_new_thread_makes_three_sequential_requests_if_its_parts_are_stored_separately(
    counted: Counted,
) -> None:
    """The idempotency key; the thread; then its message, concurrently with lease and binding."""
    client = Client(counted)
    client.server = ChatServer(counted.store, client.agent, feedback=counted.store)
    await client.say("a new thread", thread_id=None)
    assert client.model.round_trips == 3


async def test_the_model_input_is_the_same_with_and_without_reading_ahead(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs: list[list[str]] = []
    for off in (frozenset[str](), frozenset({"ahead"})):
        monkeypatch.setattr(flags, "_OFF", off)
        counted = Counted()
        await counted.begin()
        client = Client(counted)
        for text in ("one", "two", "three"):
            await client.say(text)
            await client.pause()
        inputs.append(texts(client.model.inputs[-1]))
    assert inputs[0] == inputs[1]
    assert inputs[0][0] == "one"
    assert inputs[0][-1] == "three"


async def test_items_written_by_another_turn_since_the_check_are_included(counted: Counted) -> None:
    """Another process's turn begins and ends between this turn's check and its lease."""
    client, other = Client(counted), Client(counted)
    ledger = counted.store.ledger

    async def take(*args: Any, **kwargs: Any) -> Any:
        client.turns.services = replace(client.turns.services, ledger=ledger)
        await other.answered("from the other tab")
        return await ledger.take_lease(*args, **kwargs)

    late: Any = Patched(ledger, take_lease=take)
    client.turns.services = replace(client.turns.services, ledger=late)
    await other.agent.ensure_initialized()
    await client.say("mine")
    input_texts = texts(client.model.inputs[-1])
    assert input_texts[0] == "from the other tab"
    assert input_texts[-1] == "mine"
    assert len(input_texts) == 3, "the other turn's answer is between them"
