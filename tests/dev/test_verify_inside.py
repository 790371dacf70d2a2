"""`make verify --inside`: rows that AWS's own APIs answer, by botocore's stubs."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import httpx2
import pytest
from botocore.stub import Stubber

from lambda_src.dev.verify import inside
from lambda_src.dev.verify.deployment import Deployment
from lambda_src.dev.verify.inside import Inside
from lambda_src.dev.verify.row import Outcome, Row

ALARM = "chatkit-proof-throttles"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"


class Aws:
    """Clients that answer what a test has them answer, and whoever asks for anything else fails."""

    def __init__(self) -> None:
        self._stubbers: dict[str, Stubber] = {}

    def of(self, service: str) -> Stubber:
        if service not in self._stubbers:
            client = boto3.client(  # type: ignore[call-overload] # the service is not known to the type checker
                service, region_name="eu-central-1", aws_access_key_id="id", aws_secret_access_key="secret"
            )
            self._stubbers[service] = Stubber(client)
            self._stubbers[service].activate()
        return self._stubbers[service]

    def client(self, service: str) -> Any:
        return self.of(service).client

    def log(self, *lines: dict[str, Any]) -> None:
        events = [{"message": json.dumps(line), "timestamp": 1} for line in lines]
        self.of("logs").add_response("filter_log_events", {"events": events})


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def check(aws: Aws) -> Callable[[Callable[[Deployment], Awaitable[Row]]], Awaitable[Row]]:
    parts = Inside(
        stage="proof", function="chat", log_group="log", table="table", bucket="files", since_ms=1, client=aws.client
    )

    async def at_once(_: float) -> None: ...

    deployment = Deployment("http://chat.test/", httpx2.AsyncClient(), {}, inside=parts, wait=at_once)
    return lambda row: row(deployment)


Check = Callable[[Callable[[Deployment], Awaitable[Row]]], Awaitable[Row]]


def _policy(*actions: str, extra: str = "FunctionUrl") -> dict[str, str]:
    statements = [{"Action": action, "Condition": {"Bool": {f"lambda:{extra}": "true"}}} for action in actions]
    return {"Policy": json.dumps({"Statement": statements})}


@pytest.mark.parametrize(
    ("policy", "outcome", "what"),
    [
        (_policy("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"), Outcome.OK, "both are granted"),
        (_policy("lambda:InvokeFunctionUrl"), Outcome.FAILED, "missing: lambda:InvokeFunction"),
        (_policy("lambda:InvokeFunction", extra="SourceArn"), Outcome.NOT_SEEN, "another front door"),
    ],
)
async def test_a_url_needs_both_permissions(
    policy: dict[str, str], outcome: Outcome, what: str, aws: Aws, check: Check
) -> None:
    aws.of("lambda").add_response("get_policy", policy, {"FunctionName": "chat", "Qualifier": "live"})
    row = await check(inside.url_permissions)
    assert (row.outcome, what in row.what) == (outcome, True)


def _rung(aws: Aws, *summaries: str) -> None:
    cloudwatch = aws.of("cloudwatch")
    cloudwatch.add_response("describe_alarms", {"MetricAlarms": [{"AlarmActions": ["topic"]}]}, {"AlarmNames": [ALARM]})
    cloudwatch.add_response("set_alarm_state", {})
    for summary in summaries:
        items = [{"AlarmName": ALARM, "HistorySummary": summary}] if summary else []
        cloudwatch.add_response("describe_alarm_history", {"AlarmHistoryItems": items})


@pytest.mark.parametrize(
    ("summaries", "outcome"),
    [
        (["", "Successfully executed action topic"], Outcome.OK),
        (["Failed to execute action topic. Received error: AuthorizationError"], Outcome.FAILED),
        ([""] * inside.TRIES, Outcome.FAILED),
    ],
)
async def test_an_alarm_counts_when_its_action_was_executed(
    summaries: list[str], outcome: Outcome, aws: Aws, check: Check
) -> None:
    _rung(aws, *summaries)
    assert (await check(inside.alarm_delivered)).outcome is outcome


async def test_a_stage_whose_alarms_notify_nobody_proves_nothing(aws: Aws, check: Check) -> None:
    aws.of("cloudwatch").add_response("describe_alarms", {"MetricAlarms": [{"AlarmActions": []}]})
    assert (await check(inside.alarm_delivered)).outcome is Outcome.NOT_SEEN


def _report(request: str, **metrics: float) -> dict[str, Any]:
    return {"type": "platform.report", "record": {"requestId": request, "metrics": {"durationMs": 1, **metrics}}}


async def test_starts_are_told_by_kind(aws: Aws, check: Check) -> None:
    aws.log()
    aws.log(_report("1", initDurationMs=900), _report("2", restoreDurationMs=300), _report("3"))
    row = await check(inside.log_starts)
    assert row.figures == {"init_p50_ms": 900, "restore_p50_ms": 300}
    assert row.what == "1 loaded, median 900 ms; 1 restored from a snapshot, median 300 ms"


async def test_an_invocation_without_a_request_is_counted(aws: Aws, check: Check) -> None:
    request = {"message": "request", "request_id": "1"}
    aws.log(request)  # Lambda's own line comes later
    aws.log(request, _report("1"), _report("2"))
    row = await check(inside.log_invocations)
    assert row.figures == {"more": 1}


async def test_errors_are_told_by_the_names_of_their_events(aws: Aws, check: Check) -> None:
    failed = {"level": "ERROR", "message": "runtime.invocation_failed", "error_type": "KeyError"}
    aws.log(failed, failed, {"level": "INFO", "message": "request"})
    row = await check(inside.log_errors)
    assert (row.what, row.figures) == ("2 x runtime.invocation_failed KeyError", {"errors": 2})


@pytest.mark.parametrize(("table", "outcome"), [(KEY, Outcome.OK), (f"{KEY}2", Outcome.FAILED)])
async def test_table_and_bucket_use_one_key(table: str, outcome: Outcome, aws: Aws, check: Check) -> None:
    aws.of("dynamodb").add_response("describe_table", {"Table": {"SSEDescription": {"KMSMasterKeyArn": table}}})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    aws.of("s3").add_response("get_bucket_encryption", {"ServerSideEncryptionConfiguration": rules})
    assert (await check(inside.key)).outcome is outcome


async def test_a_time_out_that_is_accepted_is_set_back(aws: Aws, check: Check) -> None:
    functions = aws.of("lambda")
    functions.add_response("get_function_configuration", {"Timeout": 30})
    functions.add_response("update_function_configuration", {}, {"FunctionName": "chat", "Timeout": 1800})
    functions.add_response("get_function", {"Configuration": {"LastUpdateStatus": "Successful"}})
    functions.add_response("update_function_configuration", {}, {"FunctionName": "chat", "Timeout": 30})
    row = await check(inside.longest_timeout)
    assert row.figures == {"longest_s": 1800}
    functions.assert_no_pending_responses()


async def test_a_time_out_that_is_refused_leaves_the_documented_one(aws: Aws, check: Check) -> None:
    functions = aws.of("lambda")
    functions.add_response("get_function_configuration", {"Timeout": 30})
    functions.add_client_error("update_function_configuration", "ValidationException")
    assert (await check(inside.longest_timeout)).figures == {"longest_s": 900}


async def test_the_parts_of_a_stage_are_found_by_its_stacks(aws: Aws) -> None:
    def stack(**parts: str) -> dict[str, Any]:
        of_a_kind = {"LogicalResourceId": "any", "Timestamp": "2026-01-01", "ResourceStatus": "CREATE_COMPLETE"}
        named = [
            {**of_a_kind, "ResourceType": f"AWS::{kind.replace('_', '::')}", "PhysicalResourceId": name}
            for kind, name in parts.items()
        ]
        return {"StackResources": named}

    cloudformation = aws.of("cloudformation")
    api = stack(Lambda_Function="chat", Logs_LogGroup="log")
    cloudformation.add_response("describe_stack_resources", api, {"StackName": "chatkit-proof-api"})
    data = stack(DynamoDB_GlobalTable="table", S3_Bucket="files")
    cloudformation.add_response("describe_stack_resources", data, {"StackName": "chatkit-proof-data"})
    found = inside.find("proof", client=aws.client, since_ms=1)
    assert (found.function, found.log_group, found.table, found.bucket) == ("chat", "log", "table", "files")
