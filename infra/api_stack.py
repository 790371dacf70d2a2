"""The API of one stage: function, then front door. Owns no data, so it can be destroyed and made again."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.config import StageConfig
from infra.front_door import FrontDoor
from infra.function import ChatFunction


class ApiStack(Stack):
    """What answers. Its only output is the endpoint."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        code: lambda_.Code,
        table: dynamodb.ITableV2,
        bucket: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Chat, stage {config.stage}: the API")
        function = ChatFunction(self, "Chat", config=config, code=code, table=table, bucket=bucket)
        front_door = FrontDoor(self, "FrontDoor", alias=function.alias, cors_origins=config.cors_origins)
        CfnOutput(self, "Endpoint", value=front_door.url, description="POST /chatkit streams a turn; GET / is the page")
