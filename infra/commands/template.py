"""`make template`: synthesizes the CloudFormation templates of a stage into cdk.out/, without an AWS account."""

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
from infra.stage.config import StageConfig, read_context

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


@reports_errors
def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Synthesize a stage into cdk.out/. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.commands.template", description="Synthesize the templates of a stage."
    )
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context selects")
    stage = parser.parse_args(arguments).stage
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
