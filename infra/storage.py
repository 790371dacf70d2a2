"""Where everything is kept: one table, one bucket. Knows names and prefixes; what stands under them, lambda_src/store.

The names below are also in lambda_src/store/keys.py, which this package must not import: tests/test_agreements.py
holds the two together.
"""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

ORDER_INDEX = "by_order"
OFFLOAD_PREFIX = "offload/"  # payloads too large for a row
PENDING_PREFIX = "pending/"  # uploads that no message holds yet
KEPT_PREFIX = "kept/"  # uploads that a message holds

PENDING_DAYS = 1  # S3's shortest; nobody finishes an upload that long after beginning it


class Storage(Construct):
    """One table on demand and one private bucket, encrypted, restorable to any second of 35 days.

    disposable: both go with their stack. Otherwise they stay behind, and the table refuses to be deleted.
    """

    def __init__(self, scope: Construct, construct_id: str, *, disposable: bool) -> None:
        super().__init__(scope, construct_id)
        removal_policy = RemovalPolicy.DESTROY if disposable else RemovalPolicy.RETAIN
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=_text_key("pk"),
            sort_key=_text_key("sk"),
            # A local index, because read-after-write holds on it; it can be made together with the table only.
            local_secondary_indexes=[
                dynamodb.LocalSecondaryIndexProps(
                    index_name=ORDER_INDEX,
                    sort_key=_text_key("order"),
                    projection_type=dynamodb.ProjectionType.ALL,
                )
            ],
            time_to_live_attribute="expires_at",
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),  # its use shows in CloudTrail; no monthly charge
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=not disposable,
            removal_policy=removal_policy,
        )
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[s3.LifecycleRule(prefix=PENDING_PREFIX, expiration=Duration.days(PENDING_DAYS))],
            removal_policy=removal_policy,
        )
        Validations.of(self.bucket).acknowledge(
            Acknowledgment(
                id="AwsSolutions-S1",
                reason="Access logs keep who read what in a second bucket; CloudTrail data events do it on demand.",
            )
        )


def _text_key(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
