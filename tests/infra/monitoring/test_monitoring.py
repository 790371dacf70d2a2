"""infra/monitoring/monitoring.py: alarms, dashboard, health check and budget at the levels none, basic and full."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from tests.infra.conftest import VARIANTS, StackOf

ALARM = "AWS::CloudWatch::Alarm"
ALARMS_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "alarms.md"
FREE_ALARMS = 10  # per account, in the free tier


def _alarms(stack: Template) -> set[str]:
    names = (alarm["Properties"]["AlarmName"] for alarm in stack.find_resources(ALARM).values())
    return {name.split("-", 2)[2] for name in names}


def _metrics_read(stack: Template) -> int:
    """The number of metrics that the alarms read, which is what AWS bills, rather than the number of alarms."""
    alarms = (alarm["Properties"] for alarm in stack.find_resources(ALARM).values())
    return sum(max(1, sum("MetricStat" in m for m in alarm.get("Metrics", []))) for alarm in alarms)


def test_basic_is_the_default_and_two_stages_fit_into_the_free_tier(api: Template, api_of: StackOf) -> None:
    assert _alarms(api) == {"errors", "throttles", "near-timeout", "server-errors", "compute"}
    assert _alarms(api_of("guests")) == {"errors", "throttles", "near-timeout", "server-errors", "spend"}
    for stack in (api, api_of("guests")):
        assert 2 * _metrics_read(stack) <= FREE_ALARMS


def test_the_spend_alarm_fires_at_half_of_the_stages_daily_tokens(api_of: StackOf) -> None:
    alarms = [alarm["Properties"] for alarm in api_of("guests").find_resources(ALARM).values()]
    [spend] = [alarm for alarm in alarms if alarm["AlarmName"] == "chatkit-guests-spend"]
    assert spend["Threshold"] == 0.5 * 400_000
    assert (spend["Namespace"], spend["MetricName"]) == ("chatkit-lambda", "Tokens")
    assert (spend["Period"], spend["Statistic"]) == (86_400, "Sum")


def test_the_default_alarms_use_no_metric_math_which_a_local_aws_would_refuse(api: Template, api_of: StackOf) -> None:
    for stack in (api, api_of("guests")):
        assert not [alarm for alarm in stack.find_resources(ALARM).values() if "Metrics" in alarm["Properties"]]


def test_monitoring_none_has_no_alarms(api_of: StackOf) -> None:
    assert _alarms(api_of("snapstart")) == set()


def test_full_has_seventeen_alarms_one_for_operators_and_each_is_in_the_docs(api_of: StackOf) -> None:
    alarms = _alarms(api_of("full"))
    assert len(alarms) == 18
    assert "handoffs" in alarms
    documented = set(
        re.findall(r"^\| `([a-z-]+)`(?:, with [^|]*)? \|", ALARMS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert alarms == documented


def test_every_alarm_description_says_what_to_do(api_of: StackOf) -> None:
    for alarm in api_of("full").find_resources(ALARM).values():
        assert ": " in alarm["Properties"]["AlarmDescription"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_alarm_reaches_the_email_address_of_the_stage(variant: str, api_of: StackOf) -> None:
    """Follows alarm -> action -> topic -> topic policy -> subscription, and the same for a budget."""
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
        assert [subscription["Endpoint"] for subscription in _subscriptions(stack, topic)] == [email]


def _subscriptions(stack: Template, topic: str) -> list[dict[str, Any]]:
    subscriptions = [resource["Properties"] for resource in stack.find_resources("AWS::SNS::Subscription").values()]
    return [s for s in subscriptions if s["TopicArn"] == {"Ref": topic} and s["Protocol"] == "email"]


def _may_publish(stack: Template, topic: str, service: str) -> bool:
    """Whether the topic's policy lets the service publish, for this account's own alarms or budgets only."""
    policies = [resource["Properties"] for resource in stack.find_resources("AWS::SNS::TopicPolicy").values()]
    [policy] = [policy for policy in policies if {"Ref": topic} in policy["Topics"]]
    [allowed] = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
    ]
    assert (allowed["Action"], allowed["Resource"]) == ("sns:Publish", {"Ref": topic})
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    source = json.dumps(allowed["Condition"]["ArnLike"]["aws:SourceArn"])
    return f":{service}:" in source and "AWS::AccountId" in source


def test_only_cloudwatch_and_budgets_may_publish_to_a_topic_and_only_over_tls(api_of: StackOf) -> None:
    policies = api_of("full").find_resources("AWS::SNS::TopicPolicy")
    [statements] = [
        policy["Properties"]["PolicyDocument"]["Statement"]
        for name, policy in policies.items()
        if name.startswith("Monitoring")
    ]
    allowed = [statement["Principal"] for statement in statements if statement["Effect"] == "Allow"]
    assert allowed == [{"Service": "cloudwatch.amazonaws.com"}, {"Service": "budgets.amazonaws.com"}]
    assert [s["Condition"] for s in statements if s["Effect"] == "Deny"] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_missing_data_is_an_alarm_only_for_the_health_check(api_of: StackOf) -> None:
    alarms = api_of("full").find_resources(ALARM).values()
    breaching = [a["Properties"]["AlarmName"] for a in alarms if a["Properties"]["TreatMissingData"] == "breaching"]
    assert breaching == ["chatkit-full-health"]


def test_the_health_check_runs_every_five_minutes(api_of: StackOf) -> None:
    api_of("full").has_resource_properties(
        "AWS::Events::Rule",
        {"ScheduleExpression": "rate(5 minutes)", "Targets": [Match.object_like({"Input": '{"chat":"health"}'})]},
    )


def test_only_full_monitoring_has_a_dashboard_and_outputs_its_url(api_of: StackOf, api: Template) -> None:
    api_of("full").has_output("Dashboard", {"Value": Match.any_value()})
    api_of("full").resource_count_is("AWS::CloudWatch::Dashboard", 1)
    api.resource_count_is("AWS::CloudWatch::Dashboard", 0)


def test_a_stage_may_have_a_monthly_budget(api_of: StackOf, api: Template) -> None:
    budget = {"BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": 100, "Unit": "USD"}}
    api_of("full").has_resource_properties("AWS::Budgets::Budget", {"Budget": Match.object_like(budget)})
    api.resource_count_is("AWS::Budgets::Budget", 0)


def test_metric_filters_read_lambdas_reports_and_failed_runs(api_of: StackOf) -> None:
    filters = [resource["Properties"] for resource in api_of("full").find_resources("AWS::Logs::MetricFilter").values()]
    patterns = {f["MetricTransformations"][0]["MetricName"]: f["FilterPattern"] for f in filters}
    assert patterns == {
        "MemoryUsedMb-full": '{ $.type = "platform.report" }',
        "ModelErrors-full": '{ $.message = "run_failed" }',
    }


# The dimensions of AWS's own metrics: an alarm on any others would never have data, and never fire.
DIMENSIONS = {
    "AWS/ApiGateway": {"ApiName"},
    "AWS/DynamoDB": {"TableName"},
    "AWS/Events": {"RuleName"},
    "AWS/Lambda": {"FunctionName", "Resource"},
    "AWS/Logs": {"LogGroupName"},
}
TABLE_METRICS = {"WriteThrottleEvents", "ReadThrottleEvents"}  # ThrottledRequests exists per table and operation only


def _metrics(stack: Template) -> dict[str, dict[str, Any]]:
    """The metric that each alarm watches; for an expression, its first metric."""
    metrics = {}
    for alarm in stack.find_resources(ALARM).values():
        properties = alarm["Properties"]
        metric = next(
            (m["MetricStat"]["Metric"] for m in properties.get("Metrics", []) if "MetricStat" in m), properties
        )
        metrics[properties["AlarmName"].split("-", 2)[2]] = metric
    return metrics


@pytest.mark.parametrize("variant", ["full", "apigw", "cloudfront"])
def test_alarms_use_the_dimensions_under_which_aws_publishes_each_metric(variant: str, api_of: StackOf) -> None:
    for name, metric in _metrics(api_of(variant)).items():
        if metric["Namespace"] in DIMENSIONS:
            assert {dimension["Name"] for dimension in metric["Dimensions"]} == DIMENSIONS[metric["Namespace"]], name
        assert metric["Namespace"] != "AWS/DynamoDB" or metric["MetricName"] in TABLE_METRICS


def test_refused_requests_are_counted_at_the_front_door_of_the_stage(api_of: StackOf) -> None:
    def counted(variant: str) -> tuple[str, str]:
        metric = _metrics(api_of(variant))["refusals"]
        return metric["Namespace"], metric["MetricName"]

    assert counted("full") == ("AWS/Lambda", "Url4xxCount")
    assert counted("apigw") == ("AWS/ApiGateway", "4XXError")


@pytest.mark.parametrize("variant", ["full", "apigw", "cloudfront"])
def test_the_server_error_alarm_uses_the_functions_own_count_because_anyone_can_cause_other_5xx(
    variant: str, api_of: StackOf
) -> None:
    """A token signed with a made-up key gets a 503, because the key may be new. AWS's metrics count that 503 too."""
    metric = _metrics(api_of(variant))["server-errors"]
    assert (metric["Namespace"], metric["MetricName"]) == ("chatkit-lambda", "ServerErrors")


