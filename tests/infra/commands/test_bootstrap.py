"""infra/commands/bootstrap.py: `cdk bootstrap` in every region of a stage, without running cdk.json's app."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.commands import local_cloud
from infra.commands.bootstrap import bootstrap_command
from infra.commands.local_cloud import ACCOUNT, LocalCloud
from infra.preflight.account import Account, regions
from infra.stage.config import StageConfig

ROOT = Path(__file__).parents[3]
AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
WAF = {"front_door": "cloudfront", "waf": True, "account": ACCOUNT}


def _bootstrap(folder: Path, environ: dict[str, str], **options: Any) -> "subprocess.CompletedProcess[str]":
    context = {"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}}
    cdk_json = {"app": "touch app-was-run && false", "context": context}
    (folder / "cdk.json").write_text(json.dumps(cdk_json), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "infra.commands.bootstrap"],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT), "CDK_HOME": str(folder), "CDK_DISABLE_CLI_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_region_of_a_stage_is_bootstrapped_once() -> None:
    def regions_for(region: str) -> list[str]:
        options = {"auth": AUTH, **WAF, "region": region}
        config = StageConfig.from_context({"stage": "dev", "stages": {"dev": options}})
        return regions(config, Account(ACCOUNT, region, clients=LocalCloud(0, 0, "id", "secret").client))

    assert regions_for("eu-central-1") == ["eu-central-1", "us-east-1"]
    assert regions_for("us-east-1") == ["us-east-1"]
    command = bootstrap_command(ACCOUNT, regions_for("eu-central-1"), cdk=["node", "cdk"])
    assert command[:5] == ["node", "cdk", "bootstrap", f"aws://{ACCOUNT}/eu-central-1", f"aws://{ACCOUNT}/us-east-1"]


def test_without_credentials_one_line_is_printed(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    no_credentials = {
        "AWS_CONFIG_FILE": missing,
        "AWS_SHARED_CREDENTIALS_FILE": missing,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = _bootstrap(tmp_path, {"PATH": os.environ["PATH"], **no_credentials})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.deploys
def test_the_account_is_bootstrapped_without_running_the_app(tmp_path: Path) -> None:
    cloud = local_cloud.start(tmp_path, environ=os.environ)
    try:
        done = _bootstrap(tmp_path, cloud.environ(os.environ))
        assert done.returncode == 0, done.stdout + done.stderr
        version = cloud.client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
        assert int(version["Parameter"]["Value"]) >= 6
    finally:
        local_cloud.stop(cloud)
    assert not (tmp_path / "app-was-run").exists()
