"""DynamoDBStore on MiniStack: the contract and the state machine test, on another engine than moto.

For the differences, see test_engines.py.
"""

import pytest

from lambda_src.dev.store_contract import StoreContract
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.model import Inline, StoreMachine, machine_settings
from tests.store.tables import Aws


@pytest.fixture
def aws(ministack_aws: Aws) -> Aws:
    """DynamoDB and S3 in MiniStack, in place of moto's."""
    return ministack_aws


class TestDynamoDBStoreOnMiniStack(StoreContract):
    """Run the contract."""

    @pytest.fixture
    def store(self, aws: Aws, table: str, bucket: str) -> DynamoDBStore:
        """A store on an empty table, with a bucket."""
        return DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)


def test_the_model_agrees(aws: Aws) -> None:
    class MiniStackMachine(StoreMachine):
        """DynamoDBStore on MiniStack."""

        def open(self) -> DynamoDBStore:
            self.table = aws.table()
            return self.reopen()

        def reopen(self) -> DynamoDBStore:
            return DynamoDBStore(aws.dynamodb, self.table, clock=self.clock, executor=Inline())

    MiniStackMachine.TestCase.settings = machine_settings(fast=False)
    MiniStackMachine.TestCase().runTest()
