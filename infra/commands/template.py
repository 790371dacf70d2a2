"""`make template`: synthesizes the CloudFormation templates of a stage, without an AWS account.

    cdk.out/               the stage that cdk.json selects: what `make deploy` would pass to CloudFormation

`make snapshots`, for maintainers, rewrites the committed files instead; users' commands never do:

    tests/template.json    the reference stage (tests/infra/reference.json): tests create their tables from it, and its
                           diff shows what a change does to a deployment
    tests/infra/snapshots/ the same for each front door and mode (tests/infra/variants.json)
    docs/configuration.md  the options of a stage, from infra/stage/schema.py

The committed files do not depend on cdk.json, whose values belong to the user.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App

from infra.app import add_stage
from infra.bundle import build
from infra.bundle.wheels import LAMBDA
from infra.errors import BundleError, ToolError, reports_errors
from infra.preflight import settings_check
from infra.stage import reference_page
from infra.stage.config import StageConfig, read_context

REFERENCE = Path("tests/infra/reference.json")
COMMITTED = Path("tests/template.json")
VARIANTS = Path("tests/infra/variants.json")
SNAPSHOTS = Path("tests/infra/snapshots")
CONFIGURATION = Path("docs/configuration.md")
MAX_LINES = 20  # changes printed per template; git shows the rest
STAND_IN = "stand-in"  # instead of the hash of a zip

Template = dict[str, Any]


def synthesize(context: Mapping[str, Any], *, outdir: Path, code: Path | None = None) -> dict[str, Template]:
    """The templates of the stage that `context` selects, by stack name. Without `code`, a placeholder is deployed."""
    config = StageConfig.from_context(context)
    app = App(context=dict(context), outdir=str(outdir))
    with tempfile.TemporaryDirectory() as folder:
        if code is None:
            Path(folder, "README").write_text("The zip was not built for this template.\n", encoding="utf-8")
            add_stage(app, config=config, code=Path(folder), code_hash=STAND_IN)
        else:
            add_stage(app, config=config, code=code)
        assembly = app.synth()
    return {
        stack.stack_name: json.loads(Path(stack.template_full_path).read_text("utf-8")) for stack in assembly.stacks
    }


def variant(reference: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The context of a stage called `name`: `options`, and the `auth` of the reference stage."""
    auth = reference["stages"][reference["stage"]]["auth"]
    return {**reference, "stage": name, "stages": {name: {"auth": auth, **options}}}


def merge(templates: Mapping[str, Template]) -> Template:
    """One template with the content of all stacks, whose logical ids never collide."""
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
            what = f"{name} ({body['Type']})" if "Type" in body else f"{name} (output)"
            if name not in before:
                lines.append(f"added    {what}")
            elif name not in after:
                lines.append(f"removed  {what}")
            elif before[name] != after[name]:
                lines.append(f"changed  {what}")
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


def refresh_committed() -> None:
    """Rewrite all committed files that are generated from this code: templates and docs/configuration.md."""
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    variants = json.loads(VARIANTS.read_text(encoding="utf-8"))
    SNAPSHOTS.mkdir(exist_ok=True)
    for stale in {path.stem for path in SNAPSHOTS.glob("*.json")} - variants.keys():
        (SNAPSHOTS / f"{stale}.json").unlink()
    with tempfile.TemporaryDirectory() as folder:
        refresh(COMMITTED, merge(synthesize(reference, outdir=Path(folder, "reference"))))
        for name, options in variants.items():
            made = synthesize(variant(reference, name, options), outdir=Path(folder, name))
            refresh(SNAPSHOTS / f"{name}.json", merge(made))
    CONFIGURATION.write_text(reference_page.page(), encoding="utf-8", newline="\n")


@reports_errors
def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Synthesize into cdk.out/, or with --snapshots rewrite the committed files. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.commands.template", description="Synthesize the templates of a stage."
    )
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context selects")
    parser.add_argument("--snapshots", action="store_true", help="rewrite the committed templates and pages instead")
    options = parser.parse_args(arguments)
    stage = options.stage
    if options.snapshots:
        refresh_committed()
        return 0
    context = read_context(Path("cdk.json")) | ({"stage": stage} if stage else {})
    config = settings_check.stage_of(context)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    shutil.rmtree("cdk.out", ignore_errors=True)  # otherwise old assets would stay forever
    code = _code(environ, architecture=config.architecture)
    names = ", ".join(synthesize(context, outdir=Path("cdk.out"), code=code))
    print(f"cdk.out/: {names}\nnext: make deploy STAGE={config.stage}")
    return 0


def _code(environ: Mapping[str, str], *, architecture: str) -> Path | None:
    """The zip; None, with a warning, if it cannot be built. `make deploy` synthesizes again, with the real zip."""
    try:
        return build.build(Path.cwd(), environ=environ, target=LAMBDA[architecture]).zip
    except (BundleError, ToolError) as error:
        print(f"warning: cdk.out/ has a placeholder for the code.\n{error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
