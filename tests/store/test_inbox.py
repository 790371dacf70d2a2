"""The operators' inbox of each ledger against the contract: in memory, on the strict engine and in moto."""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import pytest

from lambda_src.dev.store_contract.samples import context_of
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.inbox import UNTIL_MS
from lambda_src.store.inbox import PAGE_MATTERS, Inbox, Matter
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import Hold
from tests.store.engine.engine import Engine
from tests.store.engine.wire import Wire
from tests.store.inbox_contract import InboxContract
from tests.store.ledger_case import Processes
from tests.store.local import START, Local
from tests.store.model import Inline
from tests.store.tables import Aws

ADA = context_of("ada")


class TestMemory(InboxContract):
    """MemoryStores that share their rows."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes without rows."""
        first = MemoryStore()
        return Processes(lambda clock: MemoryStore(beside=first, clock=clock))


class TestOnTheStrictEngine(InboxContract):
    """DynamoDBStores on one table of the strict engine."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes on an empty table."""
        engine: Any = Engine()
        return Processes(lambda clock: DynamoDBStore(engine, "table", clock=clock, executor=Inline()))


class TestOnMoto(InboxContract):
    """DynamoDBStores on one table in moto, which the wire makes as strict as AWS."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str, one_thread: Executor) -> Iterator[Processes]:
        """Processes on an empty table."""
        with Wire().on(aws.dynamodb):
            yield Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock, executor=one_thread))


async def test_a_page_of_a_thousand_matters_is_one_query() -> None:
    local = Local()
    inbox: Inbox = local.store().ledger.inbox()
    for number in range(PAGE_MATTERS + 1):
        await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", START + number, f"msg_{number}"))
    local.engine.requests.clear()
    page = await inbox.page("")
    assert (len(page.matters), local.engine.requests) == (PAGE_MATTERS, ["Query"])
    rest = await inbox.page("", after=page.after)
    assert [matter.cause for matter in rest.matters] == [f"msg_{PAGE_MATTERS}"]


async def test_a_clock_that_has_nothing_to_do_makes_one_query() -> None:
    local = Local()
    local.engine.requests.clear()
    assert await local.store().ledger.inbox().due("", now_ms=START // 10**6) == []
    assert local.engine.requests == ["Query"]


async def test_rows_of_a_hold_have_no_ttl_until_it_is_released() -> None:
    local = Local()
    store = local.store()
    inbox: Inbox = store.ledger.inbox()
    await store.ledger.take_lease("thr_1", "one", lease_ms=1000, context=ADA)
    matter = Matter("handoff", "", "ada", "thr_1", START)

    def expiring() -> dict[str, bool]:
        return {sort.partition("#")[0]: keys.TTL_ATTRIBUTE in row for (_, sort), row in local.engine.rows.items()}

    assert expiring() == {"TURN": True}
    assert await inbox.hold(matter, turn_id="one", ends_turn=False, context=ADA) == "held"
    assert await store.ledger.renew_lease("thr_1", "one", lease_ms=1000, context=ADA) == "held"
    assert await store.ledger.end_lease("thr_1", "one", context=ADA)
    assert expiring() == {"TURN": False, "MATTER": False, "handoff": False}
    assert await inbox.pass_on("thr_1", Hold("", 0, matter.id), operator="olga", context=ADA)
    assert expiring() == {"TURN": False, "MATTER": False, "handoff": False}
    assert await inbox.release("thr_1", Hold("olga", 0, matter.id), operator="olga", context=ADA)
    assert expiring() == {"TURN": True, "MATTER": True, "handoff": True}


async def test_erasing_a_user_removes_the_hold_of_a_thread_that_retention_has_removed() -> None:
    local = Local()
    store = local.store()
    await store.ledger.take_lease("thr_1", "one", lease_ms=1000, context=ADA)
    matter = Matter("handoff", "", "ada", "thr_1", START, operator="olga")
    assert await store.ledger.inbox().hold(matter, turn_id="one", ends_turn=True, context=ADA) == "held"
    async for _ in store.erase_user(ADA):
        pass
    assert [key for key in local.engine.rows if key[0].startswith(("USER#ada", "INBOX#"))] == []


async def test_a_row_of_an_older_release_is_read_as_taken_until_it_is_due() -> None:
    """Then the time at which the role of an operator expires was only the time at which the clock looks."""
    local = Local()
    store = local.store()
    inbox: Inbox = store.ledger.inbox()
    await store.ledger.take_lease("thr_1", "one", lease_ms=1000, context=ADA)
    matter = Matter("handoff", "", "ada", "thr_1", START, operator="olga")
    assert await inbox.hold(matter, turn_id="one", ends_turn=True, context=ADA) == "held"
    [key] = [key for key in local.engine.rows if key[0] == keys.inbox_partition("")]
    row = dict(local.engine.rows[key])
    del row[UNTIL_MS]
    local.engine.rows[key] = row
    [read] = (await inbox.page("")).matters
    assert read.until_ms == read.due_ms == START // 10**6


async def test_rows_of_the_inbox_have_no_content() -> None:
    local = Local()
    inbox: Inbox = local.store().ledger.inbox()
    await inbox.open_matter(Matter("thumbs-down", "", "ada", "thr_1", START, "msg_1"))
    [row] = [row for key, row in local.engine.rows.items() if key[0] == keys.inbox_partition("")]
    assert row.keys() == {
        *("pk", "sk", "order", "expires_at", "kind", "state", "operator", "cause", "is_guest"),
        *("opened_ns", "changed_ms", "user_id", "thread_id"),
    }
