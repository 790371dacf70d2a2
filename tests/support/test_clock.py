"""The operators' clock and events, on both inboxes: events arrive at least once, a waiting user gets one message."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import boto3
import pytest
from agents.testing import ScriptedModel, assistant_message
from chatkit.types import AssistantMessageItem

from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from lambda_src.errors import UnavailableError
from lambda_src.settings import Settings
from lambda_src.store.aws_calls import Calls
from lambda_src.store.inbox import DUE_MATTERS, Inbox, Matter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.support.clock import OperatorClock
from lambda_src.support.events import AnnouncedInbox, EventTopic, EventType, body_of
from tests.apps.support import OPERATORS, SupportApp
from tests.store.dying import dying_after
from tests.store.engine.wire import FAULTS, Wire, no_waiting
from tests.store.local import SECOND, START, Local
from tests.store.tables import Aws, moto_aws

ADA = context_of("ada")
WAIT_MINUTES = 5
TEXT = "Nobody is available."
TURN = "turn-0123456789abcdef"
CANARY = "words-of-ann-3f9a"
OF_A_HANDOFF: tuple[EventType, ...] = ("handoff.requested", "handoff.unanswered")


@dataclass
class Topic:
    """A fake topic that keeps what it accepts, and may be down."""

    is_down: bool = False
    sent: list[tuple[EventType, str]] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[None]] | None = None  # happens once, while an event is published

    async def __call__(self, event: EventType, matter: Matter) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        if self.is_down:
            raise UnavailableError("The event could not be sent.")
        self.sent.append((event, body_of(event, matter)["id"]))

    @property
    def events(self) -> list[EventType]:
        """The types of what was accepted."""
        return [event for event, _ in self.sent]


@dataclass
class Support:
    """A table with ada's thread, and processes on it."""

    local: Local
    topic: Topic
    memory: MemoryStore | None = None

    retention_s: int = 0

    def keep(self, *, retention_s: int) -> None:
        """Remove ada's thread so long after its last message."""
        self.retention_s = retention_s
        if self.memory is not None:
            self.memory = MemoryStore(clock=lambda: self.local.now, retention_s=retention_s)

    def store(self, local: Local | None = None) -> Any:
        return self.memory or (local or self.local).store(retention_s=self.retention_s)

    def inbox(self, local: Local | None = None) -> Inbox:
        return AnnouncedInbox(self.store(local).ledger.inbox(), self.topic, wait_ms=WAIT_MINUTES * 60_000)

    def clock(self, local: Local | None = None) -> OperatorClock:
        return self.clock_on(self.store(local), local)

    def clock_on(self, store: Any, local: Local | None = None) -> OperatorClock:
        return OperatorClock(
            store.ledger.inbox(),
            store,
            self.topic,
            assistants=("",),
            wait_minutes=WAIT_MINUTES,
            unanswered_message=TEXT,
            clock=lambda: (local or self.local).now,
        )

    async def look(self) -> int:
        return await self.clock().look(stop=lambda: False)

    async def ask(self) -> Matter:
        """Ada asks for a person."""
        store = self.store()
        await store.save_thread(thread_of(), ADA)
        await store.add_thread_item("thr_1", message_of(), ADA)
        await store.ledger.take_lease("thr_1", TURN, lease_ms=10_000, context=ADA)
        matter = Matter("handoff", "", "ada", "thr_1", self.local.now)
        assert await self.inbox().hold(matter, turn_id=TURN, ends_turn=True, context=ADA) == "held"
        return matter

    async def messages(self) -> list[str]:
        """The texts of the assistant's messages in ada's thread."""
        page = await self.store().load_thread_items("thr_1", None, 100, "asc", ADA)
        return [item.content[0].text for item in page.data if isinstance(item, AssistantMessageItem)]

    async def states(self) -> list[str]:
        """The states of all matters."""
        return [matter.state for matter in (await self.inbox().page("")).matters]


