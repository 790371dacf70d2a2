"""Which resources a deployment would replace or remove: by two templates, or by CloudFormation's change set."""

from collections.abc import Mapping
from typing import Any

from infra.commands.record_release import Identities

# "Update requires: No interruption" in the same reference; the local AWS says "Conditionally" of what it does not know.
IN_PLACE = {("AWS::S3::Bucket", "CorsConfiguration")}


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
    """The logical ids that a change set (its ResourceChanges, by id) replaces or removes.

    What it calls conditional hangs on what a property refers to: it is replaced if that is, or if nothing more is said.
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
