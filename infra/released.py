"""What must keep its identity from release to release: logical ids, and the properties that AWS cannot change in place.

A resource that loses either is replaced by CloudFormation: an empty table, another address. Pure.
"""

from collections.abc import Mapping
from typing import Any

# By type, the properties whose change replaces the resource, as CloudFormation's reference says ("Replacement").
IDENTITY: dict[str, tuple[str, ...]] = {
    "AWS::DynamoDB::GlobalTable": ("TableName", "KeySchema", "LocalSecondaryIndexes"),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::Lambda::Function": ("FunctionName", "PackageType"),
    "AWS::Lambda::Alias": ("FunctionName", "Name"),
    "AWS::Lambda::Url": ("TargetFunctionArn", "Qualifier"),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::Cognito::UserPool": ("UsernameAttributes", "AliasAttributes"),
    "AWS::Cognito::UserPoolClient": ("GenerateSecret",),
    "AWS::ApiGateway::RestApi": (),
    "AWS::CloudFront::Distribution": (),
}

Identities = dict[str, dict[str, Any]]


def identities(template: Mapping[str, Any]) -> Identities:
    """The resources of a template that people or data depend on, by logical id."""
    return {
        name: {"Type": body["Type"]} | {key: body["Properties"].get(key) for key in IDENTITY[body["Type"]]}
        for name, body in template["Resources"].items()
        if body["Type"] in IDENTITY
    }


def replaced(before: Identities, after: Identities) -> list[str]:
    """One line for each resource that a deployment of `after` over `before` would replace or remove."""
    lines = []
    for name, identity in sorted(before.items()):
        if name not in after:
            lines.append(f"{name} ({identity['Type']}) is gone")
        else:
            changed = [key for key, value in identity.items() if after[name].get(key) != value]
            lines += [f"{name} ({identity['Type']}) would be replaced: {key} changed" for key in changed]
    return lines
