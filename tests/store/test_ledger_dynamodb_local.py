"""DynamoDBStore.ledger on AWS's own DynamoDB Local: optional, see test_dynamodb_local.py."""

from collections.abc import Iterator

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.dynamodb_local import dynamodb_local
from tests.store.ledger_case import Processes
from tests.store.ledger_contract import LedgerContract
from tests.store.new_threads_contract import NewThreadsContract
from tests.store.tables import Aws


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """DynamoDB Local, in place of moto."""
    with dynamodb_local() as aws:
        yield aws


class TestOnDynamoDBLocal(LedgerContract, NewThreadsContract):
    """DynamoDBStores on one table."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str) -> Processes:
        """Processes on an empty table."""
        return Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock))
