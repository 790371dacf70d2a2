"""`make bootstrap`: prepare an account for CDK, once in each region of a stage: its bucket and roles for deployments.

It runs the CDK CLI on the Node that our wheels contain, in an empty folder: beside a cdk.json the CLI would run our app
first. Imports the AWS SDK, which takes a third of a second, only after the arguments and cdk.json have been checked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.bundle import toolchain
from infra.errors import reports_errors
from infra.stage.config import StageConfig, read_context

INTERRUPTED = 130  # what a shell makes of Ctrl-C


def bootstrap_command(account: str, regions: list[str], *, cdk: list[str]) -> list[str]:
    """The command line of the CDK CLI that prepares these regions of an account."""
    return [*cdk, "bootstrap", *(f"aws://{account}/{region}" for region in regions), "--no-notices"]


@reports_errors
def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Prepare the regions of a stage, by default of the one in cdk.json's context. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.commands.bootstrap", description="Prepare an AWS account for CDK, once."
    )
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    stage = parser.parse_args(arguments).stage
    config = StageConfig.from_context(read_context(Path("cdk.json")) | ({"stage": stage} if stage else {}))
    from infra.preflight.account import regions, sign_in  # the AWS SDK

    account = sign_in(config)
    command = bootstrap_command(account.account, regions(config, account), cdk=toolchain.find_cdk())
    print(f"{account}: cdk bootstrap", flush=True)
    # As in infra/commands/deploy.py: the version is pinned.
    cdk_environ = toolchain.with_node(environ) | {"CDK_DISABLE_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory() as empty:
        try:
            code = subprocess.run(command, cwd=empty, env=cdk_environ, check=False).returncode
        except KeyboardInterrupt:  # the CLI received it as well
            return INTERRUPTED
    print(f"prepared; next: make deploy STAGE={config.stage}" if code == 0 else "Not prepared: see above.")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
