"""A DynamoDB table in a dictionary, with boto3's low-level client methods that answer and refuse as AWS does.

For tests that need thousands of requests per second. The same tests also run on moto and MiniStack to confirm it.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.store import keys
from tests.store.engine import strict
from tests.store.engine.expressions import Names, Parser, RefusedError, Row

PAGE_MAX_BYTES = 1024 * 1024
_FAILED = "The conditional request failed"


class Engine:
    """A table with the methods of boto3's low-level client. `requests` lists the operations so far."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.requests: list[str] = []
        self._applied: set[str | None] = set()  # tokens of transactions, which are not applied twice

    def answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call an operation by its name on the wire."""
        method = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
        answer: dict[str, Any] = getattr(self, method)(**params)
        return answer

    def get_item(self, **params: Any) -> dict[str, Any]:
        """GetItem."""
        self._begin("GetItem", params)
        strict.check_key(params["Key"])
        row = self.rows.get(_key(params["Key"]))
        return {} if row is None else {"Item": deepcopy(row)}

    def batch_get_item(self, **params: Any) -> dict[str, Any]:
        """BatchGetItem."""
        self._begin("BatchGetItem", params)
        ((table, request),) = params["RequestItems"].items()
        rows = [self.rows[_key(key)] for key in request["Keys"] if _key(key) in self.rows]
        return {"Responses": {table: [_projected(row, request) for row in rows]}, "UnprocessedKeys": {}}

    def put_item(self, **params: Any) -> dict[str, Any]:
        """PutItem."""
        self._begin("PutItem", params)
        old = self.rows.get(_key(params["Item"]))
        try:
            new = self._replaced(params)
        except RefusedError as refused:
            raise _error("PutItem", refused) from None
        self.rows[_key(params["Item"])] = new
        return {"Attributes": old} if old and params.get("ReturnValues") == "ALL_OLD" else {}

    def delete_item(self, **params: Any) -> dict[str, Any]:
        """DeleteItem."""
        self._begin("DeleteItem", params)
        try:
            _check_condition(params, Names(params), self.rows.get(_key(params["Key"]), {}))
        except RefusedError as refused:
            raise _error("DeleteItem", refused) from None
        old = self.rows.pop(_key(params["Key"]), None)
        return {"Attributes": old} if old and params.get("ReturnValues") == "ALL_OLD" else {}

    def update_item(self, **params: Any) -> dict[str, Any]:
        """UpdateItem."""
        self._begin("UpdateItem", params)
        old = self.rows.get(_key(params["Key"]))
        try:
            new = self._updated(params)
        except RefusedError as refused:
            raise _error("UpdateItem", refused) from None
        self.rows[_key(params["Key"])] = new
        return {"Attributes": old} if old and params.get("ReturnValues") == "ALL_OLD" else {}

    def transact_write_items(self, **params: Any) -> dict[str, Any]:
        """TransactWriteItems."""
        self._begin("TransactWriteItems", params)
        if (token := params.get("ClientRequestToken")) is not None and token in self._applied:
            return {}
        new: list[Row] = []
        reasons: list[dict[str, Any]] = []
        for item in params["TransactItems"]:
            reason: dict[str, Any] = {"Code": "None"}
            try:
                new.append(self._updated(item["Update"]) if "Update" in item else self._replaced(item["Put"]))
            except RefusedError as refused:
                reason = {"Code": "ConditionalCheckFailed", "Message": str(refused), **refused.more}
            reasons.append(reason)
        if any(reason["Code"] != "None" for reason in reasons):
            cancelled = RefusedError("TransactionCanceledException", "cancelled", CancellationReasons=reasons)
            raise _error("TransactWriteItems", cancelled)
        self.rows |= {_key(row): row for row in new}
        self._applied.add(token)
        return {}

    def batch_write_item(self, **params: Any) -> dict[str, Any]:
        """BatchWriteItem."""
        self._begin("BatchWriteItem", params)
        ((_, requests),) = params["RequestItems"].items()
        for request in requests:
            if "PutRequest" in request:
                self.rows[_key(request["PutRequest"]["Item"])] = deepcopy(request["PutRequest"]["Item"])
            else:
                self.rows.pop(_key(request["DeleteRequest"]["Key"]), None)
        return {"UnprocessedItems": {}}

    def query(self, **params: Any) -> dict[str, Any]:
        """Query, on the table or its index."""
        self._begin("Query", params)
        sort = keys.ORDER_KEY if "IndexName" in params else keys.SORT_KEY
        names = Names(params)
        # filtered by partition first, because parsing the condition for each row is slow
        partition = params["ExpressionAttributeValues"][":pk"]["S"]
        inside = [row for key, row in self.rows.items() if key[0] == partition and sort in row]
        matching = [row for row in inside if _matches(row, params, names)]
        matching.sort(key=lambda row: row[sort]["S"].encode(), reverse=not params.get("ScanIndexForward", True))
        if (start := params.get("ExclusiveStartKey")) is not None:
            matching.append(start)  # the row itself may have been deleted since
            matching.sort(key=lambda row: row[sort]["S"].encode(), reverse=not params.get("ScanIndexForward", True))
            matching = [row for row in matching[matching.index(start) + 1 :] if _key(row) != _key(start)]
        page: list[Row] = []
        size = 0
        for row in matching:
            page.append(row)
            size += strict.row_size(row)
            if len(page) == params.get("Limit") or size >= PAGE_MAX_BYTES:
                last = [keys.PARTITION_KEY, keys.SORT_KEY, *([sort] if sort == keys.ORDER_KEY else [])]
                position = {name: row[name] for name in last}
                return {"Items": [_projected(row, params) for row in page], "LastEvaluatedKey": position}
        return {"Items": [_projected(row, params) for row in page]}

    def scan(self, **params: Any) -> dict[str, Any]:
        """Scan the whole table at once; supports only the filter that our stores send."""
        self._begin("Scan", params)
        names = Names(params)
        filtered = params.get("FilterExpression")
        rows = [row for row in self.rows.values() if filtered is None or Parser(filtered, names).condition(row)]
        return {"Items": [_projected(row, params) for row in rows]}

    def _begin(self, operation: str, params: Mapping[str, Any]) -> None:
        self.requests.append(operation)
        try:
            strict.check(operation, params)
        except RefusedError as refused:
            raise _error(operation, refused) from None

    def _replaced(self, params: Mapping[str, Any]) -> Row:
        _check_condition(params, Names(params), self.rows.get(_key(params["Item"]), {}))
        row: Row = deepcopy(params["Item"])
        return row

    def _updated(self, params: Mapping[str, Any]) -> Row:
        names = Names(params)
        strict.check_key(params["Key"])
        old = self.rows.get(_key(params["Key"]), {})
        _check_condition(params, names, old)
        new = Parser(params["UpdateExpression"], names).update(old or dict(params["Key"]))
        strict.check_row(new)
        return deepcopy(new)


def _check_condition(params: Mapping[str, Any], names: Names, old: Row) -> None:
    """Raise RefusedError with the current row unless the request's condition holds."""
    if "ConditionExpression" in params and not Parser(params["ConditionExpression"], names).condition(old):
        raise RefusedError("ConditionalCheckFailedException", _FAILED, **({"Item": deepcopy(old)} if old else {}))


def _matches(row: Row, params: Mapping[str, Any], names: Names) -> bool:
    return Parser(params["KeyConditionExpression"], names).condition(row)


def _projected(row: Row, params: Mapping[str, Any]) -> Row:
    if "ProjectionExpression" not in params:
        return deepcopy(row)
    names = Names(params)
    projected = {names.name(token.strip()) for token in params["ProjectionExpression"].split(",")}
    return {name: deepcopy(value) for name, value in row.items() if name in projected}


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row[keys.PARTITION_KEY]["S"], row[keys.SORT_KEY]["S"]


def _error(operation: str, refused: RefusedError) -> ClientError:
    response: Any = {"Error": {"Code": refused.code, "Message": str(refused)}, **refused.more}
    return ClientError(response, operation)
