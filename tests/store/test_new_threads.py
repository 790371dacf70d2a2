"""DynamoDBStore.begin_thread: the contract on the strict engine and moto, its rows, and lost answers."""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_src.dev.store_contract.samples import message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.turns import turn_rows
from tests.store.engine.engine import Engine
from tests.store.engine.expressions import Row
from tests.store.engine.wire import Wire
from tests.store.ledger_case import ADA, LEASE_MS, Processes
from tests.store.local import Local
from tests.store.model import Inline
from tests.store.new_threads_contract import BOUND_S, KEY, TURN, NewThreadsContract, begin, beginning, claim
from tests.store.tables import Aws

A_MONTH_S = 30 * 86_400


class TestOnTheStrictEngine(NewThreadsContract):
    """DynamoDBStores on one table of the strict engine."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes on an empty table."""
        engine: Any = Engine()
        return Processes(lambda clock: DynamoDBStore(engine, "table", clock=clock, executor=Inline()))


class TestOnMoto(NewThreadsContract):
    """DynamoDBStores on one table in moto, which the wire makes as strict as AWS."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str, one_thread: Executor) -> Iterator[Processes]:
        """Processes on an empty table."""
        with Wire().on(aws.dynamodb):
            yield Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock, executor=one_thread))


def rows_of(local: Local) -> dict[tuple[str, str], Row]:
    """Return every row without its marks, which differ for each call."""
    return {
        key: {name: value for name, value in row.items() if name != turn_rows.MARK}
        for key, row in local.engine.rows.items()
    }


@pytest.mark.parametrize("retention_s", [0, A_MONTH_S])
async def test_its_rows_equal_those_of_separate_writes(retention_s: int) -> None:
    at_once, separate = Local(), Local()
    store = at_once.store(retention_s=retention_s)
    await claim(store)
    assert await begin(store)
    store = separate.store(retention_s=retention_s)
    await claim(store)
    await store.save_thread(thread_of(), beginning())
    await store.ledger.take_lease("thr_1", TURN, lease_ms=LEASE_MS, context=beginning())
    await store.ledger.bind_request(KEY, TURN, thread_id="thr_1", ttl_s=BOUND_S, context=beginning())
    await store.add_thread_item("thr_1", message_of("msg_1"), beginning())
    assert rows_of(at_once) == rows_of(separate)


async def test_it_is_one_request() -> None:
    local = Local()
    store = local.store()
    await claim(store)
    local.engine.requests.clear()
    await begin(store)
    assert local.engine.requests == ["TransactWriteItems"]


async def test_a_large_message_goes_to_the_bucket_only_if_the_thread_is_stored() -> None:
    local = Local()
    store = local.store()
    assert not await begin(store, text=incompressible(300_000))
    assert local.objects.kept == {}
    await claim(store)
    assert await begin(store, text=incompressible(300_000))
    assert len(local.objects.kept) == 1


class UnansweredClient:
    """A client whose first transaction is applied, but reported as still in progress."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.is_first = engine, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def transact_write_items(self, **params: Any) -> dict[str, Any]:
        """Send TransactWriteItems."""
        answer = self._engine.transact_write_items(**params)
        if self.is_first:
            self.is_first = False
            error: Any = {"Error": {"Code": "TransactionInProgressException", "Message": "in progress"}}
            raise ClientError(error, "TransactWriteItems")
        return answer


async def test_its_own_write_with_a_lost_answer_is_recognized() -> None:
    engine = Engine()
    client: Any = UnansweredClient(engine)
    store = DynamoDBStore(client, "table", executor=Inline())
    await claim(store)
    assert await begin(store)
    assert engine.requests.count("TransactWriteItems") == 2
    thread = thread_of()
    thread.title = "renamed"
    await store.save_thread(thread, ADA)
    assert engine.rows[keys.user_partition("ada"), keys.thread_sort("thr_1")]["field_title"] == {"S": '"renamed"'}
