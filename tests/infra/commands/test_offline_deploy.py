"""A real deployment, offline: the real CDK CLI deploys the unmodified stacks to a local AWS; the life cycle of a stage.

It is one test because each step needs the previous one: the last release is deployed and used for a chat; this release
is deployed over it, replaces nothing, admits guests, is rolled back and destroyed; the chat survives all of it.
The local AWS buffers what the function streams, so streaming is tested on the emulator (tests/e2e).
"""

import json
import os
import platform
import re
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.bundle.build import Bundle
from infra.commands import local_cloud
from infra.commands.deploy_local import MACHINES, for_this_machine
from infra.commands.deployment import Deployment
from infra.commands.local_cloud import ACCOUNT, REGION, LocalCloud
from infra.stacks.names import stack_names
from infra.stage.config import StageConfig
from lambda_src import sse
from tests.docs import test_secrets as docs_secrets
from tests.fakes.https_issuer import serve
from tests.fakes.issuer import AUDIENCE, Issuer
from tests.infra import releases

pytestmark = [pytest.mark.deploys, pytest.mark.xdist_group("bundle")]

ROOT = Path(__file__).parents[3]
STAGE = releases.STAGE
RELEASED_ISSUER = "https://login.example.org/"  # in the templates of the last release
NEVER_REPLACED = ("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::Lambda::Url")
FUNCTION = "ChatFunctionD42E891B"
DATA, API = f"chatkit-{STAGE}-data", f"chatkit-{STAGE}-api"
HELLO = {
    "type": "threads.create",
    "params": {
        "input": {
            "content": [{"type": "input_text", "text": "Count to 3."}],
            "attachments": [],
            "inference_options": {},
        }
    },
}


class Previewed(Deployment):
    """The CDK CLI, which can also say what a deployment would change, and delete one stack."""

    def destroy(self, stack: str) -> None:
        """Delete one stack of those that were deployed last."""
        self._cdk("destroy", stack, "--exclusively", "--force", "--app", str(self._folder / "cdk.out"))

    def changes(self, context: Mapping[str, Any], *, code: Path) -> dict[str, dict[str, Any]]:
        """What deploying `context` would change, by logical id, as CloudFormation's change sets say; nothing is."""
        app = self._synthesize(context, code=code)
        prepare = ["--method", "prepare-change-set", "--change-set-name", "preview", "--require-approval", "never"]
        self._cdk("deploy", "--all", "--app", str(app), *prepare)
        cloudformation = self._account.clients("cloudformation", self._account.region)
        found: dict[str, dict[str, Any]] = {}
        for stack in stack_names(StageConfig.from_context(context)):
            change_set = cloudformation.describe_change_set(StackName=stack, ChangeSetName="preview")
            changed = [change["ResourceChange"] for change in change_set["Changes"]]
            found |= {resource["LogicalResourceId"]: resource for resource in changed}
            cloudformation.delete_change_set(StackName=stack, ChangeSetName="preview")
        return found


