"""`make deploy-local`: the stage that cdk.json means, deployed by the real CDK CLI to a local AWS that goes on running.

Nothing differs but the zip, which is built for this machine and the Python that runs it. Another run updates what is
there.
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
from infra.errors import InfraError, ToolError
from infra.preflight import settings_check
from infra.stacks.names import api_stack_name, data_stack_name
from infra.stage.config import read_context

FOLDER = Path(".local/stack")
HEALTH_TIMEOUT_S = 60.0  # its first call is a cold start, on a machine that has just built and deployed
HEALTH_CHARS = 2_000  # of what it answers instead
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "amd64": "x86_64"}


class LocalDeployment(Deployment):
    """The CDK CLI against one local AWS."""

    def __init__(self, cloud: LocalCloud, *, folder: Path, environ: Mapping[str, str]) -> None:
        super().__init__(cloud.account(), folder=folder, environ=cloud.environ(environ))


def for_this_machine(context: Mapping[str, Any]) -> dict[str, Any]:
    """`context`, but its stage runs on the processors of this machine, in the local account."""
    stage = context["stage"]
    here = {"architecture": MACHINES.get(platform.machine().lower(), "x86_64"), "account": None, "region": None}
    return {**context, "stages": {**context["stages"], stage: {**context["stages"][stage], **here}}}


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Deploy, or with --stop end the local AWS. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.commands.deploy_local", description="Deploy to a local AWS.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    parser.add_argument("--port", type=int, default=4566, help="the port of the local AWS (4566)")
    parser.add_argument("--stop", action="store_true", help="end the local AWS, and with it what is deployed")
    asked = parser.parse_args(arguments)
    running = _running()
    if asked.stop:
        if running:
            local_cloud.stop(running)
        print("the local AWS is stopped" if running else "no local AWS is running")
        return 0
    try:
        context = read_context(Path("cdk.json")) | ({"stage": asked.stage} if asked.stage else {})
        config = settings_check.stage_of(context)
        here = for_this_machine(context)
        code = build.build(Path.cwd(), environ=environ, target=for_this_interpreter()).zip
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
    cloud = running or local_cloud.start(FOLDER, environ=environ, port=port)
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
    return cloud if local_cloud.alive(cloud) and local_cloud.listens(cloud.port) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
