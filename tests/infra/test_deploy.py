"""infra/deploy.py: what is looked at before anything is built or sent, and what the CDK CLI is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import deploy
from infra.config import StageConfig
from infra.config_parts import AuthConfig
from infra.errors import PreflightError

ROOT = Path(__file__).parents[2]
REAL = StageConfig(stage="prod", auth=AuthConfig(issuer="https://login.example.org/", audience="chat"))
PLACEHOLDER = StageConfig(stage="dev", auth=AuthConfig(issuer="https://issuer.example.com/", audience="chat"))


def _nowhere(folder: Path) -> dict[str, str]:
    """An environment in which no credentials can be found, and no network is asked for them."""
    missing = str(folder / "missing")
    return {
        "PATH": os.environ["PATH"],
        "AWS_CONFIG_FILE": missing,
        "AWS_SHARED_CREDENTIALS_FILE": missing,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _deploy(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.deploy"]
    return subprocess.run(
        command, cwd=folder, env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_a_sound_stage_with_credentials_may_be_deployed() -> None:
    deploy.preflight(REAL, find_fault=lambda: None)


def test_every_reason_not_to_deploy_is_said_at_once() -> None:
    with pytest.raises(PreflightError) as caught:
        deploy.preflight(PLACEHOLDER, find_fault=lambda: "no credentials")
    assert caught.value.faults[0] == "no credentials"
    assert "in cdk.json, set context.stages.dev.auth.issuer" in caught.value.faults[1]


def test_no_credentials_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    context = {"stage": "dev", "stages": {"dev": {"auth": auth}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    done = _deploy(tmp_path, _nowhere(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("make deploy needs an AWS account: no credentials found; ")
    assert done.stderr.count("\n") == 1


def test_a_profile_that_does_not_exist_is_one_line_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in _nowhere(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    fault = deploy.credentials_fault()
    assert fault == "make deploy needs an AWS account: The config profile (nobody) could not be found."


def test_credentials_in_the_environment_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert deploy.credentials_fault() is None


def test_a_person_is_asked_before_permissions_widen_and_a_pipeline_is_not() -> None:
    attended = deploy.deploy_command("prod", cdk=["cdk"], unattended=False)
    assert "--require-approval" not in attended
    assert deploy.deploy_command("prod", cdk=["cdk"], unattended=True) == [*attended, "--require-approval", "never"]


def test_the_cli_is_told_the_stage_and_both_stacks() -> None:
    command = deploy.deploy_command("prod", cdk=["node", "cdk"], unattended=True)
    assert command[:4] == ["node", "cdk", "deploy", "--all"]
    assert command[command.index("--context") + 1] == "stage=prod"


def test_the_endpoint_is_read_from_what_the_cli_wrote(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    assert deploy.endpoint(outputs, stage="prod") is None
    outputs.write_text(json.dumps({"chatkit-prod-api": {"Endpoint": "https://x.on.aws/"}}), encoding="utf-8")
    assert deploy.endpoint(outputs, stage="prod") == "https://x.on.aws/"
