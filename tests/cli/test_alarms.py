"""`chat alarm-test`: triggers an alarm and names who gets the email, or says why no one does. AWS is moto."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.sns.models import sns_backends
from typer.testing import CliRunner, Result

from infra.monitoring.monitoring import OF_A_VERSION
from lambda_src.cli.alarms import PENDING, RUNG
from lambda_src.cli.commands import app

REGION, ACCOUNT = "us-east-1", "123456789012"
TEMPLATE = Path(__file__).parents[1] / "template.json"
AlarmTest = Callable[..., Result]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.fixture
def alarm_test(aws: None, tmp_path: Path) -> AlarmTest:
    """Runs `chat alarm-test` for stage dev."""

    def run(**stage: Any) -> Result:
        context = {"stage": "dev", "stages": {"dev": {"auth": {"guest": {}}, **stage}}}
        (tmp_path / "cdk.json").write_text(json.dumps({"context": context}))
        return CliRunner().invoke(app, ["alarm-test", "--cdk-json", str(tmp_path / "cdk.json")])

    return run


def _alarm(*actions: str) -> None:
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=f"chatkit-dev-{RUNG}",
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        EvaluationPeriods=1,
        MetricName="Throttles",
        Namespace="AWS/Lambda",
        Period=300,
        Statistic="Sum",
        Threshold=1,
        AlarmActions=list(actions),
    )


def _topic(email: str | None = None, *, confirmed: bool = True) -> str:
    sns = boto3.client("sns")
    arn: str = sns.create_topic(Name="alarms")["TopicArn"]
    if email is not None:
        subscription = sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=email)["SubscriptionArn"]
        if not confirmed:  # moto confirms every subscription at once
            sns_backends[ACCOUNT][REGION].subscriptions[subscription].arn = PENDING
    return arn


def _state() -> str:
    [alarm] = boto3.client("cloudwatch").describe_alarms(AlarmNames=[f"chatkit-dev-{RUNG}"])["MetricAlarms"]
    return str(alarm["StateValue"])


def test_an_alarm_is_triggered_and_its_recipient_is_named(alarm_test: AlarmTest) -> None:
    _alarm(_topic("ops@example.org"))
    result = alarm_test()
    assert (result.exit_code, _state()) == (0, "ALARM")
    assert "Triggered chatkit-dev-throttles. Its mail to ops@example.org should arrive within minutes." in result.stderr


def test_an_unconfirmed_subscription_is_reported_and_no_alarm_is_triggered(alarm_test: AlarmTest) -> None:
    _alarm(_topic("ops@example.org", confirmed=False))
    before = _state()
    result = alarm_test()
    assert (result.exit_code, _state()) == (1, before)
    assert "ops@example.org has not confirmed the subscription" in result.stderr


def test_a_topic_without_subscribers_is_reported(alarm_test: AlarmTest) -> None:
    _alarm(_topic())
    result = alarm_test()
    assert result.exit_code == 1
    assert "Nobody would get the mail" in result.stderr


def test_for_an_alarm_without_an_action_the_message_names_the_option_to_set(alarm_test: AlarmTest) -> None:
    _alarm()
    result = alarm_test()
    assert result.exit_code == 1
    assert "set alarm_email of stage dev in cdk.json" in result.stderr


def test_a_stage_without_alarms_must_be_deployed_first(alarm_test: AlarmTest) -> None:
    result = alarm_test()
    assert result.exit_code == 1
    assert "There is no alarm chatkit-dev-throttles: deploy stage dev" in result.stderr


def test_credentials_of_another_account_trigger_no_alarm(alarm_test: AlarmTest) -> None:
    _alarm(_topic("ops@example.org"))
    assert "stage dev is of 999999999999" in alarm_test(account="999999999999").stderr
    assert _state() != "ALARM"


def test_the_triggered_alarm_exists_in_every_stage_and_rolls_no_deployment_back() -> None:
    resources = json.loads(TEMPLATE.read_text(encoding="utf-8"))["Resources"].values()
    names = [r["Properties"]["AlarmName"] for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    assert f"chatkit-reference-{RUNG}" in names
    assert RUNG not in OF_A_VERSION
