"""Requests to one DynamoDB table: consistent reads, batches with retries, paging. Knows no model."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lambda_src.store import keys
from lambda_src.store.aws_calls import Calls, pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Row = Mapping[str, Mapping[str, Any]]
"""A row in DynamoDB's wire format: attribute -> {type: value}."""
Key = tuple[str, str]
"""Partition key, sort key."""

GET_BATCH = 100  # DynamoDB's limit for BatchGetItem
WRITE_BATCH = 25  # DynamoDB's limit for BatchWriteItem
PAGE_ROWS = 1000  # per page of a whole partition: at most 40 batches of deletes between two checks of the time

_NAME = re.compile(r"#([a-z0-9_]+)")
_AS_WRITTEN: Mapping[str, str] = {}
_NOTHING: Mapping[str, Mapping[str, Any]] = {}


def expressions(
    *texts: str, values: Mapping[str, Mapping[str, Any]], names: Mapping[str, str] = _AS_WRITTEN
) -> dict[str, Any]:
    """Names and values of an expression: each `#word` becomes the attribute `word` (many are reserved words).

    `names` maps words to attributes with a different name.
    """
    names = {f"#{word}": names.get(word, word) for text in texts for word in _NAME.findall(text)}
    return {"ExpressionAttributeNames": names} | ({"ExpressionAttributeValues": dict(values)} if values else {})


def wire_key(key: Key) -> dict[str, dict[str, str]]:
    """A key in DynamoDB's wire format."""
    return {keys.PARTITION_KEY: {"S": key[0]}, keys.SORT_KEY: {"S": key[1]}}


def key_of(row: Row) -> Key:
    """The key of a row."""
    return row[keys.PARTITION_KEY]["S"], row[keys.SORT_KEY]["S"]


@dataclass(frozen=True, slots=True)
class Update:
    """An update of one row, to be sent by itself or in a transaction."""

    key: Key
    expression: str
    values: Mapping[str, Mapping[str, Any]]
    condition: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def params(self) -> dict[str, Any]:
        """The parameters of the request, without the table's name."""
        return {
            "Key": wire_key(self.key),
            "UpdateExpression": self.expression,
            **_condition(self.condition),
            **expressions(self.expression, self.condition, values=self.values, names=self.names),
        }


@dataclass(frozen=True, slots=True)
class Put:
    """A write of one whole row, to be sent by itself or in a transaction."""

    row: Row
    condition: str = ""
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def params(self) -> dict[str, Any]:
        """The parameters of the request, without the table's name."""
        condition = expressions(self.condition, values=self.values) if self.condition else {}
        return {"Item": self.row, **_condition(self.condition), **condition}


