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


class House:
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


Step = Callable[[House], Awaitable[Answer]]

OPERATIONS: dict[str, Step] = {
    "threads.create": lambda house: house.ann("threads.create", input=message("hello")),
    "threads.add_user_message": lambda house: house.ann(
        "threads.add_user_message", thread_id=house.thread_id, input=message("and you?")
    ),
    "threads.list": lambda house: house.ann("threads.list", limit=20, order="desc"),
    "threads.get_by_id": lambda house: house.ann("threads.get_by_id", thread_id=house.thread_id),
    "items.list": lambda house: house.ann("items.list", thread_id=house.thread_id, limit=20, order="asc"),
    "items.list (after an item)": lambda house: house.ann(
        "items.list", thread_id=house.thread_id, limit=20, order="asc", after=house.message_id
    ),
    "threads.update": lambda house: house.ann("threads.update", thread_id=house.thread_id, title="Another"),
    "items.feedback": lambda house: house.ann(
        "items.feedback", thread_id=house.thread_id, item_ids=[house.message_id], kind="positive"
    ),
    "threads.delete": lambda house: house.ann("threads.delete", thread_id=house.thread_id),
    "threads.delete (unknown)": lambda house: house.ann("threads.delete", thread_id="thr_unknown"),
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
async def house() -> House:
    house = House()
    await house.begin()
    return house


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_sends_the_requests_that_are_documented(house: House, name: str) -> None:
    answer = await OPERATIONS[name](house)
    assert answer.status == 200
    assert ", ".join(house.engine.seen) == documented()[name]


def test_every_documented_operation_is_counted() -> None:
    assert documented().keys() == OPERATIONS.keys()


async def test_a_crashed_turn_is_kept_before_its_thread_is_shown(house: House) -> None:
    await house.crash()
    await house.ann("threads.get_by_id", thread_id=house.thread_id)
    at_once, then = house.engine.seen[:3], house.engine.seen[-2:]
    assert (sorted(at_once), sorted(then)) == (["Get THREAD", "Get TURN", "Query"], ["Get THREAD", "Query"])
