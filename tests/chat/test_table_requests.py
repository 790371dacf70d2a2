"""DynamoDB requests per chat operation, counted through the app and compared with docs/reference/stores.md."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, function_tool

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.composition.app import Parts, build_app
from lambda_src.dev.store_contract.samples import context_of
from lambda_src.http.app import create_app
from lambda_src.models.demo_model import DemoModel
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import Settings
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.counters import TableCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.journal import SKEW_MS
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, dispatcher_with, known_by_name, message, no_pause, served
from tests.quotas.engine import settings_with
from tests.store.local import Local
from tests.store.metered import Metered

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stores.md"
SHORT = {"GetItem": "Get", "BatchGetItem": "BatchGet", "PutItem": "Put", "UpdateItem": "Update"}
SHORT |= {"BatchWriteItem": "BatchWrite", "TransactWriteItems": "Transact"}


class RecordingEngine(Metered):
    """An engine that records each request, the kind of row it concerns, and what DynamoDB would bill."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def _begin(self, operation: str, params: Mapping[str, Any]) -> None:
        super()._begin(operation, params)
        key = params.get("Key") or params.get("Item")
        row = f" {key[keys.SORT_KEY]['S'].split('#')[0]}" if key else ""
        self.seen.append(SHORT.get(operation, operation) + row)

    def reset(self) -> None:
        """Start to record and to count."""
        super().reset()
        self.seen.clear()


async def never(_: float) -> None:
    """Sleep forever, so that no lease is renewed during a turn, however slow the machine is."""
    await asyncio.Event().wait()


@function_tool
def look_up() -> str:
    """Look something up."""
    return "it is there"


class CountedApp:
    """An app on a counted table, where ann has one thread; without `limits` there are no quotas."""

    def __init__(self, limits: Settings | None = None) -> None:
        self.engine = RecordingEngine()
        self.local = Local(engine=self.engine)
        self.store: DynamoDBStore = self.local.store()
        server = ChatServer(self.store, dispatcher_with(tools=[look_up]), feedback=self.store, new_threads=self.store)
        services = TurnServices(
            self.store.ledger, AnswerStore(self.store), sleep=never, clock=lambda: self.local.now // 10**6
        )
        turns = Turns(services if limits is None else replace(services, quotas=self.quotas(limits)))
        app = create_app(
            AssistantEndpoint(served(server), turns),
            authenticate=known_by_name,
            sweeps=self.store,
            max_body_bytes=MAX_BODY_BYTES,
        )
        self.ann = Chat(app)
        self.thread_id = self.message_id = ""

    def quotas(self, limits: Settings) -> Quotas:
        """Return quotas with counters on the table."""
        counters = TableCounters(self.store.table, clock=lambda: self.local.now)
        return Quotas(self.store.ledger, counters, limits, clock=lambda: self.local.now)

    async def begin(self) -> None:
        """Create a thread with a message and its answer."""
        created = await self.ann("threads.create", input=message("hi"))
        self.thread_id = created.of("thread.created")[0]["thread"]["id"]
        self.message_id = created.of("thread.item.done")[0]["item"]["id"]
        self.local.later(60)
        self.engine.reset()

    async def crash(self) -> None:
        """Start a turn whose process died so long ago that it counts as dead by any clock."""
        ledger, lease_ms = self.store.ledger, -SKEW_MS - 1
        await ledger.take_lease(self.thread_id, "turn-of-a-dead-process", lease_ms=lease_ms, context=context_of("ann"))
        self.engine.reset()


Step = Callable[[CountedApp], Awaitable[Answer]]

ALL_QUOTAS = settings_with(
    messages_per_minute=5, messages_per_day=50, running_turns=3, tokens_per_day=50_000, stage_tokens_per_day=400_000
)

