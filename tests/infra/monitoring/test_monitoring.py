"""infra/monitoring/monitoring.py: none, basic within what is free, full with a dashboard, a health check and a
budget."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from tests.infra.conftest import VARIANTS, StackOf

ALARM = "AWS::CloudWatch::Alarm"
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
FREE_ALARMS = 10  # an account's, for nothing


def _alarms(stack: Template) -> set[str]:
    names = (alarm["Properties"]["AlarmName"] for alarm in stack.find_resources(ALARM).values())
    return {name.split("-", 2)[2] for name in names}


def _metrics_read(stack: Template) -> int:
    """What AWS bills: the metrics that alarms read, not the alarms."""
    alarms = (alarm["Properties"] for alarm in stack.find_resources(ALARM).values())
    return sum(max(1, sum("MetricStat" in m for m in alarm.get("Metrics", []))) for alarm in alarms)


def test_basic_is_what_is_shipped_and_leaves_room_for_a_second_stage_within_what_is_free(
    api: Template, api_of: StackOf
) -> None:
    assert _alarms(api) == {"errors", "throttles", "near-timeout", "server-errors", "compute"}
    assert _alarms(api_of("guests")) == {"errors", "throttles", "near-timeout", "server-errors", "spend"}
    for stack in (api, api_of("guests")):
        assert 2 * _metrics_read(stack) <= FREE_ALARMS


def test_spend_rings_at_half_of_the_stages_ceiling_within_a_day(api_of: StackOf) -> None:
    alarms = [alarm["Properties"] for alarm in api_of("guests").find_resources(ALARM).values()]
    [spend] = [alarm for alarm in alarms if alarm["AlarmName"] == "chatkit-guests-spend"]
    assert spend["Threshold"] == 0.5 * 400_000
    assert (spend["Namespace"], spend["MetricName"]) == ("chatkit-lambda", "Tokens")
    assert (spend["Period"], spend["Statistic"]) == (86_400, "Sum")


def test_what_is_shipped_does_no_math_over_metrics_which_a_local_aws_would_refuse(
    api: Template, api_of: StackOf
) -> None:
    for stack in (api, api_of("guests")):
        assert not [alarm for alarm in stack.find_resources(ALARM).values() if "Metrics" in alarm["Properties"]]


def test_none_is_none(api_of: StackOf) -> None:
    assert _alarms(api_of("snapstart")) == set()


def test_full_has_seventeen_alarms_and_each_has_its_place_in_the_runbook(api_of: StackOf) -> None:
    alarms = _alarms(api_of("full"))
    assert len(alarms) == 17
    headings = set(re.findall(r"^\| `([a-z-]+)` \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE))
    assert alarms <= headings


def test_an_alarm_says_what_to_do(api_of: StackOf) -> None:
    for alarm in api_of("full").find_resources(ALARM).values():
        assert ": " in alarm["Properties"]["AlarmDescription"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_alarm_reaches_the_mailbox_that_the_stage_names(variant: str, api_of: StackOf) -> None:
    """Alarm -> action -> topic -> its policy -> subscription, and the same for a budget."""
    stack, email = api_of(variant), VARIANTS[variant].get("alarm_email")
    publishers = {"cloudwatch": [alarm["Properties"] for alarm in stack.find_resources(ALARM).values()]}
    targets = [
        (service, action, target["Ref"])
        for service, alarms in publishers.items()
        for alarm in alarms
        for action in ("AlarmActions", "OKActions")
        for target in alarm.get(action, [])
    ]
    for budget in stack.find_resources("AWS::Budgets::Budget").values():
        for notification in budget["Properties"]["NotificationsWithSubscribers"]:
            [subscriber] = notification["Subscribers"]
            assert subscriber["SubscriptionType"] == "SNS"
            targets.append(("budgets", "budget", subscriber["Address"]["Ref"]))
    if email is None:
        assert targets == []
        stack.resource_count_is("AWS::SNS::Topic", 0)
        return
    assert len([action for _, action, _ in targets if action == "AlarmActions"]) == len(publishers["cloudwatch"]) > 0
    for service, _, topic in targets:
        assert _may_publish(stack, topic, service), (service, topic)
        assert [one["Endpoint"] for one in _subscriptions(stack, topic)] == [email]


def _subscriptions(stack: Template, topic: str) -> list[dict[str, Any]]:
    found = [one["Properties"] for one in stack.find_resources("AWS::SNS::Subscription").values()]
    return [one for one in found if one["TopicArn"] == {"Ref": topic} and one["Protocol"] == "email"]


def _may_publish(stack: Template, topic: str, service: str) -> bool:
    """Whether the topic's policy lets the service publish, for this account's own alarms or budgets only."""
    policies = [one["Properties"] for one in stack.find_resources("AWS::SNS::TopicPolicy").values()]
    [policy] = [one for one in policies if {"Ref": topic} in one["Topics"]]
    [allowed] = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
    ]
    assert (allowed["Action"], allowed["Resource"]) == ("sns:Publish", {"Ref": topic})
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    source = json.dumps(allowed["Condition"]["ArnLike"]["aws:SourceArn"])
    return f":{service}:" in source and "AWS::AccountId" in source


def test_a_topics_policy_lets_nobody_else_publish_and_nobody_without_tls(api_of: StackOf) -> None:
    [policy] = api_of("full").find_resources("AWS::SNS::TopicPolicy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    allowed = [statement["Principal"] for statement in statements if statement["Effect"] == "Allow"]
    assert allowed == [{"Service": "cloudwatch.amazonaws.com"}, {"Service": "budgets.amazonaws.com"}]
    assert [s["Condition"] for s in statements if s["Effect"] == "Deny"] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_silence_is_an_alarm_only_where_there_should_be_a_sign_of_life(api_of: StackOf) -> None:
    alarms = api_of("full").find_resources(ALARM).values()
    breaching = [a["Properties"]["AlarmName"] for a in alarms if a["Properties"]["TreatMissingData"] == "breaching"]
    assert breaching == ["chatkit-full-health"]


def test_the_health_check_comes_every_five_minutes(api_of: StackOf) -> None:
    api_of("full").has_resource_properties(
        "AWS::Events::Rule",
        {"ScheduleExpression": "rate(5 minutes)", "Targets": [Match.object_like({"Input": '{"chat":"health"}'})]},
    )


def test_the_dashboard_is_there_with_its_address_in_full_only(api_of: StackOf, api: Template) -> None:
    api_of("full").has_output("Dashboard", {"Value": Match.any_value()})
    api_of("full").resource_count_is("AWS::CloudWatch::Dashboard", 1)
    api.resource_count_is("AWS::CloudWatch::Dashboard", 0)


def test_a_budget_warns_before_the_month_is_over(api_of: StackOf, api: Template) -> None:
    budget = {"BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": 100, "Unit": "USD"}}
    api_of("full").has_resource_properties("AWS::Budgets::Budget", {"Budget": Match.object_like(budget)})
    api.resource_count_is("AWS::Budgets::Budget", 0)


def test_metrics_of_the_log_are_read_from_lambdas_own_reports_and_from_failed_runs(api_of: StackOf) -> None:
    filters = [one["Properties"] for one in api_of("full").find_resources("AWS::Logs::MetricFilter").values()]
    patterns = {one["MetricTransformations"][0]["MetricName"]: one["FilterPattern"] for one in filters}
    assert patterns == {
        "MemoryUsedMb-full": '{ $.type = "platform.report" }',
        "ModelErrors-full": '{ $.message = "run_failed" }',
    }


# By what AWS tells each metric: an alarm on any other dimensions sees nothing, and never rings.
DIMENSIONS = {
    "AWS/ApiGateway": {"ApiName"},
    "AWS/DynamoDB": {"TableName"},
    "AWS/Events": {"RuleName"},
    "AWS/Lambda": {"FunctionName", "Resource"},
    "AWS/Logs": {"LogGroupName"},
}
OF_A_TABLE = {"WriteThrottleEvents", "ReadThrottleEvents"}  # ThrottledRequests is told by table and operation only


def _metrics(stack: Template) -> dict[str, dict[str, Any]]:
    """What each alarm looks at; of an expression, its first metric."""
    found = {}
    for alarm in stack.find_resources(ALARM).values():
        told = alarm["Properties"]
        seen = next((m["MetricStat"]["Metric"] for m in told.get("Metrics", []) if "MetricStat" in m), told)
        found[told["AlarmName"].split("-", 2)[2]] = seen
    return found


@pytest.mark.parametrize("variant", ["full", "apigw", "cloudfront"])
def test_alarms_look_at_metrics_in_the_dimensions_in_which_aws_tells_them(variant: str, api_of: StackOf) -> None:
    for name, metric in _metrics(api_of(variant)).items():
        if metric["Namespace"] in DIMENSIONS:
            assert {one["Name"] for one in metric["Dimensions"]} == DIMENSIONS[metric["Namespace"]], name
        assert metric["Namespace"] != "AWS/DynamoDB" or metric["MetricName"] in OF_A_TABLE


def test_refusals_are_counted_at_the_door_that_the_stage_has(api_of: StackOf) -> None:
    def counted(variant: str) -> tuple[str, str]:
        metric = _metrics(api_of(variant))["refusals"]
        return metric["Namespace"], metric["MetricName"]

    assert counted("full") == ("AWS/Lambda", "Url4xxCount")
    assert counted("apigw") == ("AWS/ApiGateway", "4XXError")


@pytest.mark.parametrize("variant", ["full", "apigw", "cloudfront"])
def test_server_errors_are_those_that_the_function_counts_since_anybody_can_cause_others(
    variant: str, api_of: StackOf
) -> None:
    """A token with a made-up key gets a 503: it may be a new key. AWS's own metrics count that one too."""
    metric = _metrics(api_of(variant))["server-errors"]
    assert (metric["Namespace"], metric["MetricName"]) == ("chatkit-lambda", "ServerErrors")


@pytest.mark.parametrize(("variant", "counted"), [("full", "Url5xxCount"), ("apigw", "5XXError")])
def test_the_dashboard_shows_every_5xx_that_the_door_answers(variant: str, counted: str, api_of: StackOf) -> None:
    [board] = api_of(variant).find_resources("AWS::CloudWatch::Dashboard").values()
    assert counted in json.dumps(board)


def test_nearly_all_streams_are_those_of_the_reservation_or_of_the_account(api_of: StackOf) -> None:
    def threshold(variant: str) -> float:
        alarms = [alarm["Properties"] for alarm in api_of(variant).find_resources(ALARM).values()]
        [found] = [one["Threshold"] for one in alarms if one["AlarmName"].endswith("-concurrency")]
        return float(found)

    assert threshold("full") == 0.8 * 20
    assert threshold("apigw") == 0.8 * 1000
