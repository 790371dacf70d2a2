"""The Lambda function: code, environment, and an IAM role with exact permissions. Knows no front door, owns no data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.constructs.managed_instances import ManagedInstances
from infra.constructs.storage import KEPT_PREFIX, OFFLOAD_PREFIX, ORDER_INDEX, PENDING_PREFIX
from infra.stage.config import StageConfig
from infra.stage.sections import NetworkConfig, PolicyConfig, bedrock_region

HANDLER = "lambda_src.handler.handler"
ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}

# Exactly the calls that the store makes: tests/agreements/test_role.py records them and compares.
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
    # Browsers upload with URLs that this role signs: such a URL allows only what the role may do.
    PENDING_PREFIX: ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
    KEPT_PREFIX: ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
}
KEY_ACTIONS = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
NETWORK_ACTIONS = [  # AWSLambdaVPCAccessExecutionRole without logs: Lambda creates network interfaces with them
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]

RETENTION = {  # CDK's names for the days that infra/stage/schema.py allows
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Resources of other constructs that the function uses. `secrets` prove that a request came from CloudFront.

    `events` is the topic for events about what waits for an operator.
    """

    table: dynamodb.ITableV2
    bucket: s3.IBucket
    key: kms.IKey | None = None
    secrets: tuple[secretsmanager.ISecret, ...] = ()
    events: sns.ITopic | None = None


class ChatFunction(Construct):
    """The function, its alias and its role.

    environment: its variables (infra/stage/environment.py).
    code: the zip that infra.bundle.build builds, or a placeholder if only the template matters.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        code: lambda_.Code,
        holdings: Holdings,
        environment: dict[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=RETENTION[config.log_retention_days],
            removal_policy=RemovalPolicy.DESTROY if config.disposable else RemovalPolicy.RETAIN,
        )
        # Not AWS's managed policy for Lambda: it allows writing to every log group of the account.
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(role)
        for statement in [*_grants(holdings), *_grants_beside(config, holdings, stack=Stack.of(self))]:
            role.add_to_policy(statement)
        architecture = ARCHITECTURES[config.architecture]
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Chat, stage {config.stage}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=architecture,
            handler=HANDLER,
            code=code,
            memory_size=config.memory_mb,
            timeout=Duration.seconds(config.timeout_s),
            environment=environment,
            reserved_concurrent_executions=config.concurrency_cap,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if config.snapstart else None,
            current_version_options=lambda_.VersionOptions(removal_policy=_of_old_versions(config)),
            role=role,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE if dict(config.settings).get("tracing") == "xray" else None,
        )
        if config.vpc is not None and config.managed_instances is not None:
            ManagedInstances(
                self,
                "Managed",
                config=config.managed_instances,
                network=config.vpc,
                architecture=architecture,
                function=self.function,
            )
        elif config.vpc is not None:
            _join(self.function, config.vpc)
        # The front door calls an alias, which outlives versions. SnapStart and canary deployments need one, too.
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)
        _acknowledge(self.function, role, holdings.bucket)
        _acknowledge_policy(role, config.policy)


def _of_old_versions(config: StageConfig) -> RemovalPolicy:
    """Old versions are kept for rollbacks, except with SnapStart, which charges for a snapshot of each version."""
    return RemovalPolicy.DESTROY if config.snapstart else RemovalPolicy.RETAIN


def _grants(holdings: Holdings) -> list[iam.PolicyStatement]:
    """The store's permissions: on the table, its index, and its prefixes of the bucket. No scan."""
    allow, table, bucket = iam.PolicyStatement, holdings.table, holdings.bucket
    return [
        allow(actions=TABLE_ACTIONS, resources=[table.table_arn]),
        allow(actions=INDEX_ACTIONS, resources=[f"{table.table_arn}/index/{ORDER_INDEX}"]),
        # On the whole bucket: with a condition on the prefix, S3 would answer 403 instead of 404 for a missing object.
        allow(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
        *(
            allow(actions=actions, resources=[bucket.arn_for_objects(f"{prefix}*")])
            for prefix, actions in OBJECT_ACTIONS.items()
        ),
    ]


def _grants_beside(config: StageConfig, holdings: Holdings, *, stack: Stack) -> list[iam.PolicyStatement]:
    """Permissions that depend on the stage's options: model key, Bedrock, KMS key, secrets, VPC, `policy`."""
    allow = iam.PolicyStatement
    # SecureStrings are encrypted with AWS's own key, which needs no grant.
    parameters = (config.model_key_name, config.guest_secret_name, *config.secret_parameters)
    names = [name.removeprefix("/") for name in parameters if name]
    arns = [stack.format_arn(service="ssm", resource="parameter", resource_name=name) for name in names]
    grants = [allow(actions=["ssm:GetParameter"], resources=arns)]
    if holdings.key is not None:
        by_storage = [f"{service}.{stack.region}.amazonaws.com" for service in ("dynamodb", "s3")]
        through = {"StringEquals": {"kms:ViaService": by_storage}}
        grants.append(allow(actions=KEY_ACTIONS, resources=[holdings.key.key_arn], conditions=through))
    if holdings.secrets:
        arns = [secret.secret_arn for secret in holdings.secrets]
        grants.append(allow(actions=["secretsmanager:GetSecretValue"], resources=arns))
    if holdings.events is not None:
        grants.append(allow(actions=["sns:Publish"], resources=[holdings.events.topic_arn]))
    if (region := bedrock_region(config.settings)) is not None:
        project = stack.format_arn(service="bedrock-mantle", region=region, resource="project", resource_name="default")
        models = {"StringEquals": {"bedrock-mantle:Model": list(config.models)}}
        grants.append(allow(actions=["bedrock-mantle:CreateInference"], resources=[project], conditions=models))
    grants += [allow(actions=list(policy.actions), resources=list(policy.resources)) for policy in config.policy]
    if config.vpc is not None and config.managed_instances is None:
        grants.append(allow(actions=NETWORK_ACTIONS, resources=["*"]))
    return grants


def _join(function: lambda_.Function, network: NetworkConfig) -> None:
    """Attach the function to an existing VPC, which is determined by its subnets."""
    resource = cast("lambda_.CfnFunction", function.node.default_child)
    resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=list(network.subnets), security_group_ids=list(network.security_groups)
    )