OPERATIONS: dict[str, Step] = {
    "threads.create": lambda app: app.ann("threads.create", input=message("hello")),
    "threads.add_user_message": lambda app: app.ann(
        "threads.add_user_message", thread_id=app.thread_id, input=message("and you?")
    ),
    "threads.add_user_message (with tool calls)": lambda app: app.ann(
        "threads.add_user_message", thread_id=app.thread_id, input=message("look up")
    ),
    "threads.create (with quotas)": lambda app: app.ann("threads.create", input=message("hello")),
    "threads.add_user_message (with quotas)": lambda app: app.ann(
        "threads.add_user_message", thread_id=app.thread_id, input=message("and you?")
    ),
    "threads.list": lambda app: app.ann("threads.list", limit=20, order="desc"),
    "threads.get_by_id": lambda app: app.ann("threads.get_by_id", thread_id=app.thread_id),
    "items.list": lambda app: app.ann("items.list", thread_id=app.thread_id, limit=20, order="asc"),
    "items.list (after an item)": lambda app: app.ann(
        "items.list", thread_id=app.thread_id, limit=20, order="asc", after=app.message_id
    ),
    "threads.update": lambda app: app.ann("threads.update", thread_id=app.thread_id, title="Another"),
    "items.feedback": lambda app: app.ann(
        "items.feedback", thread_id=app.thread_id, item_ids=[app.message_id], kind="positive"
    ),
    "threads.delete": lambda app: app.ann("threads.delete", thread_id=app.thread_id),
    "threads.delete (unknown)": lambda app: app.ann("threads.delete", thread_id="thr_unknown"),
}


def documented() -> dict[str, tuple[str, int, int]]:
    """Return the table in docs/reference/stores.md: operation -> requests in order, read units, write units."""
    cell = r"^\| `([a-z_]+\.[a-z_]+)`( \([a-z ]+\))? \| (\d+) \| (.*) \| (\d+) \| (\d+) \|$"
    rows = {}
    for name, case, number, requests, reads, writes in re.findall(cell, PAGE.read_text("utf-8"), re.MULTILINE):
        assert int(number) == len(requests.split(", ")), name
        rows[name + case] = (requests, int(reads), int(writes))
    return rows


@pytest.fixture
async def app() -> CountedApp:
    app = CountedApp()
    await app.begin()
    return app


@pytest.fixture
async def limited() -> CountedApp:
    """An app with a limit of each kind."""
    app = CountedApp(ALL_QUOTAS)
    await app.begin()
    return app


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_costs_the_documented_requests_and_capacity(
    app: CountedApp, limited: CountedApp, name: str
) -> None:
    app = limited if name.endswith("(with quotas)") else app
    answer = await OPERATIONS[name](app)
    assert answer.status == 200
    assert (", ".join(app.engine.seen), app.engine.reads, app.engine.writes) == documented()[name]


def test_every_documented_operation_is_counted() -> None:
    assert documented().keys() == OPERATIONS.keys()


async def test_a_crashed_turn_is_recovered_before_its_thread_is_loaded(app: CountedApp) -> None:
    await app.crash()
    await app.ann("threads.get_by_id", thread_id=app.thread_id)
    first, last = app.engine.seen[:3], app.engine.seen[-2:]
    assert (sorted(first), sorted(last)) == (["Get THREAD", "Get TURN", "Query"], ["Get THREAD", "Query"])


@pytest.mark.parametrize(
    ("is_same_table", "operations"), [(True, ["Transact"]), (False, ["Update THREAD", "Put ITEM"])]
)
async def test_the_composed_app_stores_a_new_thread_in_one_write_if_turns_are_in_the_same_table(
    is_same_table: bool, operations: list[str]
) -> None:
    engine = RecordingEngine()
    store = Local(engine=engine).store()
    ledger = store.ledger if is_same_table else MemoryStore().ledger
    parts = Parts(
        authenticate=known_by_name,
        build_agent=lambda: Agent(name="Test"),
        build_actions=Actions,
        build_run_config=lambda: RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True),
    )
    answer = await Chat(build_app(Settings(table="table"), store, ledger, parts))("threads.create", input=message("hi"))
    assert answer.status == 200
    seen = [request for request in engine.seen if request.split()[-1] in ("Transact", "THREAD", "ITEM")]
    assert seen[: len(operations)] == operations
