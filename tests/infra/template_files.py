"""`make snapshots`: rewrites the committed files that are generated from infra/.

    tests/template.json    the reference stage (tests/infra/reference.json): tests create their tables from it, and its
                           diff shows what a change does to a deployment
    tests/infra/snapshots/ the same for each front door and mode (tests/infra/variants.json)
    docs/reference/configuration.md  the options of a stage, from infra/stage/schema.py

These files do not depend on cdk.json, whose values belong to the user.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.commands import template
from infra.commands.template import Template
from tests.docs import configuration_page

REFERENCE = Path("tests/infra/reference.json")
COMMITTED = Path("tests/template.json")
VARIANTS = Path("tests/infra/variants.json")
SNAPSHOTS = Path("tests/infra/snapshots")
CONFIGURATION = Path("docs/reference/configuration.md")
MAX_LINES = 20  # changes printed per template; git shows the rest


def variant(reference: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The context of a stage called `name`: `options`, and the `auth` of the reference stage."""
    auth = reference["stages"][reference["stage"]]["auth"]
    return {**reference, "stage": name, "stages": {name: {"auth": auth, **options}}}


def merge(templates: Mapping[str, Template]) -> Template:
    """One template with the content of all stacks, whose logical IDs must not collide."""
    merged: Template = {"Description": "All stacks of one stage in one. Made by `make template`: do not edit."}
    for section in ("Mappings", "Resources", "Outputs"):
        if not any(section in template for template in templates.values()):
            continue
        names = [name for template in templates.values() for name in template.get(section, {})]
        if len(names) != len(set(names)):
            raise ValueError(f"two stacks have {section} of the same name: {sorted(names)}")
        merged[section] = {n: body for template in templates.values() for n, body in template.get(section, {}).items()}
    return merged


def changes(old: Template, new: Template) -> list[str]:
    """One line for each resource and output that differs."""
    lines = []
    for section in ("Resources", "Outputs"):
        before, after = old.get(section, {}), new.get(section, {})
        for name in sorted(before.keys() | after.keys()):
            body = after.get(name, before.get(name))
            label = f"{name} ({body['Type']})" if "Type" in body else f"{name} (output)"
            if name not in before:
                lines.append(f"added    {label}")
            elif name not in after:
                lines.append(f"removed  {label}")
            elif before[name] != after[name]:
                lines.append(f"changed  {label}")
    return lines


def refresh(committed: Path, new: Template) -> None:
    """Write `new` to `committed`, and print the changes, if any."""
    old = json.loads(committed.read_text(encoding="utf-8")) if committed.exists() else {}
    lines = changes(old, new)
    committed.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8", newline="\n")
    if lines:
        print(f"{committed}: {len(lines)} changes; review and commit them:")
    for line in lines[:MAX_LINES]:
        print(f"  {line}")
    if len(lines) > MAX_LINES:
        print("  ...")


def main() -> None:
    """Rewrite all committed files that are generated from this code: templates and docs/reference/configuration.md."""
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    variants = json.loads(VARIANTS.read_text(encoding="utf-8"))
    SNAPSHOTS.mkdir(exist_ok=True)
    for stale in {path.stem for path in SNAPSHOTS.glob("*.json")} - variants.keys():
        (SNAPSHOTS / f"{stale}.json").unlink()
    with tempfile.TemporaryDirectory() as folder:
        refresh(COMMITTED, merge(template.synthesize(reference, outdir=Path(folder, "reference"))))
        for name, options in variants.items():
            templates = template.synthesize(variant(reference, name, options), outdir=Path(folder, name))
            refresh(SNAPSHOTS / f"{name}.json", merge(templates))
    CONFIGURATION.write_text(configuration_page.page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
