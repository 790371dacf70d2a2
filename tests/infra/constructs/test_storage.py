"""infra/constructs/storage.py and infra/stacks/data.py: what keeps the data private, whole and there."""

from typing import Any

from aws_cdk.assertions import Match, Matcher, Template

from tests.infra.conftest import StackOf

TABLE = "AWS::DynamoDB::GlobalTable"
BUCKET = "AWS::S3::Bucket"


def test_the_table_can_be_restored_to_any_second(data: Template) -> None:
    replica = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like(replica)]})


def test_the_table_is_encrypted_with_a_key_whose_use_is_logged(data: Template) -> None:
    data.has_resource_properties(TABLE, {"SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"}})


def test_the_table_costs_nothing_while_nobody_talks(data: Template) -> None:
    data.has_resource_properties(TABLE, {"BillingMode": "PAY_PER_REQUEST"})


def test_the_data_of_a_stage_survives_its_stack_and_the_table_refuses_to_be_deleted(data: Template) -> None:
    for kind in (TABLE, BUCKET):
        data.all_resources(kind, {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like({"DeletionProtectionEnabled": True})]})


def test_the_data_of_stage_dev_goes_with_its_stack(dev_data: Template) -> None:
    for kind in (TABLE, BUCKET):
        dev_data.all_resources(kind, {"DeletionPolicy": "Delete"})
    dev_data.has_resource_properties(TABLE, {"Replicas": [Match.object_like({"DeletionProtectionEnabled": False})]})


def test_nothing_in_the_bucket_can_be_made_public(data: Template) -> None:
    blocked = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    owned = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    data.all_resources_properties(BUCKET, {"PublicAccessBlockConfiguration": blocked, "OwnershipControls": owned})


def test_the_bucket_is_encrypted(data: Template) -> None:
    rule = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    data.all_resources_properties(BUCKET, {"BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]}})


def test_the_bucket_refuses_everyone_who_comes_without_tls_1_2(data: Template) -> None:
    def denied(condition: dict[str, object]) -> Matcher:
        everyone = {"Effect": "Deny", "Action": "s3:*", "Principal": {"AWS": "*"}, "Condition": condition}
        return Match.object_like(everyone)

    statements = [
        denied({"Bool": {"aws:SecureTransport": "false"}}),
        denied({"NumericLessThan": {"s3:TlsVersion": 1.2}}),
    ]
    data.has_resource_properties("AWS::S3::BucketPolicy", {"PolicyDocument": {"Statement": statements}})


def test_uploads_that_no_message_holds_expire_after_a_day(data: Template) -> None:
    rule = {"Prefix": "pending/", "ExpirationInDays": 1, "Status": "Enabled"}
    data.has_resource_properties(BUCKET, {"LifecycleConfiguration": {"Rules": [rule]}})


def test_the_data_stack_says_what_its_table_and_bucket_are_called(data: Template) -> None:
    data.has_output("Table", {"Value": {"Ref": Match.any_value()}})
    data.has_output("Bucket", {"Value": {"Ref": Match.any_value()}})


# What a stage may choose


def test_a_key_of_ones_own_turns_each_year_and_encrypts_table_and_bucket(data_of: StackOf, api_of: StackOf) -> None:
    data = data_of("full")
    data.has_resource("AWS::KMS::Key", {"DeletionPolicy": "Retain"})
    data.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})
    [bucket] = data.find_resources(BUCKET).values()
    [rule] = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert (rule["BucketKeyEnabled"], rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]) == (True, "aws:kms")
    replica = {"SSESpecification": {"KMSMasterKeyId": Match.any_value()}}
    data.has_resource_properties(TABLE, {"Replicas": [Match.object_like(replica)]})
    assert "kms:ViaService" in str(api_of("full").find_resources("AWS::IAM::Policy"))


def test_files_go_and_old_versions_too_when_the_stage_says_so(data_of: StackOf) -> None:
    rules = [
        {"Prefix": "pending/", "ExpirationInDays": 1, "Status": "Enabled"},
        {"Prefix": "kept/", "ExpirationInDays": 90, "Status": "Enabled"},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Status": "Enabled"},
    ]
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}, "LifecycleConfiguration": {"Rules": rules}}
    data_of("full").has_resource_properties(BUCKET, versioned)


RULE = {"AllowedMethods": ["PUT"], "AllowedHeaders": ["content-type", "if-none-match"], "MaxAge": 3600}


def _uploaders(stack: Template) -> list[Any]:
    [bucket] = stack.find_resources(BUCKET).values()
    [rule] = bucket["Properties"]["CorsConfiguration"]["CorsRules"]
    origins: list[Any] = rule.pop("AllowedOrigins")
    assert rule == RULE
    return origins


def _in_the_region(begin: str, end: str) -> dict[str, Any]:
    return {"Fn::Join": ["", [begin, {"Ref": "AWS::Region"}, end]]}


def test_our_own_page_may_upload_as_shipped_from_whatever_name_its_door_gets(dev_data: Template) -> None:
    assert _uploaders(dev_data) == [_in_the_region("https://*.lambda-url.", ".on.aws")]


def test_beside_it_only_the_sites_that_may_call_upload(data: Template, data_of: StackOf) -> None:
    other = "https://www.example.org"
    assert _uploaders(data) == [other, _in_the_region("https://*.lambda-url.", ".on.aws")]
    assert _uploaders(data_of("cloudfront")) == [other, "https://*.cloudfront.net"]
    gateway = _in_the_region("https://*.execute-api.", ".amazonaws.com")
    assert _uploaders(data_of("apigw")) == [other, "https://example.org", gateway]


def test_a_page_with_a_name_of_its_own_uploads_from_there_only(data_of: StackOf) -> None:
    assert _uploaders(data_of("cloudfront-named")) == ["https://chat.example.org"]
