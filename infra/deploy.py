"""`make deploy`: look first, then build the zip, then hand both stacks to the CDK CLI.

Looking means reading what is on this machine: no call to AWS, nothing written. What it finds, it says all at once.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError

from infra import bundling, toolchain
from infra.app import api_stack_name, read_context
from infra.awaited import refuse_awaited
from infra.config import PLACEHOLDER_HOST, StageConfig
from infra.errors import InfraError, PreflightError
from infra.wheels import LAMBDA

OUTPUTS = Path("cdk.out/outputs.json")
INTERRUPTED = 130  # what a shell makes of Ctrl-C

NO_CREDENTIALS = (
    "make deploy needs an AWS account: no credentials found; "
    "run `aws configure` or `aws sso login`, or set AWS_PROFILE, then `make deploy` again."
)


def credentials_fault() -> str | None:
    """Why we cannot speak for an AWS account, in one line; None if we can. Whether AWS takes them, AWS says later."""
    try:
        found = boto3.Session().get_credentials()
    except BotoCoreError as error:  # a profile that does not exist, a config file that cannot be read
        return f"make deploy needs an AWS account: {error}."
    return None if found else NO_CREDENTIALS


def preflight(config: StageConfig, *, find_fault: Callable[[], str | None] = credentials_fault) -> None:
    """PreflightError, with one line for each reason why this deployment would fail or should not happen."""
    faults = [fault] if (fault := find_fault()) else []
    if config.auth_is_placeholder:
        faults.append(
            f"{PLACEHOLDER_HOST} is a placeholder: in cdk.json, set context.stages.{config.stage}.auth.issuer to the "
            "issuer of your users' tokens, and auth.audience to what they carry as `aud`."
        )
    if faults:
        raise PreflightError(faults)


def deploy_command(stage: str, *, cdk: list[str], unattended: bool) -> list[str]:
    """The CDK CLI's words that deploy both stacks. A person is asked before permissions widen; a pipeline cannot be."""
    app = shlex.join([sys.executable, "-m", "infra.app"])
    command = [*cdk, "deploy", "--all", "--app", app, "--context", f"stage={stage}", "--outputs-file", str(OUTPUTS)]
    return [*command, "--require-approval", "never"] if unattended else command


def endpoint(outputs: Path, *, stage: str) -> str | None:
    """The URL that the CLI wrote down after a deployment; None if it wrote none."""
    try:
        url = json.loads(outputs.read_text(encoding="utf-8"))[api_stack_name(stage)]["Endpoint"]
    except (OSError, ValueError, KeyError):
        return None
    return str(url)


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Deploy the stage that is named, or the one that cdk.json's context names. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy one stage to AWS.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    stage = parser.parse_args(arguments).stage
    try:
        config = StageConfig.from_context(read_context(Path("cdk.json")) | ({"stage": stage} if stage else {}))
        refuse_awaited(config)
        preflight(config)
        bundling.build(Path.cwd(), environ=environ, target=LAMBDA[config.architecture])
        command = deploy_command(config.stage, cdk=toolchain.find_cdk(), unattended=bool(environ.get("CI")))
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"stage {config.stage}: cdk deploy", flush=True)
    # The version is pinned in pyproject.toml: the CLI's own advice to take another one would be wrong.
    cdk_environ = toolchain.with_node(environ) | {"CDK_DISABLE_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(command, env=cdk_environ, check=False)
    except KeyboardInterrupt:  # the CLI had it too, and has said what it left behind
        return INTERRUPTED
    if done.returncode != 0:
        print("Not deployed. If it says so above, prepare this account and region once: .venv/bin/cdk bootstrap")
    elif url := endpoint(OUTPUTS, stage=config.stage):
        print(f"stage {config.stage} answers at {url}\nnext: curl {url}chat/health")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