@dataclass(frozen=True)
class Deployed:
    """A stage on a local AWS, with everything needed to use it."""

    cloud: LocalCloud
    deployment: Previewed
    context: dict[str, Any]
    code: Path
    issuer: Issuer
    outputs: dict[str, dict[str, str]]

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.cloud.client("dynamodb").scan(TableName=self.outputs[DATA]["Table"])["Items"]
        return rows

    def request(self, path: str, body: object = None, *, token: str = "") -> tuple[int, str]:
        """Status and body of a request through the function URL."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        url = self.cloud.local_url(self.outputs[API]["Endpoint"]) + path
        data = json.dumps(body).encode() if body is not None else None
        http_request = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(http_request, timeout=60) as response:
            result = json.loads(response.read())
        return result["statusCode"], result["body"]

    def deployed_output(self, stack: str, key: str) -> str:
        """An output of a stack as it is deployed now."""
        [deployed] = self.cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return next(str(output["OutputValue"]) for output in deployed["Outputs"] if output["OutputKey"] == key)

    def physical_ids(self) -> dict[str, str]:
        """The physical IDs of the resources that must not be replaced."""
        cloudformation = self.cloud.client("cloudformation")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for stack in (DATA, API)
            for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
            if resource["ResourceType"] in NEVER_REPLACED
        }


@pytest.fixture
def stage(context: dict[str, Any], bundle: Bundle, tmp_path: Path) -> Iterator[Deployed]:
    """Stage `staging` of the last release, whose data is not disposable. The local AWS trusts the fake issuer."""
    with serve(tmp_path) as (issuer, certificate):
        auth = {"issuer": issuer.url, "audience": AUDIENCE, "guest": {}}
        local_context = for_this_machine(
            {
                **context,
                "stage": STAGE,
                "stages": {
                    STAGE: {
                        "auth": auth,
                        "quotas": {"stage_tokens_per_day": 400_000},
                        "operators": {"claim": "groups", "value": "support"},
                    }
                },
            }
        )
        environ = os.environ | {"SSL_CERT_FILE": str(certificate)}
        cloud = local_cloud.start(tmp_path, environ=environ)
        try:
            deployment = Previewed(cloud.account(), folder=tmp_path, environ=cloud.environ(os.environ))
            deployment.bootstrap()
            outputs = _deploy_last_release(cloud, issuer=issuer.url, code=bundle.zip)
            yield Deployed(cloud, deployment, local_context, bundle.zip, issuer, outputs)
        finally:
            local_cloud.stop(cloud)


def _deploy_last_release(cloud: LocalCloud, *, issuer: str, code: Path) -> dict[str, dict[str, str]]:
    """Deploy the templates of the last release with today's code, and return the outputs by stack."""
    cloudformation, outputs = cloud.client("cloudformation"), {}
    for stack in (DATA, API):
        body = (ROOT / releases.TEMPLATES / f"{stack}.json").read_text(encoding="utf-8")
        body = body.replace(RELEASED_ISSUER, issuer).replace('"arm64"', f'"{MACHINES[platform.machine().lower()]}"')
        for key in set(re.findall(r'"S3Key": "(\w+\.zip)"', body)):
            assets = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
            cloud.client("s3").put_object(Bucket=assets, Key=key, Body=code.read_bytes())
        tags = [{"Key": "project", "Value": "chatkit-lambda"}, {"Key": "stage", "Value": STAGE}]
        capabilities = ["CAPABILITY_NAMED_IAM"]
        cloudformation.create_stack(StackName=stack, TemplateBody=body, Tags=tags, Capabilities=capabilities)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
        [created] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        outputs[stack] = {output["OutputKey"]: output["OutputValue"] for output in created["Outputs"]}
    return outputs


def _it_is_healthy_and_requires_a_token(stage: Deployed) -> None:
    assert stage.request("chat/health")[0] == 200
    assert stage.request("chatkit", HELLO)[0] == 401


def _the_demo_model_answers_and_the_turn_is_stored(stage: Deployed) -> None:
    status, body = stage.request("chatkit", HELLO, token=stage.issuer.token())
    events = [json.loads(message.data) for message in sse.read(body.encode())]
    assert status == 200
    assert {"thread.created", "thread.item.done"} <= {event["type"] for event in events}
    kinds = [row["sk"]["S"].partition("#")[0] for row in stage.rows()]
    assert kinds.count("ITEM") == 2
    assert kinds.count("THREAD") == 1


def _the_alias_accepts_the_hourly_sweep(stage: Deployed) -> None:
    function = stage.physical_ids()[FUNCTION]
    answer = stage.cloud.client("lambda").invoke(FunctionName=f"{function}:live", Payload=b'{"chat": "sweep"}')
    assert set(json.loads(answer["Payload"].read()).values()) == {0}, "there must be nothing to sweep"


def _the_change_set_of_this_release_replaces_no_table_bucket_or_url(stage: Deployed) -> None:
    changes = stage.deployment.changes(_with_more_memory(stage), code=stage.code)
    assert changes[FUNCTION]["Action"] == "Modify", "the change set must not be empty"
    assert releases.replaced_by(changes).isdisjoint(stage.physical_ids()), (
        "a table, bucket, function or URL would be replaced"
    )


def _this_release_moves_the_alias_replaces_nothing_and_can_be_rolled_back(stage: Deployed) -> None:
    before, rows, functions = stage.physical_ids(), stage.rows(), stage.cloud.client("lambda")
    function = before[FUNCTION]
    old = functions.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    stage.deployment.deploy(_with_more_memory(stage), code=stage.code)
    assert stage.physical_ids() == before
    assert stage.rows() == rows
    new = functions.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    assert new != old
    _a_guest_is_admitted_and_answered(stage)
    functions.update_alias(FunctionName=function, Name="live", FunctionVersion=old)
    status, body = stage.request("chatkit", {"type": "threads.list", "params": {}}, token=stage.issuer.token())
    assert (status, len(json.loads(body)["data"])) == (200, 1)
    assert stage.request("auth/guest", {})[0] == 404, "the previous version does not support guests"


def _a_guest_is_admitted_and_answered(stage: Deployed) -> None:
    status, minted = stage.request("auth/guest", {})
    assert status == 200
    status, body = stage.request("chatkit", HELLO, token=json.loads(minted)["token"])
    assert (status, "assistant_message" in body) == (200, True)


