"""ChatKit's Store on one DynamoDB table. Other packages import only `DynamoDBStore`."""

from lambda_src.store.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
