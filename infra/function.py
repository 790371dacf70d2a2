"""The function: its code, its environment, and exactly what it may do. Knows no front door and owns no data."""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.config import StageConfig
from infra.storage import ORDER_INDEX

HANDLER = "lambda_src.handler.handler"
WRAPPER = "/var/task/lambda_src/bootstrap"  # Lambda unpacks the zip to /var/task

# What the store calls, no more: tests/test_agreements.py records its calls and compares.
TABLE_ACTIONS = [
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
]
INDEX_ACTIONS = ["dynamodb:Query"]

RETENTION = {  # CDK names the days that infra.config allows
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
}


class ChatFunction(Construct):
    """The function behind an alias, with a role of its own.

    code: the zip that infra.bundling builds, or a stand-in where only the template matters.
    """

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
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self,
            "Logs",
            retention=RETENTION[config.log_retention_days],
            removal_policy=RemovalPolicy.DESTROY if config.disposable else RemovalPolicy.RETAIN,
        )
        function = lambda_.Function(
            self,
            "Function",
            description=f"Chat, stage {config.stage}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=HANDLER,
            code=code,
            memory_size=config.memory_mb,
            timeout=Duration.seconds(config.timeout_s),
            environment=_environment(config, table=table, bucket=bucket),
            role=self._role(config, table=table, log_group=log_group),
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )
        # A URL on an alias: SnapStart and a gradual shift between versions need one, and the URL outlives both.
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=function.current_version)
        _acknowledge(function)

    def _role(self, config: StageConfig, *, table: dynamodb.ITableV2, log_group: logs.LogGroup) -> iam.Role:
        """A role without managed policies: AWS's own for Lambda would let it write to every log group."""
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        role.add_to_policy(iam.PolicyStatement(actions=TABLE_ACTIONS, resources=[table.table_arn]))
        role.add_to_policy(
            iam.PolicyStatement(actions=INDEX_ACTIONS, resources=[f"{table.table_arn}/index/{ORDER_INDEX}"])
        )
        if config.model_key_parameter is not None:
            parameter_arn = Stack.of(self).format_arn(
                service="ssm", resource="parameter", resource_name=config.model_key_parameter.removeprefix("/")
            )
            role.add_to_policy(iam.PolicyStatement(actions=["ssm:GetParameter"], resources=[parameter_arn]))
        return role


def _environment(config: StageConfig, *, table: dynamodb.ITableV2, bucket: s3.IBucket) -> dict[str, str]:
    """The settings that the function reads (lambda_src/settings.py), and the wrapper that starts our runtime."""
    environment = {
        "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER,
        "CHAT_TABLE": table.table_name,
        "CHAT_BUCKET": bucket.bucket_name,
        "CHAT_AUTH_ISSUER": config.auth.issuer,
        "CHAT_AUTH_AUDIENCE": config.auth.audience,
    }
    if config.model_key_parameter is not None:
        environment["CHAT_MODEL_KEY_PARAMETER"] = config.model_key_parameter
    return environment


def _acknowledge(function: lambda_.Function) -> None:
    newest = "The zip holds wheels for 3.13; a newer Python is taken together with them."
    reasons = {
        "AwsSolutions-L1": newest,
        "Serverless-LambdaLatestVersion": newest,
        "Serverless-LambdaDLQ": "Called through its URL only, and so always synchronously: no event can be lost.",
        "Serverless-LambdaTracing": "A slow turn waits for the model, which X-Ray does not see; the log does.",
    }
    for rule, reason in reasons.items():
        Validations.of(function).acknowledge(Acknowledgment(id=rule, reason=reason))
