"""Records what botocore clients ask of AWS, as IAM sees it: (action, what it is done to). Knows no store.

What it is done to is "table", "index", "bucket", or the first folder of an object's key as a pattern ("offload/*").
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
    """The calls of every client that it listens to, until the clients are gone."""

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
                self.needed |= _in_the_table(model.name, params)
            case "s3":
                self.needed |= _in_the_bucket(model.name, params)
            case other:
                raise AssertionError(f"{other} is called: say here what IAM asks for it")


def _in_the_table(operation: str, params: Mapping[str, Any]) -> set[Grant]:
    if operation == "TransactWriteItems":  # IAM asks for its parts
        return {(_TRANSACTION[part], "table") for item in params["TransactItems"] for part in item}
    return {(f"dynamodb:{operation}", "index" if "IndexName" in params else "table")}


def _in_the_bucket(operation: str, params: Mapping[str, Any]) -> set[Grant]:
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
            return {("s3:DeleteObject", _folder(found["Key"])) for found in params["Delete"]["Objects"]}
        case _:
            return {(f"s3:{operation}", _folder(params["Key"]))}


def _folder(key: str) -> str:
    return key.split("/", 1)[0] + "/*"
