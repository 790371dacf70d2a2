"""Checks of a deployed stage through AWS's APIs: permissions, alarms, logs, encryption. They need credentials.

No request is sent to the deployment itself. `longest-timeout` briefly changes the function's $LATEST version, never the
one that serves, so it runs only for the stage that `make prove` creates.
"""

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.cli.alarms import RUNG
from lambda_src.dev.verify.deployment import Deployment
from lambda_src.dev.verify.row import Row, judged, not_seen, seen

ALIAS = "live"
URL_PERMISSIONS = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")  # since October 2025 a function URL needs both
LONGER_THAN_DOCUMENTED_S = 1800  # in Lambda's API model since botocore 1.44.8; its pages say 900
DOCUMENTED_S = 900
TRIES, EACH_S = 12, 10.0  # log lines and alarm actions take up to a minute to appear


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The AWS resource names of a stage. `since_ms`: log lines before that time belong to other runs."""

    stage: str
    function: str
    log_group: str
    table: str
    bucket: str
    since_ms: int
    client: Callable[[str], Any]


def find(stage: str, *, client: Callable[[str], Any], since_ms: int) -> Inside:
    """The resources of a stage. ClientError if there is no such stage, or the credentials do not allow this."""
    cloudformation = client("cloudformation")
    ids = {
        (part, resource["ResourceType"]): resource["PhysicalResourceId"]
        for part in ("api", "data")
        for resource in cloudformation.describe_stack_resources(StackName=f"chatkit-{stage}-{part}")["StackResources"]
        if resource.get("PhysicalResourceId")
    }
    return Inside(
        stage=stage,
        function=ids["api", "AWS::Lambda::Function"],
        log_group=ids["api", "AWS::Logs::LogGroup"],
        table=ids["data", "AWS::DynamoDB::GlobalTable"],
        bucket=ids["data", "AWS::S3::Bucket"],
        since_ms=since_ms,
        client=client,
    )


def of(deployment: Deployment) -> Inside:
    """The stage's resources. LookupError if the run was not given any."""
    if deployment.inside is None:
        raise LookupError("needs AWS credentials and --inside STAGE")
    return deployment.inside


async def url_permissions(deployment: Deployment) -> Row:
    """The function's policy allows calls through the function URL, which take two permissions."""
    name, inside = "URL permissions", of(deployment)
    try:
        answer = inside.client("lambda").get_policy(FunctionName=inside.function, Qualifier=ALIAS)
    except ClientError as error:
        return not_seen(name, f"the alias has no policy: {_code(error)}")
    statements = json.loads(answer["Policy"])["Statement"]
    by_url = [statement for statement in statements if "FunctionUrl" in json.dumps(statement)]
    if not by_url:
        return not_seen(name, "no function URL may call it: this stage has another front door")
    missing = [action for action in URL_PERMISSIONS if action not in {statement["Action"] for statement in by_url}]
    return judged(name, not missing, f"missing: {', '.join(missing)}" if missing else "both are granted")


async def alarm_delivered(deployment: Deployment) -> Row:
    """An alarm can notify its topic: the alarm's history records whether the action succeeded."""
    name, inside = "alarm", of(deployment)
    cloudwatch, alarm = inside.client("cloudwatch"), f"chatkit-{inside.stage}-{RUNG}"
    alarms = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    if not alarms or not alarms[0]["AlarmActions"]:
        return not_seen(name, "the stage has no alarm with a subscriber: set EMAIL= to an address")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="make prove. Nothing is wrong.")
    for _ in range(TRIES):
        history = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="Action")["AlarmHistoryItems"]
        if history:
            good = history[0]["HistorySummary"].startswith("Successfully")
            return judged(name, good, f"CloudWatch {'could' if good else 'could not'} publish to the stage's topic")
        await deployment.wait(EACH_S)
    return judged(name, False, f"no action in the alarm's history after {TRIES * EACH_S:g} s")


