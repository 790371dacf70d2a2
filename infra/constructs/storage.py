"""Storage: one DynamoDB table and one S3 bucket. Knows key names and prefixes; lambda_src/store knows their contents.

The names below are also in lambda_src/store/keys.py, which this package must not import; tests/agreements
compares the two.
"""

from typing import assert_never

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.stage.config import StageConfig

ORDER_INDEX = "by_order"
OFFLOAD_PREFIX = "offload/"  # payloads too large for a row
PENDING_PREFIX = "pending/"  # uploads that belong to no message yet
KEPT_PREFIX = "kept/"  # uploads that belong to a message

PENDING_DAYS = 1  # the shortest that S3 offers; no upload takes that long
NONCURRENT_DAYS = 30  # with versioning, how long overwritten or deleted objects can be restored
PREFLIGHT_S = 3600  # how long a browser may cache a preflight


class Storage(Construct):
    """An on-demand table and a private bucket, both encrypted. The table can be restored to any second of 35 days.

    Destroying the stack deletes them in a disposable stage only. In others they remain, and the table is protected
    from deletion. `key` is the stage's own KMS key, or None if AWS's keys encrypt.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        removal_policy = RemovalPolicy.DESTROY if config.disposable else RemovalPolicy.RETAIN
        self.key = (
            kms.Key(self, "Key", enable_key_rotation=True, removal_policy=removal_policy)
            if config.kms == "cmk"
            else None
        )
        self.table = _table(self, key=self.key, disposable=config.disposable, removal_policy=removal_policy)
        self.bucket = _bucket(self, config, key=self.key, removal_policy=removal_policy)


def _table(
    scope: Construct, *, key: kms.IKey | None, disposable: bool, removal_policy: RemovalPolicy
) -> dynamodb.TableV2:
    return dynamodb.TableV2(
        scope,
        "Table",
        partition_key=_text_key("pk"),
        sort_key=_text_key("sk"),
        # A local index, because reads from it can be consistent. It can be created only together with the table.
        local_secondary_indexes=[
            dynamodb.LocalSecondaryIndexProps(
                index_name=ORDER_INDEX, sort_key=_text_key("order"), projection_type=dynamodb.ProjectionType.ALL
            )
        ],
        time_to_live_attribute="expires_at",
        billing=dynamodb.Billing.on_demand(),
        # The account's AWS managed key: CloudTrail shows its use, and it has no monthly charge.
        encryption=dynamodb.TableEncryptionV2.customer_managed_key(key)
        if key
        else dynamodb.TableEncryptionV2.aws_managed_key(),
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=not disposable,
        removal_policy=removal_policy,
    )


def _bucket(scope: Construct, config: StageConfig, *, key: kms.IKey | None, removal_policy: RemovalPolicy) -> s3.Bucket:
    origins = page_origins(config, region=Stack.of(scope).region)
    bucket = s3.Bucket(
        scope,
        "Bucket",
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=True if key else None,  # one request to KMS for many objects
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=config.bucket_versioning,
        lifecycle_rules=_lifecycle(config),
        cors=[_uploads_from(origins)],
        removal_policy=removal_policy,
    )
    Validations.of(bucket).acknowledge(
        Acknowledgment(
            id="AwsSolutions-S1",
            reason="Access logs keep who read what in a second bucket; CloudTrail data events do it on demand.",
        )
    )
    return bucket


def page_origins(config: StageConfig, *, region: str) -> list[str]:
    """Origins that may upload: `cors_origins` and our own page, by its domain or by the front door's host name.

    The front door's host name is known only after a deployment, and it is in another stack than the bucket. So every
    host name that such a front door can get is allowed, with the one * that S3 takes. The signature of the URL is
    what protects uploads, not the origin.
    """
    return [*config.cors_origins, f"https://{config.domain.name}" if config.domain else _of_the_door(config, region)]


def _of_the_door(config: StageConfig, region: str) -> str:
    match config.front_door:
        case "url":
            return f"https://*.lambda-url.{region}.on.aws"
        case "cloudfront" | "cloudfront-signed":
            return "https://*.cloudfront.net"
        case "apigw":
            return f"https://*.execute-api.{region}.amazonaws.com"
        case _:
            assert_never(config.front_door)


def _lifecycle(config: StageConfig) -> list[s3.LifecycleRule]:
    rules = [s3.LifecycleRule(prefix=PENDING_PREFIX, expiration=Duration.days(PENDING_DAYS))]
    if config.attachment_retention_days is not None:
        kept = Duration.days(config.attachment_retention_days)
        rules.append(s3.LifecycleRule(prefix=KEPT_PREFIX, expiration=kept))
    if config.bucket_versioning:
        rules.append(s3.LifecycleRule(noncurrent_version_expiration=Duration.days(NONCURRENT_DAYS)))
    return rules


def _uploads_from(origins: list[str]) -> s3.CorsRule:
    # A presigned PUT signs type and length, and If-None-Match so that no upload overwrites another.
    return s3.CorsRule(
        allowed_methods=[s3.HttpMethods.PUT],
        allowed_origins=origins,
        allowed_headers=["content-type", "if-none-match"],
        max_age=PREFLIGHT_S,
    )


def _text_key(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