@pytest.fixture(params=["memory", "dynamodb"])
def support(request: pytest.FixtureRequest) -> Support:
    local = Local()
    memory = MemoryStore(clock=lambda: local.now) if request.param == "memory" else None
    return Support(local, Topic(), memory)


async def test_a_request_for_a_person_is_announced_at_once_and_only_once(support: Support) -> None:
    await support.ask()
    assert support.topic.events == ["handoff.requested"]
    support.local.later(60)
    assert await support.look() == 0
    assert support.topic.events == ["handoff.requested"]


async def test_an_event_that_failed_is_sent_by_the_clock_under_the_same_id(support: Support) -> None:
    support.topic.is_down = True
    matter = await support.ask()
    support.local.later(60)
    await support.look()
    support.topic.is_down = False
    for _ in range(3):
        support.local.later(60)
        await support.look()
    assert support.topic.sent == [("handoff.requested", body_of("handoff.requested", matter)["id"])]


async def test_a_user_whom_nobody_answers_gets_one_message(support: Support) -> None:
    await support.ask()
    for _ in range(2 * WAIT_MINUTES):
        support.local.later(60)
        await support.look()
    assert await support.messages() == [TEXT]
    assert support.topic.events == ["handoff.requested", "handoff.unanswered"]
    assert await support.states() == ["open"]


async def test_a_user_whom_a_person_answers_in_time_gets_no_message(support: Support) -> None:
    await support.ask()
    await take(support, until_s=3_600)
    for _ in range(2):
        support.local.later(WAIT_MINUTES * 60)
        await support.look()
    assert (await support.messages(), support.topic.events) == ([], ["handoff.requested"])
    assert await support.states() == ["taken"]


async def test_a_user_whose_thread_a_person_took_during_the_look_gets_no_message(support: Support) -> None:
    support.topic.is_down = True
    await support.ask()
    support.topic.is_down = False
    support.local.later(WAIT_MINUTES * 60)
    support.topic.meanwhile = partial(take, support, until_s=3_600)
    await support.look()
    assert (await support.messages(), await support.states()) == ([], ["taken"])
    assert support.topic.events == ["handoff.requested"]


async def test_a_thread_returns_to_the_inbox_when_the_operators_role_expires(support: Support) -> None:
    await support.ask()
    await take(support, until_s=120)
    support.local.later(60)
    await support.look()
    assert await support.states() == ["taken"]
    support.local.later(60)
    await support.look()
    row = await support.store().ledger.load_turn("thr_1", context=ADA)
    assert (await support.states(), row.hold.state) == (["open"], "waiting")


async def take(support: Support, *, until_s: int) -> None:
    """An operator takes ada's thread, with a token that is valid so long."""
    row = await support.store().ledger.load_turn("thr_1", context=ADA)
    until_ms = support.local.now // 10**6 + until_s * 1000
    assert await support.inbox().pass_on("thr_1", row.hold, operator="olga", until_ms=until_ms, context=ADA)


async def test_a_held_thread_stays_in_the_inbox_however_long_it_waits(support: Support) -> None:
    await support.ask()
    for _ in range(200):
        support.local.later(86_400)
        await support.look()
    row = await support.store().ledger.load_turn("thr_1", context=ADA)
    assert (await support.states(), row.hold.state) == (["open"], "waiting")
    assert await support.messages() == [TEXT]
    support.local.later(3_600)
    assert await support.look() == 0, "it is looked at once a day"


@pytest.mark.parametrize("is_taken", [False, True])
async def test_the_hold_of_a_thread_that_retention_has_removed_is_released(support: Support, *, is_taken: bool) -> None:
    support.keep(retention_s=40 * 86_400)
    await support.ask()
    if is_taken:
        await take(support, until_s=400 * 86_400)
    for _ in range(39):
        support.local.later(86_400)
        await support.look()
    assert await support.states() == ["taken" if is_taken else "open"]
    before = await support.messages()
    for _ in range(5):  # the message to a waiting user has extended the thread's life
        support.local.later(86_400)
        await support.look()
    row = await support.store().ledger.load_turn("thr_1", context=ADA)
    assert row is None or row.hold is None
    assert await support.states() == ["closed"]
    assert before == ([] if is_taken else [TEXT])
    support.local.later(31 * 86_400)
    assert await support.states() == []


