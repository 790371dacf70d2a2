"""DynamoDB requests of a turn: what lease, idempotency key and journal cost compared with a turn without them.

Every request takes one round trip of virtual time, which separates concurrent requests from sequential ones.
docs/explanation/turns.md quotes the recording.
"""

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambda_src.context import RequestContext, Turn, User
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.store import keys
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.dynamodb import DynamoDBStore
from tests.quotas.engine import settings_with
from tests.store.engine.engine import Engine
from tests.store.model import Inline
from tests.turns.machine import Connection, RemoteStore
from tests.turns.turn_fixture import THREAD, Model, Process, thread_at
from tests.turns.virtual_time import VirtualTime

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "turns.md"
COSTS = PAGE.parents[1] / "reference" / "cost.md"
ROUND_TRIP_S = 0.02
EXTRA_REQUESTS = 4  # lease and idempotency key, independent of the answer's length
EXTRA_REQUESTS_PER_SECOND = 2  # the journal's batch and the lease's renewal
EXTRA_ROUND_TRIPS = 2  # before the user's message is written
EXTRA_ROWS = ("REQUEST", "TURN", "EVENTS")
CONTEXT = RequestContext(user=User("ann"), request_id="r", turn=Turn(id="turn-that-is-counted"))


class Recorded(Engine):
    """An engine that records its requests as (milliseconds, operation, row)."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time
        self.began_s = time.now_s
        self.seen: list[tuple[int, str, str]] = []

    def _begin(self, operation: str, params: Mapping[str, Any]) -> None:
        super()._begin(operation, params)
        key = params.get("Key") or params.get("Item")
        row = key[keys.SORT_KEY]["S"].split("#")[0] if key else "items"
        self.seen.append((round((self._time.now_s - self.began_s) * 1000), operation, row))


class Counted:
    """A recorded engine with ann's thread, and a store behind a connection to it."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.engine = Recorded(self.time)
        client: Any = self.engine
        local = DynamoDBStore(client, "table", clock=self.time.now_ns, executor=Inline())
        self.local = local
        self.store: Any = RemoteStore(local, Connection(self.time, ROUND_TRIP_S / 2), taken=lambda *_: None)

    async def begin(self) -> None:
        """Create the thread, then start recording."""
        await self.local.save_thread(thread_at(THREAD), CONTEXT)
        self.engine.seen.clear()
        self.engine.began_s = self.time.now_s

    @property
    def until_the_message(self) -> int:
        """The number of the round trip in which the user's message was written."""
        return next(
            math.ceil(ms / 1000 / ROUND_TRIP_S) for ms, operation, _ in self.engine.seen if operation == "PutItem"
        )


@pytest.fixture
async def counted() -> Counted:
    counted = Counted()
    await counted.begin()
    return counted


async def turn_of(counted: Counted, answer_s: float, *, quotas: Quotas | None = None) -> None:
    """Send a message to the thread; its answer streams words for `answer_s`."""
    model = Model()
    process = Process(counted.store, counted.time)
    process.turns.services = replace(process.turns.services, quotas=quotas)
    asking = process.ask(model, "hi")
    task = counted.time.start(asking)
    for _ in range(int(answer_s * 10)):
        model.say("word ")
        await counted.time.advance(0.1)
    model.finish()
    await counted.time.advance(1)
    assert (await task).over


async def message_of_a_plain_turn() -> int:
    """Return the round trip in which the message is written without a lease: right after the check."""
    counted = Counted()
    await counted.begin()

    async def plain() -> None:
        await counted.store.load_thread(THREAD, CONTEXT)
        events: AsyncIterator[bytes] = Model().events(counted.store, CONTEXT, THREAD, "hi")
        await anext(events)

    task = counted.time.start(plain())
    await counted.time.advance(1)
    await task
    return counted.until_the_message


async def test_lease_and_idempotency_key_delay_the_message_by_two_round_trips(
    counted: Counted,
) -> None:
    await turn_of(counted, 0.5)
    assert counted.until_the_message - await message_of_a_plain_turn() == EXTRA_ROUND_TRIPS


@pytest.mark.parametrize("answer_s", [0.4, 3.3, 9.7])
async def test_lease_idempotency_key_and_journal_cost_at_most_the_documented_requests(
    counted: Counted, answer_s: float
) -> None:
    await turn_of(counted, answer_s)
    extra = [row for _, _, row in counted.engine.seen if row in EXTRA_ROWS]
    assert len(extra) <= EXTRA_REQUESTS + EXTRA_REQUESTS_PER_SECOND * math.ceil(answer_s)
    assert len([row for row in extra if row == "EVENTS"]) <= math.ceil(answer_s) + 1


@pytest.mark.parametrize(("running", "more"), [(0, 1), (3, 2)])
async def test_a_message_limit_costs_one_request_and_a_limit_on_running_turns_another(
    counted: Counted, running: int, more: int
) -> None:
    ledger = counted.store.ledger
    settings = settings_with(messages_per_minute=5, messages_per_day=50, running_turns=running)
    time = counted.time
    quotas = Quotas(ledger, MemoryCounters(), settings, clock=time.now_ns)
    await turn_of(counted, 3.3, quotas=quotas)
    assert [row for _, _, row in counted.engine.seen].count(keys.QUOTA) == more


async def test_the_cost_page_states_the_requests_of_a_turn_of_eight_seconds(counted: Counted) -> None:
    await turn_of(counted, 8)
    extra = len([row for _, _, row in counted.engine.seen if row in EXTRA_ROWS])
    assert f"a turn of 8 s makes {extra} requests" in COSTS.read_text()


async def test_the_page_shows_the_recorded_requests_of_a_turn(counted: Counted) -> None:
    await turn_of(counted, 1.5)
    record = "\n".join(f"{ms:>5} ms  {operation:<10}  {row}" for ms, operation, row in counted.engine.seen)
    assert record in PAGE.read_text(), record