class Table:
    """One table. Every method sends one request unless documented otherwise."""

    def __init__(self, client: "DynamoDBClient", name: str, *, calls: Calls) -> None:
        self._client = client
        self._name = name
        self._calls = calls

    async def get(self, key: Key) -> Row | None:
        """The row, or None."""
        answer = await self._calls.run(
            self._client.get_item, TableName=self._name, Key=wire_key(key), ConsistentRead=True
        )
        row: Row | None = answer.get("Item")
        return row

    async def get_many(self, wanted: Sequence[Key], *, only: Sequence[str] = ()) -> dict[Key, Row]:
        """The rows that exist, whole or with `only` some attributes; one request per 100 rows and 16 MB."""
        existing: dict[Key, Row] = {}
        shape: dict[str, Any] = {"ConsistentRead": True}
        if only:
            projection = ", ".join(f"#{name}" for name in (keys.PARTITION_KEY, keys.SORT_KEY, *only))
            shape |= {"ProjectionExpression": projection, **expressions(projection, values={})}
        pending = [wire_key(key) for key in dict.fromkeys(wanted)]
        attempt = 0
        while pending:
            request = {self._name: {"Keys": pending[:GET_BATCH], **shape}}
            answer = await self._calls.run(self._client.batch_get_item, RequestItems=request)
            existing |= {key_of(row): row for row in answer["Responses"].get(self._name, [])}
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            pending = [*left, *pending[GET_BATCH:]]
            if left:
                await pause(attempt)
                attempt += 1
        return existing

    async def update(
        self,
        key: Key,
        expression: str,
        *,
        values: Mapping[str, Mapping[str, Any]],
        condition: str = "",
        names: Mapping[str, str] = _AS_WRITTEN,
    ) -> Row:
        """Apply `expression` and return the row as it was before, {} if new. ConditionFailedError contains it too."""
        return await self.apply(Update(key, expression, values, condition, names))

    async def put(self, row: Row, *, condition: str = "", values: Mapping[str, Mapping[str, Any]] = _NOTHING) -> Row:
        """Write a whole row and return the one it replaces, {} if none. ConditionFailedError contains it too."""
        return await self.apply(Put(row, condition, values))

    async def apply(self, write: Update | Put) -> Row:
        """Send one write and return the row as it was before, {} if new. ConditionFailedError contains it too."""
        method: Callable[..., Mapping[str, Any]]
        method = self._client.update_item if isinstance(write, Update) else self._client.put_item
        answer = await self._calls.run(method, TableName=self._name, ReturnValues="ALL_OLD", **write.params())
        before: Row = answer.get("Attributes", {})
        return before

    async def delete(self, key: Key, *, condition: str = "", values: Mapping[str, Mapping[str, Any]] = _NOTHING) -> Row:
        """Remove the row and return it, {} if there was none. ConditionFailedError contains it too."""
        conditions = _condition(condition) | (expressions(condition, values=values) if condition else {})
        answer = await self._calls.run(
            self._client.delete_item, TableName=self._name, Key=wire_key(key), ReturnValues="ALL_OLD", **conditions
        )
        before: Row = answer.get("Attributes", {})
        return before

    async def transact(self, *writes: Update | Put) -> None:
        """Apply all of the writes or none. ConditionFailedError, with the row, for the first condition that fails.

        botocore sends the same ClientRequestToken with each retry, so a retry after a lost response changes nothing.
        """
        items = [{type(write).__name__: {"TableName": self._name, **write.params()}} for write in writes]
        await self._calls.run(self._client.transact_write_items, TransactItems=items)

    async def write_many(self, *, puts: Iterable[Row] = (), deletes: Iterable[Key] = ()) -> None:
        """Write and remove rows in no particular order, one request per 25. Returns when all are done."""
        pending: list[dict[str, Any]] = [{"PutRequest": {"Item": row}} for row in puts]
        pending += [{"DeleteRequest": {"Key": wire_key(key)}} for key in deletes]
        attempt = 0
        while pending:
            request = {self._name: pending[:WRITE_BATCH]}
            answer = await self._calls.run(self._client.batch_write_item, RequestItems=request)
            left = answer.get("UnprocessedItems", {}).get(self._name, [])
            pending = [*left, *pending[WRITE_BATCH:]]
            if left:
                await pause(attempt)
                attempt += 1

    async def listed(
        self,
        partition: str,
        *,
        after: str | None,
        descending: bool,
        want: int,
        alive: Callable[[Row], bool],
    ) -> list[Row]:
        """The first `want` rows of a partition that are `alive`, in the order of the index, after the order `after`.

        One request per MB.
        """
        condition = "#pk = :pk"
        values = {":pk": {"S": partition}}
        if after is not None:
            condition += f" AND #order {'<' if descending else '>'} :after"
            values |= {":after": {"S": after}}
        params = {"IndexName": keys.ORDER_INDEX, "KeyConditionExpression": condition, "Limit": want}
        listed: list[Row] = []
        start: dict[str, Any] = {}
        while True:
            answer = await self._calls.run(
                self._client.query,
                TableName=self._name,
                ConsistentRead=True,
                ScanIndexForward=not descending,
                **params,
                **expressions(condition, values=values),
                **start,
            )
            listed += [row for row in answer["Items"] if alive(row)]
            if len(listed) >= want or "LastEvaluatedKey" not in answer:
                return listed[:want]
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def pages(self, partition: str, *, prefix: str = "", only: Sequence[str] = ()) -> AsyncIterator[list[Row]]:
        """The rows of a partition by sort key, tombstones included, one request per page of at most 1,000 rows.

        With `prefix`, only rows whose sort key begins with it; with `only`, these attributes of each. Rows may be
        deleted between pages.
        """
        condition = "#pk = :pk"
        values = {":pk": {"S": partition}}
        if prefix:
            condition += " AND begins_with(#sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        params: dict[str, Any] = {"KeyConditionExpression": condition, "Limit": PAGE_ROWS}
        projection = ", ".join(f"#{name}" for name in (keys.PARTITION_KEY, keys.SORT_KEY, *only)) if only else ""
        if projection:
            params["ProjectionExpression"] = projection
        params |= expressions(condition, projection, values=values)
        while True:
            answer = await self._calls.run(self._client.query, TableName=self._name, ConsistentRead=True, **params)
            yield list(answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            params["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def last(self, partition: str) -> Row | None:
        """The row with the highest sort key of a partition."""
        condition = "#pk = :pk"
        answer = await self._calls.run(
            self._client.query,
            TableName=self._name,
            ConsistentRead=True,
            ScanIndexForward=False,
            Limit=1,
            KeyConditionExpression=condition,
            **expressions(condition, values={":pk": {"S": partition}}),
        )
        return next(iter(answer["Items"]), None)

    async def between(
        self, partition: str, first: str, last: str, *, start: Row | None = None
    ) -> tuple[list[Row], Row | None]:
        """The rows from sort key `first` to `last`, up to 1 MB of them, and the `start` of the next page, if any."""
        condition = "#pk = :pk AND #sk BETWEEN :first AND :last"
        values = {":pk": {"S": partition}, ":first": {"S": first}, ":last": {"S": last}}
        answer = await self._calls.run(
            self._client.query,
            TableName=self._name,
            ConsistentRead=True,
            KeyConditionExpression=condition,
            **expressions(condition, values=values),
            **({} if start is None else {"ExclusiveStartKey": start}),
        )
        return list(answer["Items"]), answer.get("LastEvaluatedKey")

    async def every_row(self, partitions: str = "", *, sorts: str = "") -> AsyncIterator[Row]:
        """Every row of the table, in no order, by a Scan. The function's role does not allow it; an operator's does.

        With `partitions`, only the keys of rows whose partition key has this prefix; with `sorts`, only rows whose sort
        key has this prefix. Still reads the whole table.
        """
        params: dict[str, Any] = {}
        if sorts:
            condition = "begins_with(#sk, :prefix)"
            params = {"FilterExpression": condition, **expressions(condition, values={":prefix": {"S": sorts}})}
        if partitions:
            condition, projection = "begins_with(#pk, :prefix)", "#pk, #sk"
            params = {"FilterExpression": condition, "ProjectionExpression": projection}
            params |= expressions(condition, projection, values={":prefix": {"S": partitions}})
        start: dict[str, Any] = {}
        while True:
            answer = await self._calls.run(
                self._client.scan, TableName=self._name, ConsistentRead=True, **params, **start
            )
            for row in answer["Items"]:
                yield row
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _condition(condition: str) -> dict[str, str]:
    if not condition:
        return {}
    return {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
