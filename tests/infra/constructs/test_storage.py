"""infra/constructs/storage.py and infra/stacks/data.py: backup, encryption and access of the table and the bucket."""

from typing import Any

from aws_cdk.assertions import Match, Matcher, Template

from tests.infra.conftest import StackOf

TABLE = "AWS::DynamoDB::GlobalTable"
BUCKET = "AWS::S3::Bucket"


def test_the_table_has_point_in_time_recovery(data: Template) -> None:
    replica = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like(replica)]})


def test_the_table_is_encrypted_with_a_kms_key(data: Template) -> None:
    data.has_resource_properties(TABLE, {"SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"}})


def test_the_table_costs_nothing_when_idle(data: Template) -> None:
    data.has_resource_properties(TABLE, {"BillingMode": "PAY_PER_REQUEST"})


def test_the_data_of_a_stage_is_retained_and_the_table_is_protected_from_deletion(data: Template) -> None:
    for kind in (TABLE, BUCKET):
        data.all_resources(kind, {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like({"DeletionProtectionEnabled": True})]})


def test_the_data_of_stage_dev_is_deleted_with_its_stack(dev_data: Template) -> None:
    for kind in (TABLE, BUCKET):
        dev_data.all_resources(kind, {"DeletionPolicy": "Delete"})
    dev_data.has_resource_properties(TABLE, {"Replicas": [Match.object_like({"DeletionProtectionEnabled": False})]})


def test_nothing_in_the_bucket_can_be_made_public(data: Template) -> None:
    blocked = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    ownership = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    data.all_resources_properties(BUCKET, {"PublicAccessBlockConfiguration": blocked, "OwnershipControls": ownership})


def test_the_bucket_is_encrypted(data: Template) -> None:
    rule = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    data.all_resources_properties(BUCKET, {"BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]}})


def test_the_bucket_refuses_requests_below_tls_1_2(data: Template) -> None:
    def denied(condition: dict[str, object]) -> Matcher:
        everyone = {"Effect": "Deny", "Action": "s3:*", "Principal": {"AWS": "*"}, "Condition": condition}
        return Match.object_like(everyone)

    statements = [
        denied({"Bool": {"aws:SecureTransport": "false"}}),
        denied({"NumericLessThan": {"s3:TlsVersion": 1.2}}),
    ]
    data.has_resource_properties("AWS::S3::BucketPolicy", {"PolicyDocument": {"Statement": statements}})


def test_uploads_that_belong_to_no_message_expire_after_a_day(data: Template) -> None:
    rule = {"Prefix": "pending/", "ExpirationInDays": 1, "Status": "Enabled"}
    data.has_resource_properties(BUCKET, {"LifecycleConfiguration": {"Rules": [rule]}})


def test_the_data_stack_outputs_the_names_of_its_table_and_bucket(data: Template) -> None:
    data.has_output("Table", {"Value": {"Ref": Match.any_value()}})
    data.has_output("Bucket", {"Value": {"Ref": Match.any_value()}})


# Options of a stage


def test_a_customer_managed_key_is_rotated_and_encrypts_table_and_bucket(data_of: StackOf, api_of: StackOf) -> None:
    data = data_of("full")
    data.has_resource("AWS::KMS::Key", {"DeletionPolicy": "Retain"})
    data.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})
    [bucket] = data.find_resources(BUCKET).values()
    [rule] = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert (rule["BucketKeyEnabled"], rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]) == (True, "aws:kms")
    replica = {"SSESpecification": {"KMSMasterKeyId": Match.any_value()}}
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like(replica)]})
    assert "kms:ViaService" in str(api_of("full").find_resources("AWS::IAM::Policy"))


def test_files_and_old_versions_expire_if_the_stage_configures_it(data_of: StackOf) -> None:
    rules = [
        {"Prefix": "pending/", "ExpirationInDays": 1, "Status": "Enabled"},
        {"Prefix": "kept/", "ExpirationInDays": 90, "Status": "Enabled"},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Status": "Enabled"},
    ]
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}, "LifecycleConfiguration": {"Rules": rules}}
    data_of("full").has_resource_properties(BUCKET, versioned)


UPLOAD_RULE = {"AllowedMethods": ["PUT"], "AllowedHeaders": ["content-type", "if-none-match"], "MaxAge": 3600}


def _upload_origins(stack: Template) -> list[Any]:
    [bucket] = stack.find_resources(BUCKET).values()
    [rule] = bucket["Properties"]["CorsConfiguration"]["CorsRules"]
    origins: list[Any] = rule.pop("AllowedOrigins")
    assert rule == UPLOAD_RULE
    return origins


def _in_the_region(begin: str, end: str) -> dict[str, Any]:
    return {"Fn::Join": ["", [begin, {"Ref": "AWS::Region"}, end]]}


def test_by_default_our_own_page_may_upload_from_any_function_url(dev_data: Template) -> None:
    assert _upload_origins(dev_data) == [_in_the_region("https://*.lambda-url.", ".on.aws")]


def test_other_sites_may_upload_only_if_they_are_configured_cors_origins(data: Template, data_of: StackOf) -> None:
    other = "https://www.example.org"
    assert _upload_origins(data) == [other, _in_the_region("https://*.lambda-url.", ".on.aws")]
    assert _upload_origins(data_of("cloudfront")) == [other, "https://*.cloudfront.net"]
    gateway = _in_the_region("https://*.execute-api.", ".amazonaws.com")
    assert _upload_origins(data_of("apigw")) == [other, "https://example.org", gateway]


def test_a_page_with_a_custom_domain_may_upload_only_from_there(data_of: StackOf) -> None:
    assert _upload_origins(data_of("cloudfront-named")) == ["https://chat.example.org"]
