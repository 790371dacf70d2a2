"""DynamoDBStore against the contract, on moto, with a table made from the committed template."""

from typing import Any

import pytest

from lambda_src.dev.store_contract import ErasureContract, StoreContract, UnreadableContract
from lambda_src.dev.store_contract.samples import context_of, item_ids, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.errors import TooLargeError
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.tables import Aws, deployed_definition, deployed_ttl_attribute

ADA = context_of("ada")


class TestDynamoDBStore(StoreContract, ErasureContract, UnreadableContract):
    """Run the contract."""

    @pytest.fixture
    def store(self, dynamodb_store: DynamoDBStore) -> DynamoDBStore:
        """A store on an empty table, with a bucket."""
        return dynamodb_store

    @pytest.fixture
    def spoil(self, aws: Aws, table: str) -> Any:
        """Mark a thread as written by a newer release."""

        async def spoil(thread_id: str) -> None:
            aws.dynamodb.update_item(
                TableName=table,
                Key={"pk": {"S": keys.user_partition("ada")}, "sk": {"S": keys.thread_sort(thread_id)}},
                UpdateExpression="SET #schema = :newer",
                ExpressionAttributeNames={"#schema": "schema"},
                ExpressionAttributeValues={":newer": {"N": "99"}},
            )

        return spoil


def test_the_deployed_table_is_the_one_that_keys_describe() -> None:
    local = keys.table_definition("any")
    deployed = deployed_definition()
    assert deployed["KeySchema"] == local["KeySchema"]
    assert deployed["LocalSecondaryIndexes"] == local["LocalSecondaryIndexes"]
    by_name = sorted(deployed["AttributeDefinitions"], key=str)
    assert by_name == sorted(local["AttributeDefinitions"], key=str)
    assert deployed_ttl_attribute() == keys.TTL_ATTRIBUTE


async def test_without_a_bucket_large_items_are_refused_and_nothing_is_lost(aws: Aws, table: str) -> None:
    store = DynamoDBStore(aws.dynamodb, table)
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of("msg_1", "before"), ADA)
    for write in (store.add_thread_item, store.save_item):
        with pytest.raises(TooLargeError, match="bucket"):
            await write("thr_1", message_of("msg_2", incompressible(300_000)), ADA)
        with pytest.raises(TooLargeError, match="bucket"):
            await write("thr_1", message_of("msg_1", incompressible(300_000)), ADA)
    assert await item_ids(store, "thr_1", ADA) == ["msg_1"]
    assert await store.load_item("thr_1", "msg_1", ADA) == message_of("msg_1", "before")
