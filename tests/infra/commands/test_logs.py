"""infra/commands/logs.py: prints the log lines of one request in order. AWS is stubbed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from infra.commands import logs
from infra.preflight.account import Account

REQUEST = "01234567-89ab-cdef-0123-456789abcdef"
GROUP = "chatkit-dev-api-ChatLogs"
NOW_S = 1_800_000_000.0
DAY_MS = 86_400_000
PATTERN = f'{{ ($.request_id = "{REQUEST}") || ($.record.requestId = "{REQUEST}") || ($.requestId = "{REQUEST}") }}'
TURN = {"level": "INFO", "message": "turn", "timestamp": "2027-01-15T08:00:01Z", "request_id": REQUEST, "tokens_in": 7}
REPORT = {
    "time": "2027-01-15T08:00:02Z",
    "type": "platform.report",
    "record": {"requestId": REQUEST, "metrics": {"durationMs": 812.3, "maxMemoryUsedMB": 190}, "status": "success"},
}
Run = Callable[..., int]


class Aws:
    """Stubbed CloudFormation and CloudWatch Logs. A call that the test did not prepare fails."""

    def __init__(self) -> None:
        credentials = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
        self.stubbers = {
            name: Stubber(boto3.client(name, region_name="eu-central-1", **credentials))  # type: ignore[call-overload]
            for name in ("cloudformation", "logs")
        }
        for stubber in self.stubbers.values():
            stubber.activate()

    def deployed(self) -> None:
        resource = {
            "LogicalResourceId": "ChatLogs",
            "PhysicalResourceId": GROUP,
            "ResourceType": "AWS::Logs::LogGroup",
            "Timestamp": "2026-01-01",
            "ResourceStatus": "CREATE_COMPLETE",
        }
        answer = {"StackResources": [resource]}
        self.stubbers["cloudformation"].add_response(
            "describe_stack_resources", answer, {"StackName": "chatkit-dev-api"}
        )

    def page(self, *lines: tuple[int, str], since_ms: int = DAY_MS, token: str | None = None, more: str = "") -> None:
        parameters: dict[str, Any] = {
            "logGroupName": GROUP,
            "filterPattern": PATTERN,
            "startTime": int(NOW_S * 1000) - since_ms,
            "endTime": int(NOW_S * 1000),
        }
        answer: dict[str, Any] = {"events": [{"timestamp": at, "message": line} for at, line in lines]}
        if token:
            parameters["nextToken"] = token
        if more:
            answer["nextToken"] = more
        self.stubbers["logs"].add_response("filter_log_events", answer, parameters)


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def run(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`make logs` for stage dev. Each run must make every AWS call that the test prepared."""
    context = {"stage": "dev", "stages": {"dev": {"auth": {"guest": {}}, "quotas": {"stage_tokens_per_day": 400_000}}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    account = Account("1", "eu-central-1", clients=lambda service, region: aws.stubbers[service].client)

    def command(*arguments: str, request: str = REQUEST) -> int:
        argv = ["--request", request, *arguments]
        code = logs.main(argv, account_of=lambda config: account, clock=lambda: NOW_S)
        for stubber in aws.stubbers.values():
            stubber.assert_no_pending_responses()
        return code

    return command


Captured = pytest.CaptureFixture[str]


def test_the_lines_of_all_pages_are_printed_in_order(aws: Aws, run: Run, capsys: Captured) -> None:
    aws.deployed()
    aws.page((2, json.dumps(REPORT)), more="next")
    aws.page((1, json.dumps(TURN) + "\n"), token="next")
    assert run() == 0
    turn, report = capsys.readouterr().out.splitlines()
    assert turn == f"2027-01-15T08:00:01Z  INFO  turn  request_id={REQUEST}  tokens_in=7"
    assert report == (
        f"2027-01-15T08:00:02Z  platform.report  requestId={REQUEST}  durationMs=812.3  maxMemoryUsedMB=190  "
        "status=success"
    )


def test_raw_prints_lines_as_they_were_logged(aws: Aws, run: Run, capsys: Captured) -> None:
    aws.deployed()
    aws.page((1, json.dumps(TURN)), (2, "no JSON"))
    assert run("--raw") == 0
    assert capsys.readouterr().out.splitlines() == [json.dumps(TURN), "no JSON"]


@pytest.mark.parametrize(("since", "ms"), [("30m", 1_800_000), ("6h", 21_600_000), ("7d", 7 * DAY_MS)])
def test_since_sets_the_time_range(aws: Aws, run: Run, since: str, ms: int) -> None:
    aws.deployed()
    aws.page((1, json.dumps(TURN)), since_ms=ms)
    assert run("--since", since) == 0


def test_when_there_are_no_lines_the_message_names_possible_reasons(aws: Aws, run: Run, capsys: Captured) -> None:
    aws.deployed()
    aws.page()
    assert run() == 1
    message = capsys.readouterr().err
    assert message.startswith(f"{GROUP} has no line of {REQUEST} since 2027-01-14 08:00 UTC. ")
    assert "the stage keeps 30 days" in message


@pytest.mark.parametrize("since", ["", "0d", "1y", "1.5h", "99999m", "1 h"])
def test_an_invalid_duration_is_refused_before_any_aws_call(run: Run, capsys: Captured, since: str) -> None:
    assert run("--since", since) == 1
    assert capsys.readouterr().err == f"SINCE={since} is not a duration such as 30m, 6h or 7d.\n"


@pytest.mark.parametrize("request_id", ["", "x", REQUEST.upper(), f'{REQUEST}" || $.user = "ada'])
def test_an_invalid_request_id_never_becomes_part_of_a_query(run: Run, capsys: Captured, request_id: str) -> None:
    assert run(request=request_id) == 1
    assert "is not a request id. Every response has one in its header x-request-id." in capsys.readouterr().err


def test_a_stage_that_is_not_deployed_is_named(aws: Aws, run: Run, capsys: Captured) -> None:
    aws.stubbers["cloudformation"].add_client_error("describe_stack_resources", "ValidationError")
    assert run() == 1
    assert (
        capsys.readouterr().err
        == "chatkit-dev-api does not exist in account 1, region eu-central-1: make deploy STAGE=dev.\n"
    )


def test_an_aws_error_is_printed(aws: Aws, run: Run, capsys: Captured) -> None:
    aws.deployed()
    aws.stubbers["logs"].add_client_error("filter_log_events", "AccessDeniedException", "not authorized")
    assert run() == 1
    assert "AccessDeniedException" in capsys.readouterr().err
