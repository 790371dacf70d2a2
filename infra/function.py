"""The function: its code, its environment, and exactly what it may do. Knows no front door and owns no data."""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.config import StageConfig
from infra.storage import KEPT_PREFIX, OFFLOAD_PREFIX, ORDER_INDEX

HANDLER = "lambda_src.handler.handler"
WRAPPER = "/var/task/lambda_src/bootstrap"  # Lambda unpacks the zip to /var/task

# Exactly what the store calls: tests/test_agreements.py records its calls and compares.
TABLE_ACTIONS = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
]
INDEX_ACTIONS = ["dynamodb:Query"]
OBJECT_ACTIONS = {
    OFFLOAD_PREFIX: ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
    KEPT_PREFIX: ["s3:DeleteObject"],  # a deleted thread takes its files along
}

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
        # A role of our own: AWS's managed policy for Lambda writes to every log group of the account.
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        for statement in _grants(table, bucket):
            role.add_to_policy(statement)
        if config.model_key_parameter is not None:
            role.add_to_policy(_may_read(config.model_key_parameter, stack=Stack.of(self)))
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
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )
        # The URL stands on an alias: it outlives every version, and SnapStart and gradual shifts need one.
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=function.current_version)
        _acknowledge(function, role, bucket)


def _grants(table: dynamodb.ITableV2, bucket: s3.IBucket) -> list[iam.PolicyStatement]:
    """What the store may do: in the table and its index, under its prefixes of the bucket. No scan, nothing else."""
    allow = iam.PolicyStatement
    return [
        allow(actions=TABLE_ACTIONS, resources=[table.table_arn]),
        allow(actions=INDEX_ACTIONS, resources=[f"{table.table_arn}/index/{ORDER_INDEX}"]),
        # Of the whole bucket: with a condition on the prefix, S3 answers 403 instead of 404 for an object that is gone.
        allow(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
        *(
            allow(actions=actions, resources=[bucket.arn_for_objects(f"{prefix}*")])
            for prefix, actions in OBJECT_ACTIONS.items()
        ),
    ]


def _may_read(parameter: str, *, stack: Stack) -> iam.PolicyStatement:
    """One SSM parameter by name. AWS's own key for SecureStrings needs no grant beside it."""
    arn = stack.format_arn(service="ssm", resource="parameter", resource_name=parameter.removeprefix("/"))
    return iam.PolicyStatement(actions=["ssm:GetParameter"], resources=[arn])


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


def _acknowledge(function: lambda_.Function, role: iam.Role, bucket: s3.IBucket) -> None:
    """The findings of cdk-nag that stay, each with its reason."""
    newest = "The zip holds wheels for 3.13; a newer Python is taken together with them."
    reasons = {
        "AwsSolutions-L1": newest,
        "Serverless-LambdaLatestVersion": newest,
        "Serverless-LambdaDLQ": "Called through its URL only, and so always synchronously: no event can be lost.",
        "Serverless-LambdaTracing": "A slow turn waits for the model, which X-Ray does not see; the log does.",
    }
    for rule, reason in reasons.items():
        Validations.of(function).acknowledge(Acknowledgment(id=rule, reason=reason))
    [bucket_id, _] = Stack.of(bucket).resolve(bucket.bucket_arn)["Fn::GetAtt"]
    for prefix in OBJECT_ACTIONS:
        finding = f"AwsSolutions-IAM5[Resource::<{bucket_id}.Arn>/{prefix}*]"
        reason = "Objects are named at random below their user's hash: the prefix is the narrowest that can be said."
        Validations.of(role).acknowledge(Acknowledgment(id=finding, reason=reason))
