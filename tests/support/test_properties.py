"""Takeover on the strict engine: users, operators, their clock and sweeps in processes that interleave, and that may
die at any request.

Whatever happens: one operator has a thread, no model writes while a person has it, every message is stored once, lease
and inbox agree, the clock forgets no held thread, and each request for a person is announced. Afterwards an operator
can finish, and the assistant answers again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClosedStatus,
    StreamOptions,
    StreamOptionsEvent,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    UserMessageItem,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_src.auth.account_linking import AccountLinking
from lambda_src.context import RequestContext, User
from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from lambda_src.errors import ChatError, UnavailableError
from lambda_src.store import keys
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.inbox import Matter
from lambda_src.store.ports import Hold
from lambda_src.support.clock import OperatorClock
from lambda_src.support.desk import LEAVING, LEFT, Desk
from lambda_src.support.events import REQUESTED, EventType
from lambda_src.turns import closing
from lambda_src.turns.duplicates import MESSAGE, TurnRequest
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_ids import PERSON
from lambda_src.turns.turn_task import TurnServices
from tests.store.dying import DyingProcess, KilledError
from tests.store.interleaved import HeldExecutor, interleave
from tests.store.local import Local
from tests.store.model import MACHINES, Inline

ANN, BOB = context_of("ann"), context_of("bob")
THREAD = "thr_1"
REFUSALS = (ChatError, NotFoundError, KilledError)
USER_ACTIONS = ("say", "say", "ask", "ask", "stop", "link", "delete", "erase")
OPERATOR_ACTIONS = ("take", "write", "return", "close", "withdraw")
CLOCK_ACTIONS = ("look", "look", "sweep")
ROLE_S = 90  # how long the token of an operator is valid, unless that is not known
WAIT_MINUTES = 5
FOREVER = 10_000  # requests


async def no_pause(_: float) -> None:
    """Let others run."""
    await asyncio.sleep(0)


class Ticking(DyingProcess):
    """A process whose requests take 5 ms each."""

    def __init__(self, requests: int, local: Local) -> None:
        super().__init__(requests)
        self._local = local

    def request(self) -> None:
        """Let time pass, then count."""
        self._local.now += 5_000_000
        super().request()


@dataclass
class Process:
    """One process: its store, turns and desk on the shared table."""

    local: Local
    executor: Any = field(default_factory=Inline)
    requests: int = FOREVER
    store: DynamoDBStore = field(init=False)
    turns: Turns = field(init=False)
    desk: Desk = field(init=False)
    clock: OperatorClock = field(init=False)
    has_topic: bool = True

    def __post_init__(self) -> None:
        dying = Ticking(self.requests, self.local)
        local = replace(self.local, engine=dying.client(self.local.engine), objects=self.local.objects)
        self.store = local.store(executor=self.executor)
        services = TurnServices(
            self.store.ledger,
            AnswerStore(self.store),
            sleep=no_pause,
            clock=lambda: self.local.now // 1_000_000,
            has_operators=True,
        )
        self.turns = Turns(services)
        self.desk = Desk(
            self.store,
            self.store.ledger.inbox(),
            self.turns,
            MemoryCounters(clock=lambda: self.local.now),
            assistants=("",),
            clock=lambda: self.local.now,
        )
        self.clock = OperatorClock(
            self.store.ledger.inbox(),
            self.store,
            self.publish,
            assistants=("",),
            wait_minutes=WAIT_MINUTES,
            unanswered_message="Nobody is here.",
            clock=lambda: self.local.now,
        )

    async def publish(self, event: EventType, matter: Matter) -> None:
        """Publish, if the topic is not down."""
        if not self.has_topic:
            raise UnavailableError("The topic is down.")

    async def say(self, name: str, owner: RequestContext = ANN) -> list[bytes]:
        """Send a message under a name, and read its stream."""
        request = TurnRequest(MESSAGE, THREAD, name.encode(), f"message-of-ann-{name}")
        context = replace(owner, turn=request.turn(owner.user.id))

        async def check() -> None:
            await self.store.load_thread(THREAD, owner)

        async def begin() -> AsyncIterator[bytes]:
            return answer(self.store, context)

        stream = await self.turns.open(request, check, begin, context=context)
        events = [event async for event in stream]
        await stream.finished()
        return events

    @property
    def linking(self) -> AccountLinking:
        """Moves ann's threads to bob."""
        return AccountLinking(self.store, self.turns, now=lambda: self.local.now / 10**9)

    async def erase(self) -> None:
        """Erase ann."""
        async for _ in self.store.erase_user(ANN):
            pass

    async def act(self, who: str, action: str, number: int) -> None:
        """Do one thing."""
        match action:
            case "say":
                await self.say(f"{number:04d}")
            case "ask":
                await self.desk.ask(THREAD, ANN)
            case "stop":
                await self.turns.stop(ANN, turn_id=None, thread_id=THREAD)
            case "erase":
                await self.erase()
            case "link":
                await self.linking.link(User("ann", is_guest=True), BOB)
            case "delete":
                await self.store.delete_thread(THREAD, ANN)
                await self.store.sweep_thread(THREAD, ANN, stop=lambda: False)
            case "take":
                await self.desk.take(THREAD, ANN, operator=who, matter_id=None, until_s=self.until_s(number))
            case "write":
                name, until_s = f"name-{number}", self.until_s(number)
                await self.desk.write(
                    THREAD, ANN, operator=who, author=who, text=f"{number}", name=name, until_s=until_s
                )
            case "return":
                await self.desk.give_back(THREAD, ANN, operator=who)
            case "close":
                await self.desk.close(THREAD, ANN, operator=who)
            case "withdraw":
                await self.desk.withdraw(who, "request")
            case "look":
                self.has_topic = number % 3 > 0
                await self.clock.look(stop=lambda: False)
            case "sweep":
                await self.store.sweep(stop=lambda: False)

    def until_s(self, number: int) -> int:
        """When the role of the operator expires who acts; that is not known of every other action."""
        return self.local.now // 10**9 + ROLE_S if number % 2 else 0


