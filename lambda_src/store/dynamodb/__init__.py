"""ChatKit's Store on one DynamoDB table; `DynamoDBStore` is all that others need of this package."""

from lambda_src.store.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
