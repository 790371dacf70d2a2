"""`make template`: what this code would deploy, as files, without an account.

    cdk.out/               the stage that cdk.json means: what `make deploy` would hand to CloudFormation
    tests/template.json    the reference stage (tests/infra/reference.json), committed: suites build their tables from
                           it, and its diff shows what a change does to what is deployed

cdk.json's values belong to whoever deploys, so the committed file must not depend on them.
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

from infra import bundling
from infra.app import add_stage, read_context
from infra.config import StageConfig
from infra.errors import BundleError, InfraError, ToolError

REFERENCE = Path("tests/infra/reference.json")
COMMITTED = Path("tests/template.json")
STAND_IN = "stand-in"  # instead of the digest of a zip

Template = dict[str, Any]


def synthesize(context: Mapping[str, Any], *, outdir: Path, code: Path | None = None) -> dict[str, Template]:
    """The templates of the stage that `context` means, by stack name. Without `code`, a stand-in takes its place."""
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


def merge(templates: Mapping[str, Template]) -> Template:
    """One template with the resources and outputs of all: CDK's logical ids differ between the stacks."""
    merged: Template = {
        "Description": "All stacks of the reference stage in one. Made by `make template`: do not edit."
    }
    for section in ("Resources", "Outputs"):
        names = [name for template in templates.values() for name in template.get(section, {})]
        if len(names) != len(set(names)):
            raise ValueError(f"two stacks have {section} of the same name: {sorted(names)}")
        merged[section] = {name: body for template in templates.values() for name, body in template[section].items()}
    return merged


def changes(old: Template, new: Template) -> list[str]:
    """One line for each resource and output that is not the same in both."""
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
    """Write `new` to `committed`, and print what that changes."""
    old = json.loads(committed.read_text(encoding="utf-8")) if committed.exists() else {}
    lines = changes(old, new)
    committed.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{committed}: {'unchanged' if not lines else f'{len(lines)} changes; look at them and commit:'}")
    for line in lines:
        print(f"  {line}")


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Refresh the committed template, then cdk.out/. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.template", description="What would be deployed, as files.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    stage = parser.parse_args(arguments).stage
    try:
        with tempfile.TemporaryDirectory() as folder:
            reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
            refresh(COMMITTED, merge(synthesize(reference, outdir=Path(folder))))
        context = read_context(Path("cdk.json")) | ({"stage": stage} if stage else {})
        shutil.rmtree("cdk.out", ignore_errors=True)  # old assets would stay there for ever
        names = ", ".join(synthesize(context, outdir=Path("cdk.out"), code=_code(environ)))
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"cdk.out/: {names}\nnext: make deploy")
    return 0


def _code(environ: Mapping[str, str]) -> Path | None:
    """The zip; None, with a warning, where it cannot be built: `make deploy` synthesizes again, with the real one."""
    try:
        return bundling.build(Path.cwd(), environ=environ).zip
    except (BundleError, ToolError) as error:
        print(f"warning: cdk.out/ gets a stand-in for the code.\n{error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
