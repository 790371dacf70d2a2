"""Store test fixtures: moto in this process per module, a new table and bucket per test."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.engine.wire import Wire
from tests.store.tables import Aws, moto_aws

collect_ignore = (
    [] if os.environ.get("CHAT_DYNAMODB_LOCAL") == "1" else ["test_dynamodb_local.py", "test_ledger_dynamodb_local.py"]
)


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """DynamoDB and S3 in moto."""
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def table(aws: Aws) -> str:
    """A new table with the deployed schema."""
    return aws.table()


@pytest.fixture
def bucket(aws: Aws) -> str:
    """A new bucket."""
    return aws.bucket()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[Executor]:
    """Runs one call at a time, because moto checks a condition and applies the write in two steps."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def dynamodb_store(aws: Aws, table: str, bucket: str, one_thread: Executor) -> Iterator[DynamoDBStore]:
    """A DynamoDBStore on a new table with a bucket for large items; moto is made as strict as AWS."""
    with Wire().on(aws.dynamodb):
        yield DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3, executor=one_thread)
