"""Records a release's logical ids and immutable properties, so that tests find upgrades that would replace resources.

CloudFormation replaces a resource whose logical id or immutable properties change: the table would be empty, the URL
different. Run `python -m infra.commands.record_release` when a version is tagged; the tests of the next release compare
with it.
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
STAGE = "staging"  # the stage on which tests deploy this release over the last one; its data is not disposable

# By type, the properties whose change replaces the resource ("Update requires: Replacement" in the reference).
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
    """The resources of a template that hold data or addresses, by logical id."""
    return {
        name: {"Type": body["Type"]} | {key: body["Properties"].get(key) for key in IDENTITY[body["Type"]]}
        for name, body in template["Resources"].items()
        if body["Type"] in IDENTITY
    }


def record() -> None:
    """Write this release's identities, and the templates of a stage with only the required options."""
    reference = json.loads(template.REFERENCE.read_text(encoding="utf-8"))
    previous = json.loads(RECORD.read_text(encoding="utf-8"))
    kinds = {"reference": reference} | {
        name: template.variant(reference, name, options)
        for name, options in json.loads(template.VARIANTS.read_text(encoding="utf-8")).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        recorded = {
            name: identities(template.merge(template.synthesize(context, outdir=Path(folder, name))))
            for name, context in kinds.items()
        }
        plain = template.synthesize(template.variant(reference, STAGE, {}), outdir=Path(folder, STAGE))
    with Path("pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    _write(RECORD, {"release": version, "stages": previous["stages"], "identities": recorded})
    TEMPLATES.mkdir(exist_ok=True)
    for stack, body in plain.items():
        _write(TEMPLATES / f"{stack}.json", body)
    print(f"{RECORD}, {TEMPLATES}/: release {version}")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    record()
