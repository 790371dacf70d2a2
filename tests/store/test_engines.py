"""Where the local engines differ from each other, and which of them AWS agrees with; the store leans on neither."""

from typing import Any

import pytest

from lambda_src.store import keys
from tests.store.engine.engine import Engine
from tests.store.ministack import ministack
from tests.store.tables import moto_aws

ROWS: list[dict[str, Any]] = [{"pk": {"S": "p"}, "sk": {"S": str(n)}, "order": {"S": str(n)}} for n in range(2)]
LARGE: dict[str, Any] = {**ROWS[0], "payload": {"B": b"x" * 250_000}}


def exact_page(client: Any, table: str) -> bool:
    """Whether a page that ends with the last row names a LastEvaluatedKey."""
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


def takes_a_large_row(client: Any, table: str) -> bool:
    """Whether 250 KB fit into a row of which the index keeps a copy."""
    try:
        client.put_item(TableName=table, Item=LARGE)
    except client.exceptions.ClientError:
        return False
    return True


@pytest.mark.parametrize("engine", [moto_aws, ministack])
def test_moto_and_ministack_take_a_row_that_aws_refuses(engine: Any) -> None:
    """AWS counts the index's copy against the row's 400 KB (DynamoDB Local enforces it: test_dynamodb_local.py)."""
    with engine() as aws:
        assert takes_a_large_row(aws.dynamodb, aws.table())


def test_at_an_exact_page_aws_and_ministack_name_a_key_and_moto_does_not() -> None:
    """The strict engine and the strict wire do as AWS does; has_more never rests on it (Limit + 1)."""
    strict: Any = Engine()
    assert exact_page(strict, "table")
    with ministack() as aws:
        assert exact_page(aws.dynamodb, aws.table())
    with moto_aws() as aws:
        assert not exact_page(aws.dynamodb, aws.table())