async def test_a_matter_that_account_linking_moves_before_its_thread_is_kept(support: Support) -> None:
    await support.ask()
    other = context_of("bob")
    assert await support.store().ledger.hand_over_turns("thr_1", "ada", context=other)
    for _ in range(WAIT_MINUTES * 2):
        support.local.later(60)
        await support.look()
    assert await support.states() == ["open"]
    await support.store().save_thread(thread_of(), other)
    support.local.later(3_600)
    await support.look()
    page = await support.store().load_thread_items("thr_1", None, 100, "asc", other)
    assert [item.content[0].text for item in page.data] == [TEXT]


async def test_a_matter_whose_thread_has_no_hold_does_not_take_part_in_every_look(support: Support) -> None:
    await support.store().save_thread(thread_of(), ADA)
    until_ms = support.local.now // 10**6 + 1
    opened_ns = support.local.now
    lost = Matter("handoff", "", "ada", "thr_1", opened_ns, operator="olga", state="taken", until_ms=until_ms)
    await support.store().ledger.inbox().open_matter(lost)
    looked_at = []
    for _ in range(3):
        support.local.later(60)
        looked_at.append(await support.look())
    assert looked_at == [1, 0, 0]


async def test_a_thread_that_was_taken_without_a_request_has_no_event_while_it_is_taken(support: Support) -> None:
    app = SupportApp(
        store=support.store(), clock=lambda: support.local.now, until_s=support.local.now // SECOND + 90_000
    )
    thread_id = await app.thread("ann")
    assert (await app.operator("olga").post("ann", thread_id, "take")).status == 200
    for _ in range(24):
        support.local.later(3_600)
        await support.look()
    assert (await support.states(), support.topic.sent) == (["taken"], [])
    support.local.later(3_600)
    await support.look()
    assert await support.states() == ["open"]


async def test_thumbs_down_and_failed_turns_are_announced(support: Support) -> None:
    await support.store().save_thread(thread_of(), ADA)
    for kind, cause in (("thumbs-down", "msg_1"), ("failed-turn", "LookupError"), ("failed-turn", "LookupError")):
        await support.inbox().open_matter(Matter(cast(Any, kind), "", "ada", "thr_1", support.local.now, cause))
    assert support.topic.events == ["feedback.negative", "turn.failed"]
    support.local.later(60)
    assert await support.look() == 0


async def test_a_deleted_thread_has_no_matter_and_gets_no_message(support: Support) -> None:
    await support.ask()
    await support.store().delete_thread("thr_1", ADA)
    support.local.later(WAIT_MINUTES * 60)
    await support.look()
    assert await support.messages() == []


async def test_an_event_holds_ids_and_times_only() -> None:
    matter = Matter("handoff", "sales", "ada", "thr_1", START, "cause")
    body = body_of("handoff.requested", matter)
    assert body.keys() == {"id", "type", "assistant", "user", "thread", "matter", "opened_at"}
    assert (body["user"], body["thread"], body["opened_at"]) == ("ada", "thr_1", "2027-01-15T08:00:00.000+00:00")


async def test_a_look_that_finds_nothing_is_one_query_for_each_assistant() -> None:
    support = Support(Local(), Topic())
    assert await support.look() == 0
    assert support.local.engine.requests == ["Query"]


@pytest.mark.parametrize("is_down", [False, True])
async def test_events_and_the_message_survive_a_process_that_dies_at_any_request(is_down: bool) -> None:
    """Each event arrives at least once, always with the same id, and the message is stored once."""
    for requests in range(16):
        support = Support(Local(), Topic(is_down=is_down))
        matter = await support.ask()
        support.topic.is_down = False
        support.local.later(WAIT_MINUTES * 60)
        dying = dying_after(support.local, requests)
        with_dying = support.clock(dying)
        await asyncio.gather(with_dying.look(stop=lambda: False), return_exceptions=True)
        for _ in range(3):
            support.local.later(60)
            await support.look()
        assert await support.messages() == [TEXT], requests
        assert set(support.topic.sent) == {(event, body_of(event, matter)["id"]) for event in OF_A_HANDOFF}
        assert await support.look() == 0


