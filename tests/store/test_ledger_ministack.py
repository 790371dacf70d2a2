"""DynamoDBStore.ledger on MiniStack: the contract on an engine that handles requests concurrently."""

from collections.abc import Iterator

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.ledger_case import Processes
from tests.store.ledger_contract import LedgerContract
from tests.store.ministack import ministack
from tests.store.new_threads_contract import NewThreadsContract
from tests.store.tables import Aws


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """DynamoDB in MiniStack, in place of moto's."""
    with ministack() as aws:
        yield aws


class TestOnMiniStack(LedgerContract, NewThreadsContract):
    """DynamoDBStores on one table."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str) -> Processes:
        """Processes on an empty table."""
        return Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock))
