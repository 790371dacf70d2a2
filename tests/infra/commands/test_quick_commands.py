"""`make logs`, `make destroy` and `make bootstrap` import botocore only to call AWS, and never boto3 or aws_cdk."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CDK = {"aws_cdk", "jsii", "constructs"}
AWS_SDK = {"boto3", "botocore", "s3transfer", "urllib3"}
REQUEST = "01234567-89ab-cdef-0123-456789abcdef"
IMPORTED = re.compile(r"import time:[ \d]*\|[ \d]*\| +([\w.]+)")


def imported_by(command: str, *arguments: str, **environ: str) -> tuple[int, str, set[str]]:
    """Runs a command; returns exit code, messages and imported top-level packages. Only `environ` has credentials."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"infra.commands.{command}", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": "/missing", "AWS_SHARED_CREDENTIALS_FILE": "/missing"}
        | {"HOME": "/missing", "AWS_EC2_METADATA_DISABLED": "true"}
        | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    packages = {match[1].partition(".")[0] for line in lines if (match := IMPORTED.match(line))}
    assert "argparse" in packages, "the output of -X importtime was not parsed"
    return done.returncode, "\n".join(line for line in lines if not line.startswith("import time:")), packages


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("logs", [], "--request"),
        ("logs", ["--request", "one"], "'one' is not a request id"),
        ("logs", ["--request", REQUEST, "--since", "long"], "SINCE=long is not a duration"),
        ("logs", ["--request", REQUEST, "--stage", "nowhere"], "nowhere"),
        ("destroy", [], "--stage"),
        ("destroy", ["--stage", "nowhere"], "nowhere"),
        ("bootstrap", ["nonsense"], "nonsense"),
        ("bootstrap", ["--stage", "nowhere"], "nowhere"),
    ],
)
def test_invalid_arguments_are_reported_before_the_aws_sdk_is_imported(
    command: str, arguments: list[str], sentence: str
) -> None:
    code, message, packages = imported_by(command, *arguments)
    assert (code != 0, sentence in message, "Traceback" in message) == (True, True, False)
    assert not packages & (CDK | AWS_SDK)


CALLS = [("logs", ["--request", REQUEST, "--stage", "dev"]), ("destroy", ["--stage", "dev"]), ("bootstrap", [])]
MORE_THAN_BOTOCORE = CDK | {"boto3", "s3transfer"}


@pytest.mark.parametrize(("command", "arguments"), CALLS)
def test_a_command_without_credentials_imports_only_botocore(command: str, arguments: list[str]) -> None:
    code, message, packages = imported_by(command, *arguments)
    assert (code, "no AWS credentials found" in message) == (1, True)
    assert "botocore" in packages
    assert not packages & MORE_THAN_BOTOCORE


@pytest.mark.parametrize(("command", "arguments"), CALLS)
def test_a_command_that_cannot_reach_aws_imports_only_botocore(command: str, arguments: list[str]) -> None:
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "eu-central-1", "AWS_MAX_ATTEMPTS": "1"}
    code, message, packages = imported_by(
        command, *arguments, **nowhere, AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret"
    )
    assert (code, "Could not connect to the endpoint URL" in message, "Traceback" in message) == (1, True, False)
    assert not packages & MORE_THAN_BOTOCORE
