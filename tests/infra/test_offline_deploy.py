"""Deployed for real, offline: the unmodified stacks by the real CDK CLI to a local AWS, and a life of one stage there.

One test, since each step stands on the one before: deployed once, chatted with, updated, rolled back, destroyed.
The local AWS buffers what the function streams: streaming is proven on the emulator (tests/e2e).
"""

import json
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra import bundling, ministack
from infra.errors import BundleError, ToolError
from infra.local import LocalDeployment, for_this_machine
from infra.ministack import REGION, LocalCloud
from infra.wheels import LAMBDA
from tests.infra.https_issuer import serve
from tests.issuer import AUDIENCE, Issuer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STAGE = "staging"
DATA, API = f"chatkit-{STAGE}-data", f"chatkit-{STAGE}-api"
HELLO = {
    "type": "threads.create",
    "params": {
        "input": {"content": [{"type": "input_text", "text": "Hello!"}], "attachments": [], "inference_options": {}}
    },
}


@dataclass(frozen=True)
class Deployed:
    """A stage on a local AWS, and what a person would need to use it."""

    cloud: LocalCloud
    deployment: LocalDeployment
    context: dict[str, Any]
    code: Path
    issuer: Issuer
    outputs: dict[str, dict[str, str]]

    def client(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload] # the service is not known to the type checker
            service,
            endpoint_url=self.cloud.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.client("dynamodb").scan(TableName=self.outputs[DATA]["Table"])["Items"]
        return rows

    def ask(self, path: str, body: object = None, *, token: str = "") -> tuple[int, str]:
        """Status and body of a request through the function URL."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        url = self.cloud.local_url(self.outputs[API]["Endpoint"]) + path
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            result = json.loads(answer.read())
        return result["statusCode"], result["body"]

    def physical_ids(self) -> dict[str, str]:
        """What AWS calls the things that must not be replaced."""
        kept = ("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::Lambda::Url")
        cloudformation = self.client("cloudformation")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for stack in (DATA, API)
            for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
            if resource["ResourceType"] in kept
        }


@pytest.fixture
def stage(context: dict[str, Any], tmp_path: Path) -> Iterator[Deployed]:
    """Stage `staging`, whose data is not disposable, deployed to a local AWS that trusts the fake issuer."""
    with serve(tmp_path) as (issuer, certificate):
        auth = {"issuer": issuer.url, "audience": AUDIENCE}
        asked = for_this_machine({**context, "stage": STAGE, "stages": {STAGE: {"auth": auth}}})
        try:
            target = LAMBDA[asked["stages"][STAGE]["architecture"]]
            code = bundling.build(ROOT, environ=os.environ, target=target, out=tmp_path / "zip").zip
        except ToolError as error:
            pytest.skip(str(error))
        except BundleError as error:
            if "Failed to download" not in str(error):
                raise
            pytest.skip("offline, and the locked wheels are not in uv's cache")
        environ = os.environ | {"SSL_CERT_FILE": str(certificate)}
        cloud = ministack.start(tmp_path, environ=environ)
        try:
            deployment = LocalDeployment(cloud, folder=tmp_path, environ=os.environ)
            deployment.bootstrap()
            outputs = deployment.deploy(asked, code=code)
            yield Deployed(cloud, deployment, asked, code, issuer, outputs)
        finally:
            ministack.stop(cloud)


def _it_answers_and_lets_nobody_in_without_a_token(stage: Deployed) -> None:
    assert stage.ask("chat/health")[0] == 200
    assert stage.ask("chatkit", HELLO)[0] == 401


def _a_turn_is_answered_by_the_demo_model_and_stands_in_the_table(stage: Deployed) -> None:
    status, body = stage.ask("chatkit", HELLO, token=stage.issuer.token())
    events = [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]
    assert status == 200
    assert {"thread.created", "thread.item.done"} <= {event["type"] for event in events}
    kinds = [row["sk"]["S"].partition("#")[0] for row in stage.rows()]
    assert kinds.count("ITEM") == 2
    assert kinds.count("THREAD") == 1


def _the_event_of_each_hour_is_taken_by_the_alias(stage: Deployed) -> None:
    function = stage.physical_ids()["ChatFunctionD42E891B"]
    answer = stage.client("lambda").invoke(FunctionName=f"{function}:live", Payload=b'{"chat": "sweep"}')
    assert json.loads(answer["Payload"].read()) == {"swept": 0, "orphans": 0, "adopted": 0}


def _an_update_moves_the_alias_and_replaces_nothing_and_can_be_rolled_back(stage: Deployed) -> None:
    before, rows, functions = stage.physical_ids(), stage.rows(), stage.client("lambda")
    function = before["ChatFunctionD42E891B"]
    old = functions.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    larger = {**stage.context["stages"][STAGE], "memory_mb": 1536}
    stage.deployment.deploy({**stage.context, "stages": {STAGE: larger}}, code=stage.code)
    assert stage.physical_ids() == before
    assert stage.rows() == rows
    assert functions.get_alias(FunctionName=function, Name="live")["FunctionVersion"] != old
    functions.update_alias(FunctionName=function, Name="live", FunctionVersion=old)
    status, body = stage.ask("chatkit", {"type": "threads.list", "params": {}}, token=stage.issuer.token())
    assert (status, len(json.loads(body)["data"])) == (200, 1)


def _destroying_the_api_leaves_every_row(stage: Deployed) -> None:
    rows = stage.rows()
    stage.deployment.destroy(API)
    stacks = stage.client("cloudformation").describe_stacks()["Stacks"]
    assert API not in {one["StackName"] for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"}
    assert stage.rows() == rows != []


def test_the_life_of_a_stage(stage: Deployed) -> None:
    _it_answers_and_lets_nobody_in_without_a_token(stage)
    _a_turn_is_answered_by_the_demo_model_and_stands_in_the_table(stage)
    _the_event_of_each_hour_is_taken_by_the_alias(stage)
    _an_update_moves_the_alias_and_replaces_nothing_and_can_be_rolled_back(stage)
    _destroying_the_api_leaves_every_row(stage)
