"""Records the logical IDs and immutable properties of a release, so that tests detect upgrades that replace resources.

CloudFormation replaces a resource whose logical ID or immutable properties change; a new table would be empty, and a
new URL would be different. Run `python -m tests.infra.releases` when a version is tagged. The tests of the next release
compare with this record.
"""

import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.commands import template
from tests.infra import template_files

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

# "Update requires: No interruption" in the same reference; the local AWS returns "Conditionally" if it does not know.
IN_PLACE = {("AWS::S3::Bucket", "CorsConfiguration")}

Identities = dict[str, dict[str, Any]]


def identities(template: Mapping[str, Any]) -> Identities:
    """The resources of a template that hold data or have a URL, by logical ID."""
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


def replaced_by(changes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The logical IDs that a change set (its ResourceChanges by ID) replaces or removes.

    A conditional replacement counts if the resource that causes it is replaced, or if the change itself is static.
    """

    def is_replaced(name: str) -> bool:
        change = changes.get(name, {"Action": "None"})
        if change["Action"] == "Remove" or change.get("Replacement") == "True":
            return True
        return change.get("Replacement") == "Conditional" and any(
            is_replaced(detail.get("CausingEntity", "").partition(".")[0]) or detail["Evaluation"] == "Static"
            for detail in change["Details"]
            if detail["Target"]["RequiresRecreation"] != "Never"
            and (change.get("ResourceType"), detail["Target"].get("Name")) not in IN_PLACE
        )

    return {name for name in changes if is_replaced(name)}


def record() -> None:
    """Write this release's identities, and the templates of a stage with only the required options."""
    reference = json.loads(template_files.REFERENCE.read_text(encoding="utf-8"))
    previous = json.loads(RECORD.read_text(encoding="utf-8"))
    kinds = {"reference": reference} | {
        name: template_files.variant(reference, name, options)
        for name, options in json.loads(template_files.VARIANTS.read_text(encoding="utf-8")).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        recorded = {
            name: identities(template_files.merge(template.synthesize(context, outdir=Path(folder, name))))
            for name, context in kinds.items()
        }
        plain = template.synthesize(template_files.variant(reference, STAGE, {}), outdir=Path(folder, STAGE))
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
