"""What a turn asks of DynamoDB, request by request: lease, guard and journal beside the same turn without them.

Every request takes one round trip of virtual time, so what is sent side by side is told from what waits. docs/turns.md
quotes the record.
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
from tests.turns.machine import Far, Line
from tests.turns.turn_fixture import THREAD, Model, Process, thread_at
from tests.turns.virtual_time import VirtualTime

PAGE = Path(__file__).parents[2] / "docs" / "turns.md"
COSTS = PAGE.with_name("cost.md")
ROUND_TRIP_S = 0.02
BESIDE_REQUESTS = 4  # lease and guard, however long the answer takes
BESIDE_REQUESTS_A_SECOND = 2  # the journal's batch and the lease's renewal
BESIDE_ROUND_TRIPS = 2  # before the user's message is written
OURS = ("REQUEST", "TURN", "EVENTS")
CONTEXT = RequestContext(user=User("ann"), request_id="r", turn=Turn(id="turn-that-is-counted"))


class Recorded(Engine):
    """An engine that notes when it was asked for which row: milliseconds, operation, row."""

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
    """A process on a recorded engine, with Ann's thread in it."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.engine = Recorded(self.time)
        client: Any = self.engine
        near = DynamoDBStore(client, "table", clock=self.time.now_ns, executor=Inline())
        self.near = near
        self.store: Any = Far(near, Line(self.time, ROUND_TRIP_S / 2), taken=lambda *_: None)

    async def begin(self) -> None:
        """From here on everything is counted."""
        await self.near.save_thread(thread_at(THREAD), CONTEXT)
        self.engine.seen.clear()
        self.engine.began_s = self.time.now_s

    @property
    def until_the_message(self) -> int:
        """In which round trip the user's message was written."""
        return next(
            math.ceil(ms / 1000 / ROUND_TRIP_S) for ms, operation, _ in self.engine.seen if operation == "PutItem"
        )


@pytest.fixture
async def counted() -> Counted:
    counted = Counted()
    await counted.begin()
    return counted


async def turn_of(counted: Counted, answer_s: float, *, quotas: Quotas | None = None) -> None:
    """A message in a thread that is there, answered for so long with words all the time."""
    model = Model()
    process = Process(counted.store, counted.time)
    process.turns.services = replace(process.turns.services, quotas=quotas)
    asking = process.ask(model, "hi")
    task = counted.time.begun(asking)
    for _ in range(int(answer_s * 10)):
        model.say("word ")
        await counted.time.advance(0.1)
    model.finish()
    await counted.time.advance(1)
    assert (await task).over


async def message_of_a_bare_turn() -> int:
    """In which round trip the user's message is written where nobody takes a lease: after the check."""
    counted = Counted()
    await counted.begin()

    async def bare() -> None:
        await counted.store.load_thread(THREAD, CONTEXT)
        events: AsyncIterator[bytes] = Model().events(counted.store, CONTEXT, THREAD, "hi")
        await anext(events)

    task = counted.time.begun(bare())
    await counted.time.advance(1)
    await task
    return counted.until_the_message


async def test_the_users_message_is_written_two_round_trips_later_than_without_lease_and_guard(
    counted: Counted,
) -> None:
    await turn_of(counted, 0.5)
    assert counted.until_the_message - await message_of_a_bare_turn() == BESIDE_ROUND_TRIPS


@pytest.mark.parametrize("answer_s", [0.4, 3.3, 9.7])
async def test_lease_guard_and_journal_are_five_requests_and_two_a_second(counted: Counted, answer_s: float) -> None:
    await turn_of(counted, answer_s)
    beside = [row for _, _, row in counted.engine.seen if row in OURS]
    assert len(beside) <= BESIDE_REQUESTS + BESIDE_REQUESTS_A_SECOND * math.ceil(answer_s)
    assert len([row for row in beside if row == "EVENTS"]) <= math.ceil(answer_s) + 1


@pytest.mark.parametrize(("running", "more"), [(0, 1), (3, 2)])
async def test_a_limit_on_messages_is_a_request_more_and_one_on_turns_at_a_time_another(
    counted: Counted, running: int, more: int
) -> None:
    ledger = counted.store.ledger
    settings = settings_with(messages_per_minute=5, messages_per_day=50, running_turns=running)
    time = counted.time
    quotas = Quotas(ledger, MemoryCounters(), settings, clock=time.now_ns)
    await turn_of(counted, 3.3, quotas=quotas)
    assert [row for _, _, row in counted.engine.seen].count(keys.QUOTA) == more


async def test_the_page_of_costs_says_what_a_turn_of_eight_seconds_asks_for(counted: Counted) -> None:
    await turn_of(counted, 8)
    beside = len([row for _, _, row in counted.engine.seen if row in OURS])
    assert f"a turn of 8 s makes {beside} requests" in COSTS.read_text()


async def test_the_page_shows_the_requests_of_a_turn_as_they_were_recorded(counted: Counted) -> None:
    await turn_of(counted, 1.5)
    record = "\n".join(f"{ms:>5} ms  {operation:<10}  {row}" for ms, operation, row in counted.engine.seen)
    assert record in PAGE.read_text(), record