async def test_a_matter_that_fails_does_not_keep_the_others_waiting(support: Support) -> None:
    support.topic.is_down = True
    await support.ask()
    inbox = support.inbox()
    await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", support.local.now, "msg_1"))
    support.local.later(60)
    assert await support.look() == 2


async def test_a_topic_that_is_down_keeps_no_user_waiting_for_the_message(support: Support) -> None:
    """Each look handles a limited number of matters; those whose event fails go behind the others."""
    support.topic.is_down = True
    await support.store().save_thread(thread_of(), ADA)
    for number in range(DUE_MATTERS + 20):
        await support.inbox().open_matter(
            Matter("thumbs-down", "", "ada", "thr_1", support.local.now + number, f"msg_{number}")
        )
    support.local.later(1)
    matter = await support.ask()
    for _ in range(WAIT_MINUTES + 3):
        support.local.later(60)
        await support.look()
    assert await support.messages() == [TEXT]
    support.topic.is_down = False
    for _ in range(4):
        support.local.later(60)
        await support.look()
    assert len(support.topic.sent) == len(set(support.topic.sent)) == DUE_MATTERS + 20 + 2
    assert ("handoff.unanswered", body_of("handoff.unanswered", matter)["id"]) in support.topic.sent


def subscribed(sns: Any, sqs: Any) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """A topic, and what arrives in a queue that is subscribed to it."""
    topic = sns.create_topic(Name="events")["TopicArn"]
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def arrived() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    return topic, arrived


async def test_an_event_reaches_the_subscribers_of_the_topic() -> None:
    with moto_aws():
        key: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}
        sns, sqs = boto3.client("sns", **key), boto3.client("sqs", **key)
        topic, arrived = subscribed(sns, sqs)
        matter = Matter("handoff", "", "ada", "thr_1", START)
        await EventTopic(sns, topic, calls=Calls())("handoff.requested", matter)
        [message] = arrived()
        assert json.loads(message["Message"]) == body_of("handoff.requested", matter)
        assert message["MessageAttributes"]["type"]["Value"] == "handoff.requested"
        sns.delete_topic(TopicArn=topic)
        with pytest.raises(UnavailableError):
            await EventTopic(sns, topic, calls=Calls())("handoff.requested", matter)


async def test_a_thread_that_an_operator_took_returns_to_the_inbox_when_the_operators_token_expires() -> None:
    support = Support(Local(), Topic())
    local = support.local
    until_s = local.now // SECOND + 120
    app = SupportApp(store=local.store(), clock=lambda: local.now, until_s=until_s)
    thread_id = await app.waiting("ann")
    assert (await app.operator("olga").post("ann", thread_id, "take")).status == 200
    local.later(60)
    await support.look()
    assert await support.states() == ["taken"]
    app.until_s = until_s + 120
    assert (await app.operator("olga").write("ann", thread_id, "I am here.")).status == 200  # with a newer token
    local.later(60)
    await support.look()
    assert await support.states() == ["taken"]
    local.later(120)
    await support.look()
    assert await support.states() == ["open"]
    assert (await app.operator("olga").write("ann", thread_id, "Still here.")).status == 409