def _acknowledge(function: lambda_.Function, role: iam.Role, bucket: s3.IBucket) -> None:
    """Accepted findings of cdk-nag, each with its reason."""
    newest = "The zip holds wheels for 3.13; a newer Python is taken together with them."
    reasons = {
        "AwsSolutions-L1": newest,
        "Serverless-LambdaLatestVersion": newest,
        "Serverless-LambdaDLQ": "Asynchronous events come from schedules: the next one does the rest.",
        "Serverless-LambdaTracing": "A slow turn waits for the model, which X-Ray does not see; the log does.",
        "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish": "The alias stands on a published version.",
    }
    for rule, reason in reasons.items():
        Validations.of(function).acknowledge(Acknowledgment(id=rule, reason=reason))
    [bucket_id, _] = Stack.of(bucket).resolve(bucket.bucket_arn)["Fn::GetAtt"]
    for prefix in OBJECT_ACTIONS:
        finding = f"AwsSolutions-IAM5[Resource::<{bucket_id}.Arn>/{prefix}*]"
        reason = "Objects are named at random below their user's hash: the prefix is the narrowest that can be said."
        Validations.of(role).acknowledge(Acknowledgment(id=finding, reason=reason))
    Validations.of(role).acknowledge(
        Acknowledgment(
            id="AwsSolutions-IAM5[Resource::*]",
            reason="In a network of yours, Lambda makes its interfaces with this role, and EC2 takes no narrower name.",
        )
    )


def _acknowledge_policy(role: iam.Role, policy: Sequence[PolicyConfig]) -> None:
    """Accept the wildcards that the stage's own `policy` contains."""
    wide = [f"Action::{action}" for entry in policy for action in entry.actions if "*" in action]
    wide += [f"Resource::{resource}" for entry in policy for resource in entry.resources if resource.endswith("*")]
    for finding in dict.fromkeys(wide):
        reason = "The stage's `policy` in cdk.json allows this for tools of the agent."
        Validations.of(role).acknowledge(Acknowledgment(id=f"AwsSolutions-IAM5[{finding}]", reason=reason))
