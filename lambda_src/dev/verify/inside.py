"""Rows that AWS's own APIs answer about a deployed stage: permissions, alarms, the log, the key. Need credentials.

Knows names of stacks and AWS's calls; sends no request to the deployment itself. `longest-timeout` changes the
function's newest version for a moment, never the one that serves, so it runs only for the stage that `make prove` made.
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
TRIES, EACH_S = 12, 10.0  # a line of the log and an alarm's action take up to a minute to show


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A deployed stage's parts by their names in AWS. `since_ms`: lines of the log before that are of other runs."""

    stage: str
    function: str
    log_group: str
    table: str
    bucket: str
    since_ms: int
    client: Callable[[str], Any]


def find(stage: str, *, client: Callable[[str], Any], since_ms: int) -> Inside:
    """The parts of a stage. ClientError: there is no such stage, or AWS may not be asked."""
    cloudformation = client("cloudformation")
    found = {
        (part, one["ResourceType"]): one["PhysicalResourceId"]
        for part in ("api", "data")
        for one in cloudformation.describe_stack_resources(StackName=f"chatkit-{stage}-{part}")["StackResources"]
        if one.get("PhysicalResourceId")
    }
    return Inside(
        stage=stage,
        function=found["api", "AWS::Lambda::Function"],
        log_group=found["api", "AWS::Logs::LogGroup"],
        table=found["data", "AWS::DynamoDB::GlobalTable"],
        bucket=found["data", "AWS::S3::Bucket"],
        since_ms=since_ms,
        client=client,
    )


def of(deployment: Deployment) -> Inside:
    """The stage's parts; a row is only run where they are known."""
    if deployment.inside is None:
        raise LookupError("needs AWS credentials and --inside STAGE")
    return deployment.inside


async def url_permissions(deployment: Deployment) -> Row:
    """The function's own policy lets a URL call it: AWS asks for two permissions."""
    name, inside = "URL permissions", of(deployment)
    try:
        answer = inside.client("lambda").get_policy(FunctionName=inside.function, Qualifier=ALIAS)
    except ClientError as error:
        return not_seen(name, f"the alias has no policy: {_code(error)}")
    statements = json.loads(answer["Policy"])["Statement"]
    by_url = [one for one in statements if "FunctionUrl" in json.dumps(one)]
    if not by_url:
        return not_seen(name, "nothing may call by a function URL: this stage has another front door")
    missing = [action for action in URL_PERMISSIONS if action not in {one["Action"] for one in by_url}]
    return judged(name, not missing, f"missing: {', '.join(missing)}" if missing else "both are given")


async def alarm_delivered(deployment: Deployment) -> Row:
    """An alarm that rings reaches its topic: AWS writes into the alarm's history whether the action succeeded."""
    name, inside = "alarm", of(deployment)
    cloudwatch, alarm = inside.client("cloudwatch"), f"chatkit-{inside.stage}-{RUNG}"
    found = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    if not found or not found[0]["AlarmActions"]:
        return not_seen(name, "the stage has no alarm that notifies anybody: EMAIL= names who gets mail")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="make prove. Nothing is wrong.")
    for _ in range(TRIES):
        history = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="Action")["AlarmHistoryItems"]
        if history:
            good = history[0]["HistorySummary"].startswith("Successfully")
            return judged(name, good, f"CloudWatch {'could' if good else 'could not'} publish to the stage's topic")
        await deployment.wait(EACH_S)
    return judged(name, False, f"no action in the alarm's history after {TRIES * EACH_S:g} s")


async def log_starts(deployment: Deployment) -> Row:
    """How long environments took to start, as Lambda itself reports."""
    inside = of(deployment)
    for _ in range(TRIES):
        reports = [line["record"] for line in _lines(inside) if line.get("type") == "platform.report"]
        metrics = [report.get("metrics", {}) for report in reports]
        inits = [one["initDurationMs"] for one in metrics if "initDurationMs" in one]
        restores = [one["restoreDurationMs"] for one in metrics if "restoreDurationMs" in one]
        if inits or restores:
            kinds = [("loaded", inits), ("restored from a snapshot", restores)]
            told = [f"{len(ms)} {how}, {statistics.median(ms):.0f} ms in the middle" for how, ms in kinds if ms]
            return seen(
                "starts in the log",
                "; ".join(told),
                init_p50_ms=round(statistics.median(inits)) if inits else None,
                restore_p50_ms=round(statistics.median(restores)) if restores else None,
            )
        await deployment.wait(EACH_S)
    return not_seen("starts in the log", "no report of a start came")


async def log_invocations(deployment: Deployment) -> Row:
    """Whether the front door invokes the function more often than there were requests."""
    inside, name = of(deployment), "invocations without a request"
    for _ in range(TRIES):
        lines = list(_lines(inside))
        reports = {line["record"]["requestId"] for line in lines if line.get("type") == "platform.report"}
        requests = {line["request_id"] for line in lines if line.get("message") == "request"}
        if reports and requests <= reports:
            more = len(reports - requests)
            return seen(name, f"{more} of {len(reports)} invocations carried no HTTP request", more=more)
        await deployment.wait(EACH_S)
    return not_seen(name, "the log did not become complete in time")


async def log_errors(deployment: Deployment) -> Row:
    """Lines of level ERROR that this verification caused, by the names of their events."""
    lines = [line for line in _lines(of(deployment)) if line.get("level") in ("ERROR", "CRITICAL")]
    counted = Counter(f"{line.get('message')} {line.get('error_type') or ''}".strip()[:80] for line in lines)
    told = ", ".join(f"{count} x {what}" for what, count in sorted(counted.items()))
    return seen("errors in the log", told or "none", errors=len(lines))


async def key(deployment: Deployment) -> Row:
    """Table and bucket are encrypted with the stage's own key, and the function read and wrote both."""
    name, inside = "own key", of(deployment)
    table = inside.client("dynamodb").describe_table(TableName=inside.table)["Table"].get("SSEDescription", {})
    try:
        rules = inside.client("s3").get_bucket_encryption(Bucket=inside.bucket)["ServerSideEncryptionConfiguration"]
    except ClientError as error:
        return not_seen(name, f"the bucket does not say how it is encrypted: {_code(error)}")
    bucket = rules["Rules"][0].get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
    if not bucket:
        return not_seen(name, "the stage uses AWS's keys")
    same = table.get("KMSMasterKeyArn", "").rpartition("/")[2] == bucket.rpartition("/")[2]
    return judged(name, same, f"table and bucket use {'the same key' if same else 'different keys'}")


async def longest_timeout(deployment: Deployment) -> Row:
    """The longest time-out that Lambda accepts."""
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
    """Lines of the stage's log, parsed; those that are no JSON are left out."""
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
