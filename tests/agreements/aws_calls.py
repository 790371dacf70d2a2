"""Records the IAM permissions that the calls of botocore clients need, as (action, resource). Knows no store.

A resource is "table", "index", "bucket", or the first folder of an object's key as a pattern ("offload/*").
"""

from collections.abc import Mapping
from typing import Any

Grant = tuple[str, str]

_TRANSACTION = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}


class AwsCalls:
    """Every operation called by the clients passed to `listen_to`, and the permissions that they need."""

    def __init__(self) -> None:
        self.operations: set[str] = set()
        self.needed: set[Grant] = set()

    def listen_to(self, client: Any) -> None:
        """Record each call of a boto3 client just before botocore builds the request."""
        client.meta.events.register("before-parameter-build", self._record)

    def _record(self, *, params: Mapping[str, Any], model: Any, **_: object) -> None:
        self.operations.add(model.name)
        match model.service_model.service_name:
            case "dynamodb":
                self.needed |= _table_grants(model.name, params)
            case "s3":
                self.needed |= _bucket_grants(model.name, params)
            case other:
                raise AssertionError(f"a call to {other}: add the IAM permissions of this service to AwsCalls")


def _table_grants(operation: str, params: Mapping[str, Any]) -> set[Grant]:
    if operation == "TransactWriteItems":  # IAM authorizes each part
        return {(_TRANSACTION[part], "table") for item in params["TransactItems"] for part in item}
    return {(f"dynamodb:{operation}", "index" if "IndexName" in params else "table")}


def _bucket_grants(operation: str, params: Mapping[str, Any]) -> set[Grant]:
    match operation:
        case "ListObjectsV2":
            return {("s3:ListBucket", "bucket")}
        case "HeadObject":
            return {("s3:GetObject", _folder(params["Key"]))}
        case "CopyObject":
            source = params["CopySource"]
            copied = source["Key"] if isinstance(source, Mapping) else str(source).split("/", 1)[1]
            return {("s3:GetObject", _folder(copied)), ("s3:PutObject", _folder(params["Key"]))}
        case "DeleteObjects":
            return {("s3:DeleteObject", _folder(deleted["Key"])) for deleted in params["Delete"]["Objects"]}
        case _:
            return {(f"s3:{operation}", _folder(params["Key"]))}


def _folder(key: str) -> str:
    return key.split("/", 1)[0] + "/*"
