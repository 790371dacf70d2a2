"""`make deploy-local`: the stage that cdk.json means, deployed by the real CDK CLI to a local AWS that goes on running.

Nothing differs but the zip, which is built for this machine and the Python that runs it. Another run updates what is
there.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from infra import bundling, first_start, guest_secret, ministack, template, toolchain
from infra.config import StageConfig, read_context
from infra.errors import InfraError, ToolError
from infra.ministack import ACCOUNT, REGION, LocalCloud
from infra.preflight import Account
from infra.stack_names import api_stack_name, data_stack_name, stack_names
from infra.wheels import for_this_interpreter

FOLDER = Path(".local/stack")
HEALTH_TIMEOUT_S = 60.0  # its first call is a cold start, on a machine that has just built and deployed
HEALTH_CHARS = 2_000  # of what it answers instead
PREVIEW = "preview"  # a change set that is only read
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "amd64": "x86_64"}


class LocalDeployment:
    """The CDK CLI against one local AWS. Everything it writes is in `folder`."""

    def __init__(self, cloud: LocalCloud, *, folder: Path, environ: Mapping[str, str]) -> None:
        self._cloud = cloud
        self._folder = folder.absolute()
        self._environ = toolchain.with_node(cloud.environ(environ)) | {
            "CDK_DISABLE_CLI_TELEMETRY": "1",
            "CDK_DISABLE_VERSION_CHECK": "1",
            "CDK_HOME": str(self._folder / "cdk-home"),
        }

    def bootstrap(self) -> None:
        """Prepare the account, as is done once in each account of AWS."""
        self._cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self, context: Mapping[str, Any], *, code: Path) -> dict[str, dict[str, str]]:
        """All stacks of the stage that `context` means, and its guests' secret; returns the outputs, by stack."""
        outputs = self._folder / "outputs.json"
        app = self._synthesize(context, code=code)
        guest_secret.ensure(StageConfig.from_context(context), Account(ACCOUNT, REGION, clients=self._cloud.client))
        self._cdk("deploy", "--all", "--app", str(app), "--require-approval", "never", "--outputs-file", str(outputs))
        deployed: dict[str, dict[str, str]] = json.loads(outputs.read_text(encoding="utf-8"))
        return deployed

    def changes(self, context: Mapping[str, Any], *, code: Path) -> dict[str, dict[str, Any]]:
        """What deploying `context` would change, by logical id, as CloudFormation's change sets say; nothing is."""
        app = self._synthesize(context, code=code)
        prepare = ["--method", "prepare-change-set", "--change-set-name", PREVIEW, "--require-approval", "never"]
        self._cdk("deploy", "--all", "--app", str(app), *prepare)
        cloudformation = self._cloud.client("cloudformation")
        found: dict[str, dict[str, Any]] = {}
        for stack in stack_names(StageConfig.from_context(context)):
            change_set = cloudformation.describe_change_set(StackName=stack, ChangeSetName=PREVIEW)
            changed = [change["ResourceChange"] for change in change_set["Changes"]]
            found |= {resource["LogicalResourceId"]: resource for resource in changed}
            cloudformation.delete_change_set(StackName=stack, ChangeSetName=PREVIEW)
        return found

    def destroy(self, stack: str) -> None:
        """Delete one stack of those that were deployed last."""
        self._cdk("destroy", stack, "--exclusively", "--force", "--app", str(self._folder / "cdk.out"))

    def _synthesize(self, context: Mapping[str, Any], *, code: Path) -> Path:
        app = self._folder / "cdk.out"
        shutil.rmtree(app, ignore_errors=True)
        template.synthesize(context, outdir=app, code=code)
        return app

    def _cdk(self, *words: str) -> None:
        # In a folder without a cdk.json: the CLI would run the app that it names, for bootstrap too.
        command = [*toolchain.find_cdk(), *words, "--no-notices"]
        done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolError(f"cdk {words[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def for_this_machine(context: Mapping[str, Any]) -> dict[str, Any]:
    """`context`, but its stage runs on the processors of this machine, in the local account."""
    stage = context["stage"]
    here = {"architecture": MACHINES.get(platform.machine().lower(), "x86_64"), "account": None, "region": None}
    return {**context, "stages": {**context["stages"], stage: {**context["stages"][stage], **here}}}


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Deploy, or with --stop end the local AWS. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description="Deploy to a local AWS.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    parser.add_argument("--port", type=int, default=4566, help="the port of the local AWS (4566)")
    parser.add_argument("--stop", action="store_true", help="end the local AWS, and with it what is deployed")
    asked = parser.parse_args(arguments)
    running = _running()
    if asked.stop:
        if running:
            ministack.stop(running)
        print("the local AWS is stopped" if running else "no local AWS is running")
        return 0
    try:
        context = read_context(Path("cdk.json")) | ({"stage": asked.stage} if asked.stage else {})
        config = first_start.stage_of(context)
        here = for_this_machine(context)
        code = bundling.build(Path.cwd(), environ=environ, target=for_this_interpreter()).zip
        url = _deploy(running, here, code=code, port=asked.port, environ=environ, stage=config.stage)
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"stage {config.stage} answers at {url}\nnext: curl {url}chat/health")
    print("It goes on running; `make deploy-local STOP=1` ends it.")
    return 0


def _deploy(
    running: LocalCloud | None,
    context: Mapping[str, Any],
    *,
    code: Path,
    port: int,
    environ: Mapping[str, str],
    stage: str,
) -> str:
    cloud = running or ministack.start(FOLDER, environ=environ, port=port)
    print(f"local AWS: {cloud.url} (log: {FOLDER}/ministack.log)", flush=True)
    deployment = LocalDeployment(cloud, folder=FOLDER, environ=environ)
    if running is None:
        remember(cloud, FOLDER / "process.json")
        deployment.bootstrap()
    print(f"deploying {data_stack_name(stage)}, {api_stack_name(stage)}", flush=True)
    outputs = deployment.deploy(context, code=code)
    url = cloud.local_url(outputs[api_stack_name(stage)]["Endpoint"])
    check_health(url)
    return url


def check_health(url: str) -> None:
    """Call the deployed function once; ToolError if it does not answer that it is healthy."""
    problem, log = "", f"its log: {FOLDER}/ministack.log"
    try:
        with urllib.request.urlopen(f"{url}chat/health", timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310 - loopback
            result = json.loads(answer.read())
        if result["statusCode"] != HTTPStatus.OK:
            problem = f"{result['statusCode']} {result.get('body', '')}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        body = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        problem = f"{error} {body}"
    if problem:
        raise ToolError(f"the stage is deployed, but {url}chat/health answers: {problem[:HEALTH_CHARS].strip()}\n{log}")


def remember(cloud: LocalCloud, path: Path) -> None:
    """Keep what the next command needs to speak to this local AWS, its key included: nobody else may read the file."""
    known = {"port": cloud.port, "pid": cloud.pid, "key_id": cloud.key_id, "secret": cloud.secret}
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(known, file)


def _running() -> LocalCloud | None:
    """The local AWS of an earlier run, if it is still there."""
    try:
        cloud = LocalCloud(**json.loads((FOLDER / "process.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return cloud if ministack.alive(cloud) and ministack.listens(cloud.port) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