async def test_an_operator_who_only_reads_a_thread_with_newer_tokens_keeps_it() -> None:
    support = Support(Local(), Topic())
    local = support.local
    app = SupportApp(store=local.store(), clock=lambda: local.now, until_s=local.now // SECOND + 120)
    thread_id = await app.waiting("ann")
    olga, otto = app.operator("olga"), app.operator("otto")
    assert (await olga.post("ann", thread_id, "take")).status == 200
    app.until_s += 120
    for operator, writes in ((otto, 0), (olga, 1), (olga, 0)):
        local.engine.requests.clear()
        assert (await operator.get(f"threads/ann/{thread_id}")).status == 200
        assert local.engine.requests.count("TransactWriteItems") == writes
    for _ in range(3):
        local.later(60)
        await support.look()
    assert await support.states() == ["taken"]
    local.later(60)
    await support.look()
    assert await support.states() == ["open"]


async def test_a_user_whose_thread_returned_to_the_inbox_waits_anew() -> None:
    support = Support(Local(), Topic())
    local = support.local
    app = SupportApp(store=local.store(), clock=lambda: local.now, until_s=local.now // SECOND + 3600)
    thread_id = await app.waiting("ann")
    await app.operator("olga").post("ann", thread_id, "take")
    local.later(600)
    app.operates["olga"] = frozenset()
    assert (await app.operator("olga").get("inbox")).status == 404
    for minutes, texts in ((1, []), (WAIT_MINUTES + 1, [TEXT])):
        local.later(minutes * 60)
        await support.look()
        assert [text for text in await app.texts("ann", thread_id) if text == TEXT] == texts


async def test_events_reach_the_topic_and_the_user_is_informed_whatever_fault_the_table_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with moto_aws():
        clients = {fault: cast(Any, Aws().dynamodb) for fault in FAULTS}  # each has its own quota of retries
        for fault, number in itertools.product(FAULTS, range(9)):  # a look that informs a user makes nine requests
            support = Support(Local(), Topic(is_down=True))
            matter = await support.ask()
            support.topic.is_down = False
            support.local.later(WAIT_MINUTES * 60)
            client = clients[fault]
            wire = Wire(faults={number: fault}, engine=support.local.engine)
            store = Local(engine=client, now=support.local.now).store(executor=ThreadPoolExecutor(1))
            with no_waiting(wire, monkeypatch.setattr), wire.on(client):
                await asyncio.gather(support.clock_on(store).look(stop=lambda: False), return_exceptions=True)
            support.local.later(60)
            await support.look()
            assert await support.messages() == [TEXT], (fault, number)
            assert set(support.topic.sent) == {(event, body_of(event, matter)["id"]) for event in OF_A_HANDOFF}


async def test_the_composed_stage_publishes_ids_and_nothing_that_people_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("DEFAULT_REGION", "us-east-1"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with moto_aws():
        key: dict[str, Any] = {"region_name": "us-east-1"}
        topic, arrived = subscribed(boto3.client("sns", **key), boto3.client("sqs", **key))
        settings = Settings(store="memory", operators=OPERATORS, events_topic=topic)
        app = SupportApp(settings=settings, model=ScriptedModel([[assistant_message(CANARY)], ValueError(CANARY)]))
        thread_id = await app.thread("ann", CANARY)
        await app.say("ann", thread_id, CANARY)
        items = (await app.chat("ann")("items.list", thread_id=thread_id)).json["data"]
        answer = next(item["id"] for item in items if item["type"] == "assistant_message")
        await app.chat("ann")("items.feedback", thread_id=thread_id, item_ids=[answer], kind="negative")
        await app.ask("ann", thread_id)
        published = arrived()
    bodies = [json.loads(message["Message"]) for message in published]
    assert sorted(body["type"] for body in bodies) == ["feedback.negative", "handoff.requested", "turn.failed"]
    assert {(body["user"], body["thread"]) for body in bodies} == {("ann", thread_id)}
    assert CANARY not in json.dumps(published)


async def test_a_topic_that_was_deleted_refuses_no_request_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DEFAULT_REGION", "us-east-1"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with moto_aws():
        sns = boto3.client("sns", region_name="us-east-1")
        topic = sns.create_topic(Name="events")["TopicArn"]
        sns.delete_topic(TopicArn=topic)
        app = SupportApp(settings=Settings(store="memory", operators=OPERATORS, events_topic=topic))
        thread_id = await app.waiting("ann")
    [matter] = await app.operator("olga").matters()
    assert (matter["thread"], matter["state"]) == (thread_id, "open")
