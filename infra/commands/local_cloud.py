"""A local AWS as a process: starts and stops MiniStack on loopback. Knows no stack and no chat.

MiniStack implements as much of CloudFormation, DynamoDB, S3 and other services as a deployment needs, and runs a
function's zip with its own Python. It buffers streamed responses. Its data is lost when it stops.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from infra.errors import ToolError
from infra.preflight.account import Account

PYTHON = Path(sys.prefix) / "ministack" / "bin" / "python"  # its own environment: requirements/ministack.in
ACCOUNT = "000000000000"
REGION = "us-east-1"
SCRIPT = Path(__file__).parents[2] / "lambda_src" / "dev" / "local_aws" / "guarded_ministack.py"
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)  # of the shell: nothing else reaches it, or a function that it runs
START_TIMEOUT_S = 60.0  # seen: 0.8 to 2.5 s; a loaded laptop may take long
STOP_TIMEOUT_S = 20.0
ASK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A running local AWS: its port, its key, its process id, and `process` if this process started it.

    The key is random for each run, because any web page in a browser on this machine can send requests to the port.
    """

    port: int
    pid: int
    key_id: str
    secret: str = field(repr=False)
    process: "subprocess.Popen[bytes] | None" = field(default=None, compare=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environ(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """`inherited` with variables that send every AWS client of a process to this local AWS only."""
        cleaned = {name: value for name, value in inherited.items() if not name.startswith("AWS_")}
        return cleaned | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, region: str = REGION) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """A boto3 client of a service of this local AWS; ignores the credentials of the machine."""
        return boto3.client(  # type: ignore[call-overload] # the service is not known to mypy
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
        )

    def account(self) -> Account:
        """The only account of this local AWS, as a target of deployments."""
        return Account(ACCOUNT, REGION, clients=self.client)

    def local_url(self, function_url: str) -> str:
        """The address on this machine of a function URL of this local AWS; a browser can open it."""
        url_id = function_url.removeprefix("https://").partition(".")[0]
        return f"{self.url}/_aws/lambda-url/{url_id}/"


def start(folder: Path, *, environ: Mapping[str, str], port: int | None = None) -> LocalCloud:
    """Start it with its log in `folder`, and wait until it listens. ToolError with the end of the log if it fails."""
    if not PYTHON.is_file():
        raise ToolError(f"MiniStack is not installed ({PYTHON} is missing): run `make setup`.")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "ministack.log"
    port = port or _free_port()
    quiet = {"SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0", "LOG_LEVEL": "WARNING"}
    key_id, secret = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    inherited = {name: environ[name] for name in INHERITED if name in environ}  # functions inherit these
    variables = LocalCloud(port, 0, key_id, secret).environ(inherited) | quiet
    variables |= {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-P", str(SCRIPT)], env=variables, stdout=output, stderr=output, start_new_session=True
        )
    until_s = time.monotonic() + START_TIMEOUT_S
    while not listens(port):
        if process.poll() is not None or time.monotonic() > until_s:
            process.kill()
            process.wait()
            end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ToolError(f"the local AWS did not start. The end of its log, {log}:\n{end}")
        time.sleep(ASK_EVERY_S)
    return LocalCloud(port, process.pid, key_id, secret, process)


def stop(cloud: LocalCloud) -> None:
    """Stop it and the functions that it runs."""
    with suppress(ProcessLookupError):
        os.killpg(cloud.pid, signal.SIGTERM)
    until_s = time.monotonic() + STOP_TIMEOUT_S
    while alive(cloud) and time.monotonic() < until_s:
        time.sleep(ASK_EVERY_S)
    with suppress(ProcessLookupError):
        os.killpg(cloud.pid, signal.SIGKILL)
    if cloud.process is not None:
        cloud.process.wait()


def alive(cloud: LocalCloud) -> bool:
    """Whether it is still running."""
    if cloud.process is not None:
        return cloud.process.poll() is None
    try:
        os.killpg(cloud.pid, 0)
    except ProcessLookupError:
        return False
    return True


def listens(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
