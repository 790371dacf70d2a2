"""`make deploy`: look first, then build the zip, then hand both stacks to the CDK CLI.

Looking means reading (infra/preflight/account.py): what it finds, it says all at once, and then nothing is built or
changed.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.bundle import build, toolchain
from infra.bundle.wheels import LAMBDA
from infra.errors import ConfigError, PreflightError, reports_errors
from infra.preflight import guest_secret, settings_check
from infra.preflight.account import (
    MORE_CONCURRENCY,
    Account,
    account_faults,
    account_limit,
    has_room_for_cap,
    is_there,
    set_secret,
    sign_in,
)
from infra.preflight.model_dates import model_faults
from infra.stacks.names import api_stack_name
from infra.stage.config import ACCOUNT_LIMIT, GUEST_CONCURRENCY, UNCAPPED, StageConfig, read_context

OUTPUTS = Path("cdk.out/outputs.json")
NO_ROOM = (
    f"stage {{stage}}: the account cannot set aside {GUEST_CONCURRENCY} concurrent executions for the guests' cap, or "
    f"does not allow to look: deploying without it, so the account's own limit is the cap. More: `{MORE_CONCURRENCY}`."
)
INTERRUPTED = 130  # what a shell makes of Ctrl-C


def preflight(config: StageConfig, environ: Mapping[str, str]) -> Account:
    """The account to deploy to. PreflightError with every reason why the deployment would fail or should not happen."""
    account = sign_in(config)
    print(f"stage {config.stage}: {account}", flush=True)
    if faults := [*account_faults(config, account), *model_faults(config, account, environ)]:
        raise PreflightError(faults)
    return account


def alarm_faults(context: Mapping[str, Any], config: StageConfig) -> list[str]:
    """An open stage must set `alarm_email`, to an address or to null: anybody can spend its key."""
    if not config.open_to_strangers or "alarm_email" in context["stages"][config.stage]:
        return []
    return [
        f"stages.{config.stage}.alarm_email is missing: anybody may use this stage, so set it in cdk.json to the "
        "address that gets mail when too much is spent, or to null for no mail."
    ]


def context_of(config: StageConfig, account: Account) -> dict[str, str]:
    """CDK context about the account, which synthesis cannot look up: see infra/stage/config.py."""
    context = {}
    if config.capped_by_default and not has_room_for_cap(config, account):
        context[UNCAPPED] = "true"
    if config.monitoring == "full" and (limit := account_limit(account)) is not None:
        context[ACCOUNT_LIMIT] = str(limit)
    return context


def deploy_command(
    stage: str, *, cdk: list[str], unattended: bool, context: Mapping[str, str] | None = None
) -> list[str]:
    """The command line that deploys both stacks. Unless unattended, the CLI asks before it widens permissions."""
    app = shlex.join([sys.executable, "-m", "infra.app"])
    command = [*cdk, "deploy", "--all", "--app", app, "--context", f"stage={stage}", "--outputs-file", str(OUTPUTS)]
    for key, value in (context or {}).items():
        command += ["--context", f"{key}={value}"]
    return [*command, "--require-approval", "never"] if unattended else command


def endpoint(outputs: Path, *, stage: str) -> str | None:
    """The URL in the outputs file of the CLI; None if there is none."""
    try:
        url = json.loads(outputs.read_text(encoding="utf-8"))[api_stack_name(stage)]["Endpoint"]
    except (OSError, ValueError, KeyError):
        return None
    return str(url)


def try_it(config: StageConfig) -> str:
    """The command that triggers one alarm of the stage."""
    return f'try it: make chat ARGS="alarm-test --stage {config.stage}"'


@reports_errors
def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Deploy a stage, by default the one in cdk.json's context. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.commands.deploy", description="Deploy one stage to AWS.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    stage = parser.parse_args(arguments).stage
    context = read_context(Path("cdk.json")) | ({"stage": stage} if stage else {})
    config = settings_check.stage_of(context)
    if faults := alarm_faults(context, config):
        raise ConfigError(faults)
    for warning in config.warnings:
        print(f"warning: {warning}", flush=True)
    account = preflight(config, environ)
    about_account = context_of(config, account)
    if UNCAPPED in about_account:
        print(NO_ROOM.format(stage=config.stage), flush=True)
    build.build(Path.cwd(), environ=environ, target=LAMBDA[config.architecture])
    if guest_secret.ensure(config, account):
        print(f"{config.guest_secret_name}: made, signs guests' tokens")
    command = deploy_command(
        config.stage, cdk=toolchain.find_cdk(), unattended=bool(environ.get("CI")), context=about_account
    )
    print(f"stage {config.stage}: cdk deploy", flush=True)
    # The version is pinned in pyproject.toml: the CLI's own advice to take another one would be wrong.
    cdk_environ = toolchain.with_node(environ) | {"CDK_DISABLE_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(command, env=cdk_environ, check=False)
    except KeyboardInterrupt:  # the CLI received it as well, and has reported what it left
        return INTERRUPTED
    if done.returncode != 0:
        print(
            "Not deployed. If the account is not bootstrapped yet, do that once:",
            f"make bootstrap STAGE={config.stage}",
        )
    elif url := endpoint(OUTPUTS, stage=config.stage):
        print(f"stage {config.stage} answers at {url}")
        if config.alarm_email is not None:
            print(f"alarms go to {config.alarm_email} once AWS's mail is confirmed; {try_it(config)}")
        if is_there(config.model_key_name, config, account) is False:
            answers = "the demo model answers" if config.demo_model else "turns are refused"
            print(f"without a model's key {answers}; next: {set_secret('model-key', config)}")
        for name, parameter in zip(config.secrets, config.secret_parameters, strict=True):
            if is_there(parameter, config, account) is False:
                print(f"the secret {name} of your tools is not set yet; next: {set_secret(name, config)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