async def answer(store: DynamoDBStore, context: RequestContext) -> AsyncIterator[bytes]:
    """What the chat server does with a message: store it and, unless a person answers, let a model answer."""
    turn = context.turn
    assert turn is not None
    assert turn.message_id is not None
    message = message_of(turn.message_id, "hello", thread_id=THREAD)
    with suppress(ChatError):  # a retry of a stored message
        await store.add_thread_item(THREAD, message, context)
    yield closing.encoded(ThreadItemDoneEvent(item=message))
    yield closing.encoded(StreamOptionsEvent(stream_options=StreamOptions(allow_cancel=True)))
    if turn.is_held:
        return
    item = AssistantMessageItem(
        id=f"model-{turn.message_id}",
        thread_id=THREAD,
        created_at=datetime.fromtimestamp(0, UTC),
        content=[AssistantMessageContent(text="an answer")],
    )
    yield closing.encoded(ThreadItemAddedEvent(item=item))
    await asyncio.sleep(0)
    await store.add_thread_item(THREAD, item, context)
    yield closing.encoded(ThreadItemDoneEvent(item=item))


@dataclass(frozen=True)
class Step:
    """Who does what, in a process that dies at request `dies_at`."""

    who: str
    action: str
    dies_at: int


steps = st.one_of(
    st.builds(Step, st.just("ann"), st.sampled_from(USER_ACTIONS), st.integers(0, 12) | st.just(FOREVER)),
    st.builds(
        Step, st.sampled_from(["olga", "otto"]), st.sampled_from(OPERATOR_ACTIONS), st.integers(0, 9) | st.just(FOREVER)
    ),
    st.builds(Step, st.just("clock"), st.sampled_from(CLOCK_ACTIONS), st.integers(0, 12) | st.just(FOREVER)),
)


@dataclass(frozen=True)
class Round:
    """Steps that happen concurrently, and how many seconds pass after them."""

    together: list[Step]
    then_s: int


BEGINNINGS = (
    "",
    "ann asks",
    "olga takes",
    "olga takes, olga writes",
    "ann asks, olga takes, olga writes, olga withdraws",
    "olga takes, olga writes, olga returns, ann says",
)
"""What happened before the rounds, in order."""

rounds_of_steps = st.builds(Round, st.lists(steps, min_size=1, max_size=3), st.sampled_from([1, 1, 60, 120, 400]))


