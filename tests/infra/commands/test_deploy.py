"""infra/commands/deploy.py: the arguments for the CDK CLI, and the messages when nothing can be deployed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.commands import deploy
from infra.stage.config import StageConfig

ROOT = Path(__file__).parents[3]


def _without_credentials(folder: Path) -> dict[str, str]:
    """An environment without AWS credentials, in which nothing looks for them over the network."""
    missing = str(folder / "missing")
    return {
        "PATH": os.environ["PATH"],
        "AWS_CONFIG_FILE": missing,
        "AWS_SHARED_CREDENTIALS_FILE": missing,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _deploy(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.commands.deploy"]
    return subprocess.run(
        command, cwd=folder, env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_missing_credentials_print_one_line_and_exit_with_code_1(tmp_path: Path) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    context = {"stage": "dev", "stages": {"dev": {"auth": auth}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    done = _deploy(tmp_path, _without_credentials(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no AWS credentials found: ")
    assert done.stderr.count("\n") == 1


def test_only_interactive_deployments_ask_before_permissions_are_widened() -> None:
    attended = deploy.deploy_command("prod", cdk=["cdk"], unattended=False)
    assert "--require-approval" not in attended
    assert deploy.deploy_command("prod", cdk=["cdk"], unattended=True) == [*attended, "--require-approval", "never"]


def test_the_cdk_cli_deploys_all_stacks_of_the_stage() -> None:
    command = deploy.deploy_command("prod", cdk=["node", "cdk"], unattended=True)
    assert command[:4] == ["node", "cdk", "deploy", "--all"]
    assert command[command.index("--context") + 1] == "stage=prod"


def test_the_endpoint_is_read_from_the_outputs_file_of_the_cdk_cli(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    assert deploy.endpoint(outputs, stage="prod") is None
    outputs.write_text(json.dumps({"chatkit-prod-api": {"Endpoint": "https://x.on.aws/"}}), encoding="utf-8")
    assert deploy.endpoint(outputs, stage="prod") == "https://x.on.aws/"


GUESTS = {"auth": {"guest": {}}, "quotas": {"stage_tokens_per_day": 400_000}}


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (GUESTS, True),
        ({**GUESTS, "alarm_email": None}, False),
        ({**GUESTS, "alarm_email": "ops@example.org"}, False),
        ({"auth": {"issuer": "https://login.example.org/", "audience": "chat"}}, False),
    ],
)
def test_a_stage_with_guests_must_set_an_alarm_email_or_null(options: dict[str, Any], missing: bool) -> None:
    context = {"stage": "dev", "stages": {"dev": options}}
    faults = deploy.alarm_faults(context, StageConfig.from_context(context))
    assert [fault.split(":")[0] for fault in faults] == missing * ["stages.dev.alarm_email is missing"]


def test_a_deployment_without_alarm_email_fails_before_any_aws_call(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "dev", "stages": {"dev": GUESTS}}}))
    done = _deploy(tmp_path, _without_credentials(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "stages.dev.alarm_email is missing" in done.stderr
    assert "or to null for no mail" in done.stderr


def test_a_warning_is_printed_first_and_does_not_stop_the_deployment(tmp_path: Path) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "page", "client_id": "page"}
    context = {"stage": "dev", "stages": {"dev": {"auth": auth}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    done = _deploy(tmp_path, _without_credentials(tmp_path))
    assert done.stdout.startswith("warning: auth.audience is auth.client_id")
    assert done.stdout.count("\n") == 1
    assert done.stderr.startswith("no AWS credentials found: ")


def test_the_cdk_cli_gets_a_flag_if_the_account_has_too_little_concurrency_for_the_cap() -> None:
    command = deploy.deploy_command("dev", cdk=["cdk"], unattended=False, context={"chatkit:uncapped": "true"})
    assert command[-2:] == ["--context", "chatkit:uncapped=true"]
