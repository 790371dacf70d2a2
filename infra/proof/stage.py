"""The stage `proof` in one account: check that nothing is in the way, deploy it, verify it, destroy all of it.

Calls AWS and runs our commands. The configurations are defined in infra/proof/configurations.py.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.bundle import build as bundling
from infra.bundle.wheels import Target
from infra.commands import template
from infra.commands.deployment import Deployment
from infra.commands.destroy import delete_stack
from infra.errors import PreflightError, ToolError
from infra.preflight.account import Account, account_faults, is_bootstrapped, is_ours
from infra.preflight.regions import region_faults
from infra.preflight.stack_states import NOT_YET_MADE
from infra.proof import configurations
from infra.proof.configurations import STAGE, Configuration, Place, Row
from infra.stacks.names import api_stack_name, data_stack_name
from infra.stage.config import StageConfig

ROOT = Path(__file__).parents[2]
STACKS = (api_stack_name(STAGE), data_stack_name(STAGE))  # in the order of deletion
REACHABLE_S, EACH_S = 120.0, 5.0  # DNS takes a while to resolve a new address everywhere
GONE = "ValidationError"  # CloudFormation's error code for a stack that does not exist


@dataclass(frozen=True, kw_only=True)
class ProofStage:
    """`flags`: cdk.json's context. `local_url`: where a function URL of a local AWS answers; None on AWS."""

    account: Account
    place: Place
    flags: Mapping[str, Any]
    deployment: Deployment
    environ: Mapping[str, str]
    target: Target
    local_url: Callable[[str], str] | None = None

    def check(self, *, ours: bool) -> None:
        """PreflightError with every reason not to begin. ours: an earlier run here may have created the stage."""
        if not ours and (there := self.present()):
            raise PreflightError(
                [
                    f"{' and '.join(there)} already exist in {self.account}, created by a run on another machine: "
                    "`make prove DESTROY=1` deletes them."
                ]
            )
        if faults := account_faults(self.config(configurations.CONFIGURATIONS[0]), self.account, needs_bootstrap=False):
            raise PreflightError(faults)

    def config(self, configuration: Configuration) -> StageConfig:
        """The stage in this configuration."""
        return StageConfig.from_context(configurations.context(self.flags, configuration, self.place))

    def lacks(self, configuration: Configuration) -> list[str]:
        """Why this AWS does not support the configuration; empty if it does."""
        if self.local_url is not None:
            return [configuration.not_local] if configuration.not_local else []
        return list(region_faults(self.config(configuration), self.account.region))

    def prepare(self) -> None:
        """Bootstrap CDK in the region, unless that was done before."""
        if not is_bootstrapped(self.config(configurations.CONFIGURATIONS[0]), self.account):
            self.deployment.bootstrap()

    def build(self) -> Path:
        """Build the zip, unless nothing changed. BundleError if that fails."""
        return bundling.build(ROOT, environ=self.environ, target=self.target).zip

    def resources(self, configuration: Configuration) -> list[dict[str, Any]]:
        """Every resource of the stage in this configuration."""
        context = configurations.context(self.flags, configuration, self.place)
        with tempfile.TemporaryDirectory() as folder:
            templates = template.synthesize(context, outdir=Path(folder))
        return [resource for stack in templates.values() for resource in stack["Resources"].values()]

    def deploy(self, configuration: Configuration) -> str:
        """Deploy the stage in this configuration, and return its URL. ToolError with the last output of the CDK CLI."""
        context = configurations.context(self.flags, configuration, self.place)
        url = self.deployment.deploy(context, code=self.build())[api_stack_name(STAGE)]["Endpoint"]
        return url if self.local_url is None else self.local_url(url)

    def look(self, configuration: Configuration, url: str) -> list[Row]:
        """Run `make verify` and return its rows. ToolError if nothing answers at the URL."""
        _wait_until_reachable(url)
        return configurations.merged(
            configuration, [self._verified(url, words) for words in configurations.rows_of(configuration)]
        )

    def _verified(self, url: str, words: list[str]) -> list[Row]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "lambda_src.dev.verify", url, "--inside", STAGE, "--out", folder, *words]
            subprocess.run(command, cwd=ROOT, env=dict(self.environ), check=False)  # exit code 1 may mean a failed row
            written = list(Path(folder).glob("*.json"))
            if not written:
                raise ToolError("the stage is deployed, but `make verify` could not reach it: see above.")
            rows: list[Row] = json.loads(written[0].read_text(encoding="utf-8"))["rows"]
            return rows

    def present(self) -> list[str]:
        """The names of the stacks that exist. PreflightError if one of them is not ours."""
        return [name for name in STACKS if self._status(name) is not None]

    def take_down(self) -> None:
        """Delete the stacks, the files in the bucket, and the guests' secret, as far as they still exist."""
        for name in STACKS:
            if self._settled(name) is None:
                continue
            if name == data_stack_name(STAGE):
                self._empty_buckets(name)
            delete_stack(name, self.account, region=self.account.region)
        try:
            secret = self.config(configurations.CONFIGURATIONS[0]).guest_secret_name
            self._client("ssm").delete_parameter(Name=secret)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise

    def _status(self, name: str) -> str | None:
        try:
            [stack] = self._client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != GONE:
                raise
            return None
        if stack["StackStatus"] == "DELETE_COMPLETE":
            return None
        if stack["StackStatus"] != NOT_YET_MADE and not is_ours(stack, STAGE):
            raise PreflightError([f"{name} in {self.account} belongs to something else and was not touched."])
        return str(stack["StackStatus"])

    def _settled(self, name: str) -> str | None:
        """Wait until no operation is in progress, and return the status: AWS continues an interrupted deployment."""
        while (status := self._status(name)) is not None:
            if not status.endswith("_IN_PROGRESS") or status == NOT_YET_MADE:
                return status
            print(f"{name} is in {status}; waiting ...", flush=True)
            time.sleep(EACH_S)
        return None

    def _empty_buckets(self, stack: str) -> None:
        resources = self._client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        buckets = [item["PhysicalResourceId"] for item in resources if item["ResourceType"] == "AWS::S3::Bucket"]
        s3 = self._client("s3")
        for bucket in buckets:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                if keys := [{"Key": entry["Key"]} for entry in page.get("Contents", [])]:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        return self.account.clients(service, self.account.region)


def _wait_until_reachable(url: str) -> None:
    """Wait until something answers at the URL, or for REACHABLE_S. `make verify` judges the answer."""
    until_s = time.monotonic() + REACHABLE_S
    while time.monotonic() < until_s:
        try:
            urllib.request.urlopen(f"{url}chat/health", timeout=EACH_S).close()  # noqa: S310 - AWS gave the address
        except urllib.error.HTTPError as answer:
            if answer.code != HTTPStatus.FORBIDDEN:  # a new function URL answers 403 until its permissions have spread
                return
        except OSError:
            pass
        else:
            return
        time.sleep(EACH_S)
