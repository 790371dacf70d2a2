"""What a message's check reads beside the guard is what the model is shown, unless the thread has changed since.

Requests and moments are those of the real server over a recorded engine, every request one round trip of virtual time.
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
from tests.turns.machine import Far, Line
from tests.turns.test_costs import ROUND_TRIP_S, Counted
from tests.turns.turn_fixture import THREAD, Replaced

AT_MOST = 4  # requests one after the other before the model is asked
NUMBERS = count()  # of messages: no two are the same request
ahead_only = pytest.mark.skipif(not flags.is_on("ahead"), reason="without the optimization nothing is read ahead")


class Asks(DemoModel):
    """The demo model; `shown` is what it was shown each time, `at_s` when."""

    def __init__(self, counted: Counted) -> None:
        super().__init__(sleep=no_pause)
        self._counted = counted
        self.shown: list[Any] = []
        self.round_trips = 0

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """The demo model's answer."""
        self.shown.append(kwargs["input"] if "input" in kwargs else args[1])
        self.round_trips = round((self._counted.time.now_s - self._counted.engine.began_s) / ROUND_TRIP_S)
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Asker:
    """Ann, at the whole server over a counted store."""

    def __init__(self, counted: Counted, quotas: Quotas | None = None, *, user: User | None = None) -> None:
        self.counted, self.model = counted, Asks(counted)
        self.user = user or User("ann")
        time, store = counted.time, counted.store
        self.agent = dispatcher_with(model=self.model)
        self.server = ChatServer(store, self.agent, feedback=store, new_threads=store)
        services = TurnServices(store.ledger, AnswerStore(store), sleep=time.sleep, clock=time.now_ms, quotas=quotas)
        self.turns = Turns(services)

    async def say(self, text: str, *, thread_id: str | None = THREAD) -> None:
        """A message, and time for its answer."""
        await self.agent.ensure_initialized()  # in a thread, whose time is not ours to pass
        self.counted.engine.began_s = self.counted.time.now_s
        task = self.counted.time.begun(self.answered(text, thread_id=thread_id))
        await self.counted.time.advance(4)
        await task

    async def answered(self, text: str, *, thread_id: str | None = THREAD) -> None:
        """A message, answered to the end, while somebody lets time pass."""
        number = next(NUMBERS)
        params: dict[str, Any] = {"input": message(text)}
        kind: Any = ThreadsCreateReq
        if thread_id is not None:
            kind, params["thread_id"] = ThreadsAddUserMessageReq, thread_id
        request = kind.model_validate({"params": params})
        asked = TurnRequest(request.type, thread_id=thread_id, body=b"%d" % number, named=None)
        context = RequestContext(user=self.user, request_id="r", turn=asked.turn(self.user.id))

        async def check() -> None:
            await Checks(self.counted.store).check(request, context)

        async def begin() -> AsyncIterator[bytes]:
            return await self.server.events(request, context)

        turn = await self.turns.open(asked, check, begin, context=context)
        async for _ in turn:
            pass
        await turn.stop()

    async def pause(self) -> None:
        """Long enough that all clocks agree that the last turn is over."""
        await self.counted.time.advance(SETTLED_MS / 1000 + 1)


def quotas_of(counted: Counted, **limits: int) -> Quotas:
    """Quotas whose counters are as far away as the store is."""
    time, near = counted.time, TableCounters(counted.near.table, clock=counted.time.now_ns)
    counters: Any = Far(near, Line(time, ROUND_TRIP_S / 2), taken=lambda *_: None)
    ledger = counted.store.ledger
    return Quotas(ledger, counters, settings_with(**limits), clock=time.now_ns)


@pytest.fixture
async def counted() -> Counted:
    counted = Counted()
    await counted.begin()
    return counted


def texts(shown: list[Any]) -> list[str]:
    """The texts of what a model was shown."""
    found = [part["content"] for part in shown if "content" in part]
    return [each if isinstance(each, str) else "".join(part["text"] for part in each) for each in found]


