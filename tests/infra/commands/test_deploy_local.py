"""infra/commands/deploy_local.py and infra/commands/local_cloud.py: deploying to a local AWS without touching AWS.

test_offline_deploy.py tests the deployment itself.
"""

import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from infra.bundle import toolchain
from infra.bundle.wheels import for_this_interpreter
from infra.commands.deploy_local import check_health, for_this_machine, remember
from infra.commands.local_cloud import ACCOUNT, LocalCloud, start, stop
from infra.errors import ToolError
from infra.stage.config import StageConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}


def _config(context: dict[str, Any]) -> StageConfig:
    return StageConfig.from_context(context)


def test_a_local_deployment_changes_only_the_architecture_account_and_region_of_a_stage() -> None:
    stages = {"dev": {"auth": AUTH, "memory_mb": 2048, "account": "123456789012", "region": "eu-central-1"}}
    context = {"stage": "dev", "stages": stages}
    local = _config(for_this_machine(context))
    assert (local.account, local.region, local.memory_mb) == (None, None, 2048)
    assert local.architecture in ("arm64", "x86_64")
    assert _config(context).account == "123456789012", "the context passed in must not change"


def test_a_users_credentials_never_reach_the_local_aws() -> None:
    environ = LocalCloud(4566, 0, "id", "secret").environ(
        {"PATH": "/bin", "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "real"}
    )
    assert "AWS_PROFILE" not in environ
    assert "AWS_SESSION_TOKEN" not in environ
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert environ["PATH"] == "/bin"


def test_a_function_url_maps_to_a_local_url() -> None:
    url = LocalCloud(4566, 0, "id", "secret").local_url("https://abc123.lambda-url.us-east-1.on.aws/")
    assert url == "http://127.0.0.1:4566/_aws/lambda-url/abc123/"


def test_only_the_owner_can_read_the_credentials_of_a_local_aws(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text("{}")
    path.chmod(0o644)
    cloud = LocalCloud(4566, 7, "id", "secret")
    remember(cloud, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert LocalCloud(**json.loads(path.read_text())) == cloud
    assert "secret" not in repr(cloud).replace("secret=", "")


def test_a_local_aws_requires_its_credentials_and_inherits_no_shell_variables(tmp_path: Path) -> None:
    cloud = start(tmp_path, environ={"PATH": os.environ["PATH"], "GITHUB_TOKEN": "canary", "AWS_PROFILE": "mine"})
    try:
        assert cloud.client("sts").get_caller_identity()["Account"] == ACCOUNT
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            LocalCloud(cloud.port, 0, "AKIAX", "wrong").client("lambda").list_functions()
        ps_output = subprocess.run(
            ["ps", "eww", "-p", str(cloud.pid)], capture_output=True, text=True, check=True
        ).stdout
        assert "GATEWAY_PORT" in ps_output
        assert "canary" not in ps_output
    finally:
        stop(cloud)


class _FunctionUrl(BaseHTTPRequestHandler):
    """Answers each GET like a function URL of the local AWS, which wraps status and body in a JSON object."""

    answer: ClassVar[tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def function_url() -> Iterator[str]:
    """The URL of a fake function URL of the local AWS."""
    with HTTPServer(("127.0.0.1", 0), _FunctionUrl) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_healthy_stage_passes_the_check(function_url: str) -> None:
    _FunctionUrl.answer = 200, b'{"statusCode": 200, "body": "{}"}'
    check_health(function_url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b'{"statusCode": 502, "body": "Internal Server Error"}'), "502 Internal Server Error"),
        ((500, b"cannot import name 'ArgsKwargs'"), "cannot import name 'ArgsKwargs'"),
        ((200, b"no JSON"), "chat/health answers"),
        ((200, b"[]"), "chat/health answers"),
    ],
)
def test_an_unhealthy_stage_fails_the_check(function_url: str, answer: tuple[int, bytes], message: str) -> None:
    _FunctionUrl.answer = answer
    with pytest.raises(ToolError, match=re.escape(message)):
        check_health(function_url)


def test_the_local_zip_is_built_for_the_running_interpreter() -> None:
    target = for_this_interpreter()
    assert (target.python, target.platform) == (f"{sys.version_info.major}.{sys.version_info.minor}", None)
    assert toolchain.find_python(target.python, uv=["false"]) == sys.executable
