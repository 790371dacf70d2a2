"""`make logs STAGE= REQUEST=`: print what the log of a stage has about one request, by its x-request-id.

The turn's own lines and Lambda's report of the invocation, in order. Read-only. Imports the AWS SDK, which takes a
third of a second, only after the arguments and cdk.json have been checked.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import PreflightError, reports_errors
from infra.stacks.names import api_stack_name
from infra.stage.config import StageConfig, read_context

if TYPE_CHECKING:
    from infra.preflight.account import Account

REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SINCE = re.compile(r"([1-9][0-9]{0,3})([mhd])")
UNIT_S = {"m": 60, "h": 3600, "d": 86_400}
DEFAULT_SINCE = "1d"
FIRST = ("timestamp", "time", "level", "message", "type")  # what a line begins with; the rest follows as name=value


def log_group(stage: str, account: "Account") -> str:
    """The name of the stage's log group. PreflightError if the stage is not deployed."""
    from botocore.exceptions import ClientError

    stack = api_stack_name(stage)
    try:
        cloudformation = account.clients("cloudformation", account.region)
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ValidationError":  # the stack does not exist
            raise
        raise PreflightError([f"{stack} does not exist in {account}: make deploy STAGE={stage}."]) from None
    [name] = [
        resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == "AWS::Logs::LogGroup"
    ]
    return str(name)


def lines(group: str, request: str, account: "Account", *, since_ms: int, until_ms: int) -> Iterator[str]:
    """The lines of one request, oldest first."""
    pattern = f'{{ ($.request_id = "{request}") || ($.record.requestId = "{request}") || ($.requestId = "{request}") }}'
    pages = account.clients("logs", account.region).get_paginator("filter_log_events")
    query = {"logGroupName": group, "filterPattern": pattern, "startTime": since_ms, "endTime": until_ms}
    events = [event for page in pages.paginate(**query) for event in page["events"]]
    yield from (event["message"].rstrip("\n") for event in sorted(events, key=lambda event: event["timestamp"]))


def shown(line: str) -> str:
    """A JSON line in readable form: time, level, message, then the other fields. Any other line is unchanged."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    fields = _flat(fields.pop("record", {})) | fields
    begin = [str(fields.pop(name)) for name in FIRST if name in fields]
    return "  ".join([*begin, *(f"{name}={value}" for name, value in fields.items())])


def _flat(record: object) -> dict[str, Any]:
    """The fields of a line of Lambda's own, which nests them one or two levels deep."""
    if not isinstance(record, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {str(name): value}
    return flat


@reports_errors
def main(
    arguments: list[str],
    *,
    account_of: Callable[[StageConfig], "Account"] | None = None,
    clock: Callable[[], float] = time.time,
) -> int:
    """Print the lines of one request. Returns the exit code: 1 if there are none. `account_of` signs in to AWS."""
    parser = argparse.ArgumentParser(prog="make logs", description="Print what the log has about one request.")
    parser.add_argument("--stage", help="a stage in cdk.json; default: the one that its context names")
    parser.add_argument("--request", required=True, help="the x-request-id of the answer")
    parser.add_argument("--since", default=DEFAULT_SINCE, help=f"how far back: 30m, 6h, 7d ({DEFAULT_SINCE})")
    parser.add_argument("--raw", action="store_true", help="each line exactly as it was logged")
    options = parser.parse_args(arguments)
    since_s = _since(options.since)
    if not REQUEST_ID.fullmatch(options.request):
        raise PreflightError(
            [f"{options.request!r} is not a request id. Every response has one in its header x-request-id."]
        )
    config = StageConfig.from_context(
        read_context(Path("cdk.json")) | ({"stage": options.stage} if options.stage else {})
    )
    from botocore.exceptions import BotoCoreError, ClientError

    from infra.preflight.account import sign_in

    try:
        account = (account_of or sign_in)(config)
        now_s = clock()
        group = log_group(config.stage, account)
        span = {"since_ms": round((now_s - since_s) * 1000), "until_ms": round(now_s * 1000)}
        written = list(lines(group, options.request, account, **span))
    except (ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in written:
        print(line if options.raw else shown(line))
    if not written:
        start = datetime.fromtimestamp(now_s - since_s, UTC)
        print(
            f"{group} has no line of {options.request} since {start:%Y-%m-%d %H:%M} UTC. Lines come up to a minute "
            f"late; SINCE=7d looks further back; the stage keeps {config.log_retention_days} days.",
            file=sys.stderr,
        )
    return 0 if written else 1


def _since(text: str) -> int:
    """`text`, such as 30m, in seconds."""
    if (match := SINCE.fullmatch(text)) is None:
        raise PreflightError([f"SINCE={text} is not a duration such as 30m, 6h or 7d."])
    return int(match[1]) * UNIT_S[match[2]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