async def log_starts(deployment: Deployment) -> Row:
    """How long environments took to start, from Lambda's reports in the log."""
    inside = of(deployment)
    for _ in range(TRIES):
        reports = [line["record"] for line in _lines(inside) if line.get("type") == "platform.report"]
        metrics = [report.get("metrics", {}) for report in reports]
        inits = [entry["initDurationMs"] for entry in metrics if "initDurationMs" in entry]
        restores = [entry["restoreDurationMs"] for entry in metrics if "restoreDurationMs" in entry]
        if inits or restores:
            kinds = [("loaded", inits), ("restored from a snapshot", restores)]
            starts = [f"{len(ms)} {how}, median {statistics.median(ms):.0f} ms" for how, ms in kinds if ms]
            return seen(
                "starts in the log",
                "; ".join(starts),
                init_p50_ms=round(statistics.median(inits)) if inits else None,
                restore_p50_ms=round(statistics.median(restores)) if restores else None,
            )
        await deployment.wait(EACH_S)
    return not_seen("starts in the log", "no report of a start appeared")


async def log_invocations(deployment: Deployment) -> Row:
    """Whether the front door invokes the function more often than there were requests."""
    inside, name = of(deployment), "invocations without a request"
    for _ in range(TRIES):
        lines = list(_lines(inside))
        reports = {line["record"]["requestId"] for line in lines if line.get("type") == "platform.report"}
        requests = {line["request_id"] for line in lines if line.get("message") == "request"}
        if reports and requests <= reports:
            more = len(reports - requests)
            return seen(name, f"{more} of {len(reports)} invocations had no HTTP request", more=more)
        await deployment.wait(EACH_S)
    return not_seen(name, "the log was not complete in time")


async def log_errors(deployment: Deployment) -> Row:
    """ERROR lines that this run caused, counted by event name."""
    lines = [line for line in _lines(of(deployment)) if line.get("level") in ("ERROR", "CRITICAL")]
    counted = Counter(f"{line.get('message')} {line.get('error_type') or ''}".strip()[:80] for line in lines)
    summary = ", ".join(f"{count} x {what}" for what, count in sorted(counted.items()))
    return seen("errors in the log", summary or "none", errors=len(lines))


async def key(deployment: Deployment) -> Row:
    """Table and bucket are encrypted with the stage's own KMS key."""
    name, inside = "own key", of(deployment)
    table = inside.client("dynamodb").describe_table(TableName=inside.table)["Table"].get("SSEDescription", {})
    try:
        rules = inside.client("s3").get_bucket_encryption(Bucket=inside.bucket)["ServerSideEncryptionConfiguration"]
    except ClientError as error:
        return not_seen(name, f"the bucket's encryption cannot be read: {_code(error)}")
    bucket = rules["Rules"][0].get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
    if not bucket:
        return not_seen(name, "the stage uses AWS-owned keys")
    same = table.get("KMSMasterKeyArn", "").rpartition("/")[2] == bucket.rpartition("/")[2]
    return judged(name, same, f"table and bucket use {'the same key' if same else 'different keys'}")


async def longest_timeout(deployment: Deployment) -> Row:
    """The longest timeout that Lambda accepts."""
    inside, name = of(deployment), "longest time-out"
    functions = inside.client("lambda")
    before = functions.get_function_configuration(FunctionName=inside.function)["Timeout"]
    try:
        functions.update_function_configuration(FunctionName=inside.function, Timeout=LONGER_THAN_DOCUMENTED_S)
    except ClientError as error:
        refused = f"{LONGER_THAN_DOCUMENTED_S} s is refused ({_code(error)}): {DOCUMENTED_S} s is the longest"
        return seen(name, refused, longest_s=DOCUMENTED_S)
    try:
        return seen(name, f"{LONGER_THAN_DOCUMENTED_S} s is accepted", longest_s=LONGER_THAN_DOCUMENTED_S)
    finally:
        await asyncio.to_thread(functions.get_waiter("function_updated_v2").wait, FunctionName=inside.function)
        functions.update_function_configuration(FunctionName=inside.function, Timeout=before)


def _lines(inside: Inside) -> Iterator[dict[str, Any]]:
    """The lines of the stage's log that are JSON objects."""
    pages = inside.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=inside.log_group, startTime=inside.since_ms):
        for event in page["events"]:
            try:
                line = json.loads(event["message"])
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


ROWS = (url_permissions, alarm_delivered, key, log_starts, log_invocations, log_errors)
ON_THE_PROOF_ONLY = (longest_timeout,)