@pytest.mark.parametrize(("variant", "counted"), [("full", "Url5xxCount"), ("apigw", "5XXError")])
def test_the_dashboard_shows_every_5xx_of_the_front_door(variant: str, counted: str, api_of: StackOf) -> None:
    [board] = api_of(variant).find_resources("AWS::CloudWatch::Dashboard").values()
    assert counted in json.dumps(board)


def test_the_dashboard_shows_handoffs_and_accesses_of_operators_where_there_are_operators(api_of: StackOf) -> None:
    def shown(variant: str) -> set[str]:
        [board] = api_of(variant).find_resources("AWS::CloudWatch::Dashboard").values()
        return set(re.findall(r"Handoffs\b|HandoffsUnanswered|OperatorAccesses|EventsNotSent", json.dumps(board)))

    assert shown("full") == {"Handoffs", "HandoffsUnanswered", "OperatorAccesses", "EventsNotSent"}
    assert shown("apigw") == set()


def test_the_concurrency_alarm_uses_the_reserved_concurrency_or_the_account_limit(api_of: StackOf) -> None:
    def threshold(variant: str) -> float:
        alarms = [alarm["Properties"] for alarm in api_of(variant).find_resources(ALARM).values()]
        [limit] = [alarm["Threshold"] for alarm in alarms if alarm["AlarmName"].endswith("-concurrency")]
        return float(limit)

    assert threshold("full") == 0.8 * 20
    assert threshold("apigw") == 0.8 * 1000
