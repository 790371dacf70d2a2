"""DynamoDBStore.ledger on MiniStack: the contract on an engine that handles requests concurrently."""

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.ledger_case import Processes
from tests.store.ledger_contract import LedgerContract
from tests.store.new_threads_contract import NewThreadsContract
from tests.store.tables import Aws


@pytest.fixture
def aws(ministack_aws: Aws) -> Aws:
    """DynamoDB in MiniStack, in place of moto's."""
    return ministack_aws


class TestOnMiniStack(LedgerContract, NewThreadsContract):
    """DynamoDBStores on one table."""

    @pytest.fixture
    def processes(self, aws: Aws, table: str) -> Processes:
        """Processes on an empty table."""
        return Processes(lambda clock: DynamoDBStore(aws.dynamodb, table, clock=clock))
