"""What must keep its identity from release to release: logical ids, and the properties that AWS cannot change in place.

A resource that loses either is replaced by CloudFormation: an empty table, another address.
`python -m infra.commands.record_release` records this release for the tests of the next one: run it when a version is
tagged.
"""

import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.commands import template

RECORD = Path("tests/infra/released.json")
TEMPLATES = Path("tests/infra/released")
STAGE = "staging"  # the one that is deployed, this release over the last; its data is not disposable

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


def record() -> None:
    """Write what this release is: its identities, and the templates of a stage with no more options than it needs."""
    reference = json.loads(template.REFERENCE.read_text(encoding="utf-8"))
    kept = json.loads(RECORD.read_text(encoding="utf-8"))
    kinds = {"reference": reference} | {
        name: template.variant(reference, name, options)
        for name, options in json.loads(template.VARIANTS.read_text(encoding="utf-8")).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: identities(template.merge(template.synthesize(context, outdir=Path(folder, name))))
            for name, context in kinds.items()
        }
        plain = template.synthesize(template.variant(reference, STAGE, {}), outdir=Path(folder, STAGE))
    with Path("pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    _write(RECORD, {"release": version, "stages": kept["stages"], "identities": found})
    TEMPLATES.mkdir(exist_ok=True)
    for stack, body in plain.items():
        _write(TEMPLATES / f"{stack}.json", body)
    print(f"{RECORD}, {TEMPLATES}/: release {version}")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    record()