@ahead_only
async def test_a_message_asks_for_four_things_in_sequence_before_the_model_is_asked(counted: Counted) -> None:
    asker = Asker(counted)
    for text in ("one", "two", "three"):
        await asker.say(text)
        assert asker.model.round_trips == AT_MOST
        await asker.pause()


@ahead_only
@pytest.mark.parametrize(
    ("allowance", "more"),
    [
        ({}, 0),  # the switch is asked for beside the check
        ({"messages_per_minute": 5, "messages_per_day": 50, "running_turns": 3}, 1),
        ({"messages_per_day": 50, "stage_tokens_per_day": 400_000}, 2),
        ({"messages_per_day": 50, "tokens_per_day": 50_000, "stage_tokens_per_day": 400_000}, 2),
    ],
)
async def test_limits_on_messages_are_one_more_and_those_on_tokens_another(
    counted: Counted, allowance: dict[str, int], more: int
) -> None:
    asker = Asker(counted, quotas_of(counted, **allowance))
    await asker.say("one")
    assert asker.model.round_trips == AT_MOST + more


@ahead_only
@pytest.mark.parametrize(("percent", "more"), [(100, 2), (25, 2)], ids=["all", "a quarter"])
async def test_a_guest_waits_no_longer_than_a_user_whatever_is_counted(
    counted: Counted, percent: int, more: int
) -> None:
    guest = User("ann", is_guest=True)
    quotas = quotas_of(counted, stage_tokens_per_day=400_000, guest_tokens_percent=percent)
    asker = Asker(counted, quotas, user=guest)
    await asker.say("one")
    assert asker.model.round_trips == AT_MOST + more


@ahead_only
async def test_a_new_thread_waits_for_two_requests_in_sequence(counted: Counted) -> None:
    """The key; the thread with its message, its lease and its note."""
    asker = Asker(counted)
    await asker.say("a new thread", thread_id=None)
    assert asker.model.round_trips == 2


@ahead_only
async def test_a_new_thread_waits_for_three_requests_in_sequence_if_its_parts_are_stored_apart(
    counted: Counted,
) -> None:
    """The key; the thread; its message beside its lease and its note."""
    asker = Asker(counted)
    asker.server = ChatServer(counted.store, asker.agent, feedback=counted.store)
    await asker.say("a new thread", thread_id=None)
    assert asker.model.round_trips == 3


async def test_the_model_is_shown_the_same_with_and_without_reading_ahead(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[str]] = []
    for off in (frozenset[str](), frozenset({"ahead"})):
        monkeypatch.setattr(flags, "_OFF", off)
        counted = Counted()
        await counted.begin()
        asker = Asker(counted)
        for text in ("one", "two", "three"):
            await asker.say(text)
            await asker.pause()
        shown.append(texts(asker.model.shown[-1]))
    assert shown[0] == shown[1]
    assert shown[0][0] == "one"
    assert shown[0][-1] == "three"


async def test_what_another_turn_wrote_since_the_check_is_shown(counted: Counted) -> None:
    """Another process's turn begins and ends between this one's check and its lease."""
    asker, other = Asker(counted), Asker(counted)
    ledger = counted.store.ledger

    async def take(*args: Any, **kwargs: Any) -> Any:
        asker.turns.services = replace(asker.turns.services, ledger=ledger)
        await other.answered("from the other tab")
        return await ledger.take_lease(*args, **kwargs)

    late: Any = Replaced(ledger, take_lease=take)
    asker.turns.services = replace(asker.turns.services, ledger=late)
    await other.agent.ensure_initialized()
    await asker.say("mine")
    shown = texts(asker.model.shown[-1])
    assert shown[0] == "from the other tab"
    assert shown[-1] == "mine"
    assert len(shown) == 3, "with its answer between them"
