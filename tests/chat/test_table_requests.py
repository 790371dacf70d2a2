"""What whole operations ask of the table, counted through the app and compared with docs/stores.md."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.server import ChatServer
from lambda_src.dev.store_contract.samples import context_of
from lambda_src.http.app import create_app
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.turns.journal import SKEW_MS
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, dispatcher_with, known_by_name, message, served
from tests.store.engine.engine import Engine
from tests.store.local import Local

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
SHORT = {"GetItem": "Get", "BatchGetItem": "BatchGet", "PutItem": "Put", "UpdateItem": "Update"}
SHORT |= {"BatchWriteItem": "BatchWrite", "TransactWriteItems": "Transact"}


class Noting(Engine):
    """An engine that notes each request and the kind of row it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def _begin(self, operation: str, params: Mapping[str, Any]) -> None:
        super()._begin(operation, params)
        key = params.get("Key") or params.get("Item")
        row = f" {key[keys.SORT_KEY]['S'].split('#')[0]}" if key else ""
        self.seen.append(SHORT.get(operation, operation) + row)


async def never(_: float) -> None:
    """A sleep without an end: the turn is over before its lease is renewed, however slow the machine is."""
    await asyncio.Event().wait()


class CountedApp:
    """The app on a counted table, and Ann, who has one thread."""

    def __init__(self) -> None:
        self.engine = Noting()
        self.local = Local(engine=self.engine)
        self.store: DynamoDBStore = self.local.store()
        server = ChatServer(self.store, dispatcher_with(), feedback=self.store, history_items=40)
        turns = Turns(
            TurnServices(self.store.ledger, AnswerStore(self.store), sleep=never, clock=lambda: self.local.now // 10**6)
        )
        app = create_app(
            AssistantEndpoint(served(server), turns),
            authenticate=known_by_name,
            sweeps=self.store,
            max_body_bytes=MAX_BODY_BYTES,
        )
        self.ann = Chat(app)
        self.thread_id = self.message_id = ""

    async def begin(self) -> None:
        """One thread with a message and its answer."""
        created = await self.ann("threads.create", input=message("hi"))
        self.thread_id = created.of("thread.created")[0]["thread"]["id"]
        self.message_id = created.of("thread.item.done")[0]["item"]["id"]
        self.local.later(60)
        self.engine.seen.clear()

    async def crash(self) -> None:
        """A turn began in the thread, and its process died so long ago that no clock may say that it runs."""
        ledger, lease_ms = self.store.ledger, -SKEW_MS - 1
        await ledger.take_lease(self.thread_id, "turn-of-a-dead-process", lease_ms=lease_ms, context=context_of("ann"))
        self.engine.seen.clear()


Step = Callable[[CountedApp], Awaitable[Answer]]

OPERATIONS: dict[str, Step] = {
    "threads.create": lambda app: app.ann("threads.create", input=message("hello")),
    "threads.add_user_message": lambda app: app.ann(
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


def documented() -> dict[str, str]:
    """The table of docs/stores.md: operation -> requests in order."""
    cell = r"^\| `([a-z_]+\.[a-z_]+)`( \([a-z ]+\))? \| (\d+) \| (.*) \|$"
    found = {}
    for name, case, number, requests in re.findall(cell, PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        assert int(number) == len(requests.split(", ")), name
        found[name + case] = requests
    return found


@pytest.fixture
async def app() -> CountedApp:
    app = CountedApp()
    await app.begin()
    return app


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_sends_the_requests_that_are_documented(app: CountedApp, name: str) -> None:
    answer = await OPERATIONS[name](app)
    assert answer.status == 200
    assert ", ".join(app.engine.seen) == documented()[name]


def test_every_documented_operation_is_counted() -> None:
    assert documented().keys() == OPERATIONS.keys()


async def test_a_crashed_turn_is_kept_before_its_thread_is_shown(app: CountedApp) -> None:
    await app.crash()
    await app.ann("threads.get_by_id", thread_id=app.thread_id)
    at_once, then = app.engine.seen[:3], app.engine.seen[-2:]
    assert (sorted(at_once), sorted(then)) == (["Get THREAD", "Get TURN", "Query"], ["Get THREAD", "Query"])
