"""Creates tables as the stack deploys them, and buckets, on any engine with boto3's API.

The definition comes from the committed template, so that tests use the deployed keys and indexes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.loaders import create_loader
from moto import mock_aws

from lambda_src.store import keys
from lambda_src.store.aws_calls import CLIENT_CONFIG

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

TEMPLATE = Path(__file__).parents[1] / "template.json"
_CREATE_TABLE = ("KeySchema", "AttributeDefinitions", "BillingMode", "LocalSecondaryIndexes", "GlobalSecondaryIndexes")
_numbers = count()
_definitions = create_loader()  # parses what defines a service once per process; a session would parse it again


def deployed_definition() -> dict[str, Any]:
    """Return CreateTable's arguments for the table in the committed template, without its name."""
    resources = json.loads(TEMPLATE.read_text())["Resources"].values()
    tables = [r["Properties"] for r in resources if r["Type"] in ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable")]
    assert len(tables) == 1, "the stack must have exactly one table"
    return {name: value for name, value in tables[0].items() if name in _CREATE_TABLE}


def deployed_ttl_attribute() -> str:
    """Return the deployed time-to-live attribute."""
    resources = json.loads(TEMPLATE.read_text())["Resources"].values()
    tables = [r["Properties"] for r in resources if r["Type"] in ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable")]
    return str(tables[0]["TimeToLiveSpecification"]["AttributeName"])


class Aws:
    """Clients of a DynamoDB and an S3. With `endpoint` None, whatever botocore is patched to."""

    def __init__(self, endpoint: str | None = None) -> None:
        core = botocore.session.get_session()
        core.register_component("data_loader", _definitions)
        self.session = boto3.Session(
            botocore_session=core, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.dynamodb: DynamoDBClient = self.session.client("dynamodb", endpoint_url=endpoint, config=CLIENT_CONFIG)
        self.s3: S3Client = self.session.client("s3", endpoint_url=endpoint, config=CLIENT_CONFIG)

    def table(self) -> str:
        """Create an empty table with the deployed schema; return its name."""
        name = f"{keys.PARTITION_KEY}-table-{next(_numbers)}"
        with suppress(self.dynamodb.exceptions.ResourceInUseException):  # botocore retried on a slow engine
            self.dynamodb.create_table(TableName=name, **deployed_definition())
        return name

    def bucket(self) -> str:
        """Create an empty bucket; return its name."""
        name = f"bucket-{next(_numbers)}"
        self.s3.create_bucket(Bucket=name)
        return name

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return every row of a table."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [dict(row) for page in pages for row in page["Items"]]

    def objects(self, bucket: str) -> list[str]:
        """Return the key of every object in a bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextmanager
def moto_aws() -> Iterator[Aws]:
    """Run moto in this process."""
    with mock_aws():
        yield Aws()