def refused(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """`work`, which may be refused or killed."""

    async def run() -> None:
        with suppress(*REFUSALS):
            await work()

    return run


async def items_of(local: Local, owner: RequestContext) -> list[ThreadItem]:
    """The items of the thread."""
    return (await local.store().load_thread_items(THREAD, None, 100, "asc", owner)).data


async def hold_of(local: Local, owner: RequestContext) -> Hold | None:
    """Who has the thread."""
    row = await local.store().ledger.load_turn(THREAD, context=owner)
    return None if row is None else row.hold


async def owner_of(last: "Process") -> RequestContext | None:
    """Whose the thread is after unfinished moves were finished; None if it is gone."""
    await last.linking.finish(stop=lambda: False)
    for owner in (ANN, BOB):
        with suppress(NotFoundError):
            await last.store.load_thread(THREAD, owner)
            return owner
    return None


def assert_conversation(items: list[ThreadItem]) -> None:
    """No model writes between a person's message and the note that the person has left; each message is there once."""
    person: str | None = None
    for item in items:
        if item.id.startswith(PERSON):
            assert isinstance(item, AssistantMessageItem)
            author = item.content[0].text.partition(":")[0]
            person = author
        elif item.type == "hidden_context_item" and item.content == LEFT:
            person = None
        elif item.id.startswith("model-"):
            assert person is None, [other.id for other in items]
    ids = [item.id for item in items]
    assert len(set(ids)) == len(ids)


async def assert_consistent(local: Local, owner: RequestContext) -> None:
    """The lease and the inbox say the same, and nothing in the inbox is another user's."""
    hold, partition = await hold_of(local, owner), keys.thread_partition(owner.user.id, THREAD)
    page = await local.store().ledger.inbox().page("")
    assert {matter.user_id for matter in page.matters} <= {owner.user.id}
    open_handoffs = [matter for matter in page.matters if matter.kind == "handoff" and matter.state != "closed"]
    if hold is None:
        assert open_handoffs == []
    else:
        [matter] = open_handoffs
        assert (matter.id, matter.operator) == (hold.matter, hold.operator)
        assert matter.due_ms is not None, "the clock looks at it some day"
        lasting = [(partition, keys.TURN), (keys.inbox_partition(""), matter.id)]
        assert [key for key in lasting if keys.TTL_ATTRIBUTE in local.engine.rows[key]] == []


async def scene(beginning: str, rounds: list[Round], schedule: list[int]) -> None:
    """Play the beginning, then the rounds, each of them concurrently; then let everybody finish."""
    local = Local()
    await local.store().save_thread(thread_of(THREAD), ANN)
    number = 0
    for sentence in beginning.split(", ") if beginning else []:
        who, verb = sentence.split()
        number += 1
        await Process(local).act(who, verb.removesuffix("s"), number)
    for played in rounds:
        processes: list[tuple[HeldExecutor, Callable[[], Awaitable[None]]]] = []
        for step in played.together:
            held = HeldExecutor()
            process = Process(local, held, step.dies_at)
            number += 1
            processes.append((held, refused(partial(process.act, step.who, step.action, number))))
        await interleave(schedule, *processes)
        local.later(played.then_s)
    local.later(400)  # every lease of a dead process has expired
    last = Process(local)
    if any(step.action == "erase" for played in rounds for step in played.together):
        await last.erase()
    owner = await owner_of(last)
    if owner is None:
        await last.store.sweep(stop=lambda: False)
        assert (await last.store.ledger.inbox().page("")).matters == []
        return
    thread = await last.store.load_thread(THREAD, owner)
    await last.turns.recover(THREAD, owner)
    await assert_consistent(local, owner)
    for _ in range(2):
        await last.clock.look(stop=lambda: False)
        local.later(60)
    await assert_consistent(local, owner)
    page = await last.store.ledger.inbox().page("", kind="handoff")
    assert [matter.id for matter in page.matters if REQUESTED not in matter.accepted] == []
    assert_conversation(await items_of(local, owner))
    if isinstance(thread.status, ClosedStatus):
        return
    hold = await hold_of(local, owner)
    operator = hold.operator.removeprefix(LEAVING) if hold is not None and hold.operator else "olga"
    await last.desk.take(THREAD, owner, operator=operator, matter_id=None)
    await last.desk.write(THREAD, owner, operator=operator, author=operator, text="bye", name=None)
    await last.desk.give_back(THREAD, owner, operator=operator)
    await last.say("last", owner)
    items = await items_of(local, owner)
    assert_conversation(items)
    assert items[-1].id.startswith("model-")
    assert sum(isinstance(item, UserMessageItem) for item in items) <= number + 1
    await assert_consistent(local, owner)


@settings(max_examples=3 * MACHINES, deadline=None)
@given(
    beginning=st.sampled_from(BEGINNINGS),
    rounds=st.lists(rounds_of_steps, min_size=1, max_size=6),
    schedule=st.lists(st.integers(0, 2), max_size=40),
)
def test_a_thread_is_with_one_person_or_the_assistant(beginning: str, rounds: list[Round], schedule: list[int]) -> None:
    asyncio.run(scene(beginning, rounds, schedule))
