"""Both ledgers against the contract: in memory, and on DynamoDB in the strict engine and in moto."""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.memory.store import MemoryStore
from tests.store.engine.engine import Engine
from tests.store.engine.wire import Wire
from tests.store.ledger_case import Processes
from tests.store.ledger_contract import LedgerContract
from tests.store.model import Inline
from tests.store.tables import Aws


class TestMemoryLedger(LedgerContract):
    """MemoryStores that share their rows."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes without rows."""
        first = MemoryStore()
        return Processes(lambda clock: MemoryStore(beside=first, clock=clock))


class TestOnTheStrictEngine(LedgerContract):
    """DynamoDBStores on one table of the strict engine."""

    @pytest.fixture
    def processes(self) -> Processes:
        """Processes on an empty table."""
        engine: Any = Engine()
        return Processes(lambda clock: DynamoDBStore(engine, "table", clock=clock, executor=Inline()))


class TestOnMoto(LedgerContract):
    """DynamoDBStores on one table in moto, which the wire makes as strict as AWS."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str, one_thread: Executor) -> Iterator[Processes]:
        """Processes on an empty table."""
        with Wire().on(aws.dynamodb):
            yield Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock, executor=one_thread))
