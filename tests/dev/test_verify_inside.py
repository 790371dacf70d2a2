"""lambda_src/dev/verify/inside.py: the checks of `make verify --inside`, which call AWS APIs. AWS is stubbed."""

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
    """Stubbed AWS clients. A call that the test did not prepare fails."""

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
def run_check(aws: Aws) -> Callable[[Callable[[Deployment], Awaitable[Row]]], Awaitable[Row]]:
    parts = Inside(
        stage="proof", function="chat", log_group="log", table="table", bucket="files", since_ms=1, client=aws.client
    )

    async def no_wait(_: float) -> None: ...

    deployment = Deployment("http://chat.test/", httpx2.AsyncClient(), {}, inside=parts, wait=no_wait)
    return lambda row: row(deployment)


RunCheck = Callable[[Callable[[Deployment], Awaitable[Row]]], Awaitable[Row]]


def _policy(*actions: str, extra: str = "FunctionUrl") -> dict[str, str]:
    statements = [{"Action": action, "Condition": {"Bool": {f"lambda:{extra}": "true"}}} for action in actions]
    return {"Policy": json.dumps({"Statement": statements})}


@pytest.mark.parametrize(
    ("policy", "outcome", "message"),
    [
        (_policy("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"), Outcome.OK, "both are granted"),
        (_policy("lambda:InvokeFunctionUrl"), Outcome.FAILED, "missing: lambda:InvokeFunction"),
        (_policy("lambda:InvokeFunction", extra="SourceArn"), Outcome.NOT_SEEN, "another front door"),
    ],
)
async def test_a_url_needs_both_permissions(
    policy: dict[str, str], outcome: Outcome, message: str, aws: Aws, run_check: RunCheck
) -> None:
    aws.of("lambda").add_response("get_policy", policy, {"FunctionName": "chat", "Qualifier": "live"})
    row = await run_check(inside.url_permissions)
    assert (row.outcome, message in row.what) == (outcome, True)


def _alarm_with_history(aws: Aws, *summaries: str) -> None:
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
async def test_an_alarm_is_delivered_only_if_its_action_was_executed(
    summaries: list[str], outcome: Outcome, aws: Aws, run_check: RunCheck
) -> None:
    _alarm_with_history(aws, *summaries)
    assert (await run_check(inside.alarm_delivered)).outcome is outcome


async def test_without_alarm_actions_delivery_is_not_checked(aws: Aws, run_check: RunCheck) -> None:
    aws.of("cloudwatch").add_response("describe_alarms", {"MetricAlarms": [{"AlarmActions": []}]})
    assert (await run_check(inside.alarm_delivered)).outcome is Outcome.NOT_SEEN


def _report(request: str, **metrics: float) -> dict[str, Any]:
    return {"type": "platform.report", "record": {"requestId": request, "metrics": {"durationMs": 1, **metrics}}}


async def test_cold_starts_are_reported_by_kind(aws: Aws, run_check: RunCheck) -> None:
    aws.log()
    aws.log(_report("1", initDurationMs=900), _report("2", restoreDurationMs=300), _report("3"))
    row = await run_check(inside.log_starts)
    assert row.figures == {"init_p50_ms": 900, "restore_p50_ms": 300}
    assert row.what == "1 loaded, median 900 ms; 1 restored from a snapshot, median 300 ms"


async def test_an_invocation_that_logged_no_request_is_counted(aws: Aws, run_check: RunCheck) -> None:
    request = {"message": "request", "request_id": "1"}
    aws.log(request)  # Lambda's own line arrives later
    aws.log(request, _report("1"), _report("2"))
    row = await run_check(inside.log_invocations)
    assert row.figures == {"more": 1}


async def test_errors_are_counted_by_event_name(aws: Aws, run_check: RunCheck) -> None:
    failed = {"level": "ERROR", "message": "runtime.invocation_failed", "error_type": "KeyError"}
    aws.log(failed, failed, {"level": "INFO", "message": "request"})
    row = await run_check(inside.log_errors)
    assert (row.what, row.figures) == ("2 x runtime.invocation_failed KeyError", {"errors": 2})


@pytest.mark.parametrize(("table", "outcome"), [(KEY, Outcome.OK), (f"{KEY}2", Outcome.FAILED)])
async def test_table_and_bucket_must_use_the_same_key(
    table: str, outcome: Outcome, aws: Aws, run_check: RunCheck
) -> None:
    aws.of("dynamodb").add_response("describe_table", {"Table": {"SSEDescription": {"KMSMasterKeyArn": table}}})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    aws.of("s3").add_response("get_bucket_encryption", {"ServerSideEncryptionConfiguration": rules})
    assert (await run_check(inside.key)).outcome is outcome


async def test_a_longer_timeout_that_is_accepted_is_set_back(aws: Aws, run_check: RunCheck) -> None:
    functions = aws.of("lambda")
    functions.add_response("get_function_configuration", {"Timeout": 30})
    functions.add_response("update_function_configuration", {}, {"FunctionName": "chat", "Timeout": 1800})
    functions.add_response("get_function", {"Configuration": {"LastUpdateStatus": "Successful"}})
    functions.add_response("update_function_configuration", {}, {"FunctionName": "chat", "Timeout": 30})
    row = await run_check(inside.longest_timeout)
    assert row.figures == {"longest_s": 1800}
    functions.assert_no_pending_responses()


async def test_if_a_longer_timeout_is_refused_the_documented_one_is_reported(aws: Aws, run_check: RunCheck) -> None:
    functions = aws.of("lambda")
    functions.add_response("get_function_configuration", {"Timeout": 30})
    functions.add_client_error("update_function_configuration", "ValidationException")
    assert (await run_check(inside.longest_timeout)).figures == {"longest_s": 900}


async def test_the_resources_of_a_stage_are_found_through_its_stacks(aws: Aws) -> None:
    def stack(**parts: str) -> dict[str, Any]:
        common = {"LogicalResourceId": "any", "Timestamp": "2026-01-01", "ResourceStatus": "CREATE_COMPLETE"}
        resources = [
            {**common, "ResourceType": f"AWS::{kind.replace('_', '::')}", "PhysicalResourceId": name}
            for kind, name in parts.items()
        ]
        return {"StackResources": resources}

    cloudformation = aws.of("cloudformation")
    api = stack(Lambda_Function="chat", Logs_LogGroup="log")
    cloudformation.add_response("describe_stack_resources", api, {"StackName": "chatkit-proof-api"})
    data = stack(DynamoDB_GlobalTable="table", S3_Bucket="files")
    cloudformation.add_response("describe_stack_resources", data, {"StackName": "chatkit-proof-data"})
    parts = inside.find("proof", client=aws.client, since_ms=1)
    assert (parts.function, parts.log_group, parts.table, parts.bucket) == (
        "chat",
        "log",
        "table",
        "files",
    )
