"""DynamoDBStore on AWS's own DynamoDB Local: optional, because of its licence, and because it needs Java and npm.

Collected only when CHAT_DYNAMODB_LOCAL=1 (`make test-dynamodb-local`); it then fails without the engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_src.dev.store_contract import StoreContract
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.dying import DyingProcess
from tests.store.dynamodb_local import dynamodb_local
from tests.store.handover_races import RIVALS, race
from tests.store.tables import Aws, moto_aws


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """DynamoDB Local for the table, moto for the bucket."""
    with dynamodb_local() as local, moto_aws() as moto:
        local.s3 = moto.s3
        yield local


class TestDynamoDBStoreOnDynamoDBLocal(StoreContract):
    """Run the contract."""

    @pytest.fixture
    def store(self, aws: Aws, table: str, bucket: str) -> DynamoDBStore:
        """A store on an empty table, with a bucket."""
        return DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)


@pytest.mark.parametrize(("size", "fits"), [(190_000, True), (250_000, False)])
def test_an_index_that_projects_everything_halves_the_row(aws: Aws, table: str, size: int, fits: bool) -> None:
    """moto and MiniStack accept 400 KB; AWS also counts the index's copy, as does tests/store/engine/strict.py."""
    row: Any = {"pk": {"S": "p"}, "sk": {"S": "s"}, "order": {"S": "o"}, "payload": {"B": b"x" * size}}
    if fits:
        aws.dynamodb.put_item(TableName=table, Item=row)
        return
    with pytest.raises(ClientError, match="size"):
        aws.dynamodb.put_item(TableName=table, Item=row)


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("requests", range(0, 48, 3))
async def test_of_two_concurrent_hand_overs_with_one_killed_one_owner_remains(
    aws: Aws, table: str, bucket: str, rivals: str, requests: int
) -> None:
    def store(client: Any = aws.dynamodb, s3: Any = aws.s3) -> DynamoDBStore:
        return DynamoDBStore(client, table, bucket=bucket, s3=s3)

    async def run_both(first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]]) -> None:
        await asyncio.gather(first(), second())

    dying = DyingProcess(requests)
    await race(store, store(dying.client(aws.dynamodb), dying.client(aws.s3)), store(), RIVALS[rivals], run_both)
