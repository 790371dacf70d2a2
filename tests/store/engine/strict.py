"""Checks for requests that DynamoDB refuses but local engines accept (moto, for example, accepts a batch of 26 items).

Limits from the Developer Guide, "Quotas in Amazon DynamoDB".
"""

import json
from collections.abc import Mapping
from typing import Any

from lambda_src.store import keys
from tests.store.engine.expressions import Names, Parser, Row, invalid

ITEM_MAX_BYTES = 400 * 1024 // 2  # half of 400 KB: the index projects ALL, and its copy counts too
BATCH_WRITE_MAX = 25
BATCH_GET_MAX = 100
TRANSACTION_MAX = 100
TRANSACTION_MAX_BYTES = 4 * 1024 * 1024
PARTITION_KEY_MAX_BYTES = 2048
SORT_KEY_MAX_BYTES = 1024
_KEY_NAMES = {keys.PARTITION_KEY, keys.SORT_KEY}


def size_of(value: Any) -> int:
    """Return approximately the bytes that DynamoDB counts for an attribute value; other types count as JSON text."""
    (kind,) = value
    content = value[kind]
    if kind == "B":
        return len(content) if isinstance(content, bytes) else len(content) * 3 // 4
    return len(content.encode()) if isinstance(content, str) else len(json.dumps(content))


def row_size(row: Row) -> int:
    """Return the bytes of a row's names and values."""
    return sum(len(name) + size_of(value) for name, value in row.items())


def check_row(row: Row) -> None:
    """Raise ValidationException for a row that no table would accept."""
    check_key({name: row.get(name) for name in (keys.PARTITION_KEY, keys.SORT_KEY)})
    if keys.ORDER_KEY in row and "S" not in row[keys.ORDER_KEY]:
        raise invalid("Type mismatch for Index Key order")
    if keys.ORDER_KEY in row and not 0 < size_of(row[keys.ORDER_KEY]) <= SORT_KEY_MAX_BYTES:
        raise invalid("One or more parameter values were invalid: size of index key")
    if row_size(row) > ITEM_MAX_BYTES:
        raise invalid("Item size has exceeded the maximum allowed size")


def check_key(key: Mapping[str, Any]) -> None:
    """Raise ValidationException unless the key is exactly a partition and a sort key of valid sizes."""
    if set(key) != _KEY_NAMES or any(value is None or set(value) != {"S"} for value in key.values()):
        raise invalid("The provided key element does not match the schema")
    for name, limit in ((keys.PARTITION_KEY, PARTITION_KEY_MAX_BYTES), (keys.SORT_KEY, SORT_KEY_MAX_BYTES)):
        if not 0 < size_of(key[name]) <= limit:
            raise invalid(f"One or more parameter values were invalid: size of {name}")


def check(operation: str, params: Mapping[str, Any]) -> None:
    """Raise ValidationException for a request that AWS refuses regardless of the table's content."""
    match operation:
        case "BatchWriteItem":
            for requests in params["RequestItems"].values():
                _check_writes(requests)
        case "BatchGetItem":
            for request in params["RequestItems"].values():
                requested = [json.dumps(key, sort_keys=True) for key in request["Keys"]]
                if not 0 < len(requested) <= BATCH_GET_MAX or len(set(requested)) != len(requested):
                    raise invalid("Too many items requested, none, or one of them twice")
                _check_consistent(request)
                _check_expressions(request, "ProjectionExpression")
        case "TransactWriteItems":
            _check_transaction(params["TransactItems"])
        case "GetItem" | "Query":
            _check_consistent(params)
            _check_expressions(params, "KeyConditionExpression", "ProjectionExpression")
            _check_start(params)
        case "PutItem" | "UpdateItem" | "DeleteItem":
            _check_expressions(params, "UpdateExpression", "ConditionExpression")
            if "Item" in params:
                check_row(params["Item"])
            values = params.get("ExpressionAttributeValues", {})
            if sum(size_of(value) for value in values.values()) > ITEM_MAX_BYTES:
                raise invalid("Item size to update has exceeded the maximum allowed size")


def exact_page(params: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Add the LastEvaluatedKey that DynamoDB, unlike moto, returns whenever Limit is reached, even on the last page."""
    items = answer.get("Items", [])
    if items and len(items) == params.get("Limit") and "LastEvaluatedKey" not in answer:
        names = [*_KEY_NAMES, *([keys.ORDER_KEY] if "IndexName" in params else [])]
        if all(name in items[-1] for name in names):
            answer["LastEvaluatedKey"] = {name: items[-1][name] for name in names}
    return answer


def _check_writes(requests: list[Any]) -> None:
    if not 0 < len(requests) <= BATCH_WRITE_MAX:
        raise invalid("Too many items requested for the BatchWriteItem call")
    targets = []
    for request in requests:
        if "PutRequest" in request:
            check_row(request["PutRequest"]["Item"])
        row = request.get("PutRequest", {}).get("Item") or request["DeleteRequest"]["Key"]
        targets.append(json.dumps([row[keys.PARTITION_KEY], row[keys.SORT_KEY]]))
    if len(set(targets)) != len(targets):
        raise invalid("Provided list of item keys contains duplicates")


def _check_transaction(items: list[Any]) -> None:
    if not 0 < len(items) <= TRANSACTION_MAX:
        raise invalid("Member must have length less than or equal to 100")
    total = 0
    for item in items:
        ((_, action),) = item.items()
        _check_expressions(action, "UpdateExpression", "ConditionExpression")
        if "Item" in action:
            check_row(action["Item"])
            total += row_size(action["Item"])
    if total > TRANSACTION_MAX_BYTES:
        raise invalid("Collection size of the transaction exceeded 4 MB")


def _check_consistent(params: Mapping[str, Any]) -> None:
    """Require consistent reads. This is our rule: nothing may rely on an eventually consistent read."""
    if params.get("ConsistentRead") is not True:
        raise invalid("this read is not consistent")


def _check_expressions(params: Mapping[str, Any], *fields: str) -> None:
    names = Names(params)
    for field in fields:
        text = params.get(field)
        if text is None:
            continue
        if field == "UpdateExpression":
            any_row = {name: {"N": "0", "L": []} for name in params.get("ExpressionAttributeNames", {}).values()}
            Parser(text, names).update(any_row)
        elif field == "ProjectionExpression":
            for token in text.split(","):
                names.name(token.strip())
        else:
            Parser(text, names).condition({})
    names.all_used()


def _check_start(params: Mapping[str, Any]) -> None:
    """Require a start key in the queried partition, with the index's key if an index is queried."""
    start = params.get("ExclusiveStartKey")
    if start is None:
        return
    expected = _KEY_NAMES | ({keys.ORDER_KEY} if "IndexName" in params else set())
    values = params.get("ExpressionAttributeValues", {}).values()
    if set(start) != expected or start[keys.PARTITION_KEY] not in list(values):
        raise invalid("The provided starting key is invalid")
