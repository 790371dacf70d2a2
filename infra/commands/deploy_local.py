"""`make deploy-local`: deploy a stage of cdk.json with the real CDK CLI to a local AWS, which keeps running.

Only the zip differs from a deployment to AWS: it is built for this machine and its Python. Another run updates the
stage.
"""

import argparse
import json
import os
import platform
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from infra.bundle import build
from infra.bundle.wheels import for_this_interpreter
from infra.commands import local_cloud
from infra.commands.deployment import Deployment
from infra.commands.local_cloud import LocalCloud
from infra.errors import ToolError, reports_errors
from infra.preflight import settings_check
from infra.stacks.names import api_stack_name, data_stack_name
from infra.stage.config import read_context

FOLDER = Path(".local/stack")
HEALTH_TIMEOUT_S = 60.0  # the first call is a cold start, on a machine that has just built and deployed
HEALTH_CHARS = 2_000  # of an unexpected answer
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "amd64": "x86_64"}


def for_this_machine(context: Mapping[str, Any]) -> dict[str, Any]:
    """`context` with a stage for the processor of this machine and the local account."""
    stage = context["stage"]
    here = {"architecture": MACHINES.get(platform.machine().lower(), "x86_64"), "account": None, "region": None}
    return {**context, "stages": {**context["stages"], stage: {**context["stages"][stage], **here}}}


@reports_errors
def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Deploy, or with --stop stop the local AWS. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.commands.deploy_local", description="Deploy to a local AWS.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    parser.add_argument("--port", type=int, default=4566, help="the port of the local AWS (4566)")
    parser.add_argument("--stop", action="store_true", help="stop the local AWS, which deletes the deployment")
    options = parser.parse_args(arguments)
    running = _running()
    if options.stop:
        if running:
            local_cloud.stop(running)
        print("the local AWS is stopped" if running else "no local AWS is running")
        return 0
    context = read_context(Path("cdk.json")) | ({"stage": options.stage} if options.stage else {})
    config = settings_check.stage_of(context)
    here = for_this_machine(context)
    code = build.build(Path.cwd(), environ=environ, target=for_this_interpreter()).zip
    url = _deploy(running, here, code=code, port=options.port, environ=environ, stage=config.stage)
    print(f"stage {config.stage} answers at {url}\nnext: curl {url}chat/health")
    print("The local AWS keeps running; `make deploy-local STOP=1` stops it.")
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
    cloud = running or local_cloud.start(FOLDER, environ=environ, port=port)
    print(f"local AWS: {cloud.url} (log: {FOLDER}/ministack.log)", flush=True)
    deployment = Deployment(cloud.account(), folder=FOLDER, environ=cloud.environ(environ))
    if running is None:
        remember(cloud, FOLDER / "process.json")
        deployment.bootstrap()
    print(f"deploying {data_stack_name(stage)}, {api_stack_name(stage)}", flush=True)
    outputs = deployment.deploy(context, code=code)
    url = cloud.local_url(outputs[api_stack_name(stage)]["Endpoint"])
    check_health(url)
    return url


def check_health(url: str) -> None:
    """Call the deployed function once. ToolError if it does not report that it is healthy."""
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
    """Save how the next command reaches this local AWS, with its key: only the owner may read the file."""
    connection = {"port": cloud.port, "pid": cloud.pid, "key_id": cloud.key_id, "secret": cloud.secret}
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(connection, file)


def _running() -> LocalCloud | None:
    """The local AWS of an earlier run, if it is still running."""
    try:
        cloud = LocalCloud(**json.loads((FOLDER / "process.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return cloud if local_cloud.alive(cloud) and local_cloud.listens(cloud.port) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