def _a_tool_uses_a_secret_set_on_the_command_line(stage: Deployed, tmp_path: Path) -> None:
    """docs/how-to/secrets.md, deployed: its agent, its options and its command. Only the shop's URL is local."""
    page = docs_secrets.files()
    options = {name: value for name, value in docs_secrets.options().items() if name != "environment"}
    with docs_secrets.shop("sk-shop") as url:
        entry = {**_with_more_memory(stage)["stages"][STAGE], **options, "environment": {"SHOP_URL": url}}
        context = {**stage.context, "stages": {STAGE: entry}}
        stage.deployment.deploy(context, code=_with_agent(stage.code, page, to=tmp_path / "agent.zip"))
        question = json.loads(json.dumps(HELLO).replace("Count to 3.", "Opening hours"))
        _, body = stage.request("chatkit", question, token=stage.issuer.token())
        assert "Monday to Friday" not in body, "the tool must not work before the secret is set"
        cdk_json = tmp_path / "cdk.json"
        cdk_json.write_text(json.dumps({"context": context}), encoding="utf-8")
        markdown = docs_secrets.PAGE.read_text(encoding="utf-8")
        [command] = re.findall(r'make chat ARGS="(secret set shop-api-key --stage) prod"', markdown)
        chat = [sys.executable, "-m", "lambda_src.cli", "--endpoint-url", stage.cloud.url, *command.split(), STAGE]
        done = subprocess.run(
            [*chat, "--cdk-json", str(cdk_json)],
            env=stage.cloud.environ(os.environ),
            input="sk-shop\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        again = json.loads(
            json.dumps(question).replace("hours", "hours, please")
        )  # an identical request would count as a retry
        _, body = stage.request("chatkit", again, token=stage.issuer.token())
    assert "Monday to Friday, 9 to 17" in body
    assert "sk-shop" not in body + str(stage.rows())
    template = stage.cloud.client("cloudformation").get_template(StackName=API)["TemplateBody"]
    assert "sk-shop" not in str(template)


def _a_request_for_a_person_reaches_a_queue_behind_the_topic(stage: Deployed) -> None:
    topic = stage.deployed_output(API, "EventsTopic")
    sqs, sns = stage.cloud.client("sqs"), stage.cloud.client("sns")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    allowed |= {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    body = stage.request("chatkit", {"type": "threads.list", "params": {}}, token=stage.issuer.token())[1]
    thread_id = json.loads(body)["data"][0]["id"]
    status, body = stage.request("chatkit/handoff", {"thread_id": thread_id}, token=stage.issuer.token())
    assert (status, json.loads(body)["held"]) == (200, "waiting")
    [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    event = json.loads(json.loads(message["Body"])["Message"])
    assert (event["type"], event["thread"]) == ("handoff.requested", thread_id)
    function = stage.physical_ids()[FUNCTION]
    answer = stage.cloud.client("lambda").invoke(FunctionName=f"{function}:live", Payload=b'{"chat": "clock"}')
    assert json.loads(answer["Payload"].read()) == {"looked_at": 0}, "nothing is due yet"


def _with_agent(code: Path, page: dict[str, str], *, to: Path) -> Path:
    """A copy of the zip at `to`, with the agent of the docs page in place of ours."""
    agent = {path: text for path, text in page.items() if path.startswith("lambda_src/agent/")}
    agent["lambda_src/agent/model.py"] = 'MODEL = "a-model"\n'
    with zipfile.ZipFile(code) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for info in old.infolist():
            if not info.filename.startswith("lambda_src/agent/"):
                new.writestr(info, old.read(info))
        for path, text in agent.items():
            new.writestr(path, text)
    return to


def _destroying_the_api_leaves_every_row(stage: Deployed) -> None:
    rows = stage.rows()
    stage.deployment.destroy(API)
    stacks = stage.cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert API not in {stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"}
    assert stage.rows() == rows != []


def _with_more_memory(stage: Deployed) -> dict[str, Any]:
    """The context of the same stage with more memory."""
    options = {**stage.context["stages"][STAGE], "memory_mb": 1536}
    return {**stage.context, "stages": {STAGE: options}}


def test_the_life_cycle_of_a_stage(stage: Deployed, tmp_path: Path) -> None:
    _it_is_healthy_and_requires_a_token(stage)
    _the_demo_model_answers_and_the_turn_is_stored(stage)
    _the_alias_accepts_the_hourly_sweep(stage)
    _the_change_set_of_this_release_replaces_no_table_bucket_or_url(stage)
    _this_release_moves_the_alias_replaces_nothing_and_can_be_rolled_back(stage)
    _a_tool_uses_a_secret_set_on_the_command_line(stage, tmp_path)
    _a_request_for_a_person_reaches_a_queue_behind_the_topic(stage)
    _destroying_the_api_leaves_every_row(stage)
