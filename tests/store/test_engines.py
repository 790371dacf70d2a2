"""How the local engines differ, and which of them behaves like AWS; the store does not rely on any of it."""

from typing import Any

import pytest

from lambda_src.store import keys
from tests.store.engine.engine import Engine
from tests.store.tables import Aws

ROWS: list[dict[str, Any]] = [{"pk": {"S": "p"}, "sk": {"S": str(n)}, "order": {"S": str(n)}} for n in range(2)]
LARGE: dict[str, Any] = {**ROWS[0], "payload": {"B": b"x" * 250_000}}


def has_key_after_exact_page(client: Any, table: str) -> bool:
    """Return whether a page that ends with the last row has a LastEvaluatedKey."""
    for row in ROWS:
        client.put_item(TableName=table, Item=row)
    answer = client.query(
        TableName=table,
        IndexName=keys.ORDER_INDEX,
        ConsistentRead=True,
        Limit=len(ROWS),
        KeyConditionExpression="#pk = :pk",
        ExpressionAttributeNames={"#pk": "pk"},
        ExpressionAttributeValues={":pk": {"S": "p"}},
    )
    return "LastEvaluatedKey" in answer


def accepts_large_row(client: Any, table: str) -> bool:
    """Return whether 250 KB fit into a row of which the index keeps a copy."""
    try:
        client.put_item(TableName=table, Item=LARGE)
    except client.exceptions.ClientError:
        return False
    return True


@pytest.mark.parametrize("engine", ["aws", "ministack_aws"], ids=["moto", "ministack"])
def test_moto_and_ministack_accept_a_row_that_aws_refuses(engine: str, request: pytest.FixtureRequest) -> None:
    """AWS counts the index's copy against the row's 400 KB (DynamoDB Local enforces it: test_dynamodb_local.py)."""
    aws: Aws = request.getfixturevalue(engine)
    assert accepts_large_row(aws.dynamodb, aws.table())


def test_after_an_exact_page_aws_and_ministack_return_a_key_and_moto_does_not(aws: Aws, ministack_aws: Aws) -> None:
    """The strict engine and the strict wire behave like AWS; `has_more` does not depend on it (Limit + 1)."""
    strict: Any = Engine()
    assert has_key_after_exact_page(strict, "table")
    assert has_key_after_exact_page(ministack_aws.dynamodb, ministack_aws.table())
    assert not has_key_after_exact_page(aws.dynamodb, aws.table())
