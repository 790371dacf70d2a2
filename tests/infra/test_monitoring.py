"""infra/monitoring.py: none, basic within what is free, full with a dashboard, a health check and a budget."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from tests.infra.conftest import StackOf

ALARM = "AWS::CloudWatch::Alarm"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
FREE_ALARMS = 10  # an account's, for nothing


def _alarms(stack: Template) -> set[str]:
    names = (alarm["Properties"]["AlarmName"] for alarm in stack.find_resources(ALARM).values())
    return {name.split("-", 2)[2] for name in names}


def test_basic_is_what_is_shipped_and_leaves_room_for_a_second_stage_within_what_is_free(api: Template) -> None:
    assert _alarms(api) == {"errors", "throttles", "near-timeout", "server-errors", "table-throttles"}
    assert 2 * len(_alarms(api)) <= FREE_ALARMS


def test_none_is_none(api_of: StackOf) -> None:
    assert _alarms(api_of("snapstart")) == set()


def test_full_has_sixteen_alarms_and_each_has_its_place_in_the_runbook(api_of: StackOf) -> None:
    alarms = _alarms(api_of("full"))
    assert len(alarms) == 16
    headings = set(re.findall(r"^\| `([a-z-]+)` \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE))
    assert alarms <= headings


def test_an_alarm_says_what_to_do(api_of: StackOf) -> None:
    for alarm in api_of("full").find_resources(ALARM).values():
        assert ": " in alarm["Properties"]["AlarmDescription"]


def test_alarms_are_mailed_over_tls_to_whom_the_stage_names(api_of: StackOf, api: Template) -> None:
    full = api_of("full")
    full.has_resource_properties("AWS::SNS::Subscription", {"Protocol": "email", "Endpoint": "ops@example.org"})
    full.all_resources_properties(ALARM, {"AlarmActions": [Match.any_value()], "OKActions": [Match.any_value()]})
    assert "aws:SecureTransport" in json.dumps(full.find_resources("AWS::SNS::TopicPolicy"))
    api.resource_count_is("AWS::SNS::Topic", 0)


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
        "BilledMs-full": '{ $.type = "platform.report" }',
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
    """What each alarm looks at; of an expression, its one metric."""
    found = {}
    for alarm in stack.find_resources(ALARM).values():
        told = alarm["Properties"]
        [seen] = [m["MetricStat"]["Metric"] for m in told.get("Metrics", []) if "MetricStat" in m] or [told]
        found[told["AlarmName"].split("-", 2)[2]] = seen
    return found


@pytest.mark.parametrize("variant", ["full", "apigw", "cloudfront"])
def test_alarms_look_at_metrics_in_the_dimensions_in_which_aws_tells_them(variant: str, api_of: StackOf) -> None:
    for name, metric in _metrics(api_of(variant)).items():
        if metric["Namespace"] in DIMENSIONS:
            assert {one["Name"] for one in metric["Dimensions"]} == DIMENSIONS[metric["Namespace"]], name
        assert metric["Namespace"] != "AWS/DynamoDB" or metric["MetricName"] in OF_A_TABLE


def test_errors_are_counted_at_the_door_that_the_stage_has(api_of: StackOf) -> None:
    def counted(variant: str) -> list[tuple[str, str]]:
        seen = _metrics(api_of(variant))
        return [(seen[name]["Namespace"], seen[name]["MetricName"]) for name in ("refusals", "server-errors")]

    assert counted("full") == [("AWS/Lambda", "Url4xxCount"), ("AWS/Lambda", "Url5xxCount")]
    assert counted("apigw") == [("AWS/ApiGateway", "4XXError"), ("AWS/ApiGateway", "5XXError")]


def test_nearly_all_streams_are_those_of_the_reservation_or_of_the_account(api_of: StackOf) -> None:
    def threshold(variant: str) -> float:
        alarms = [alarm["Properties"] for alarm in api_of(variant).find_resources(ALARM).values()]
        [found] = [one["Threshold"] for one in alarms if one["AlarmName"].endswith("-concurrency")]
        return float(found)

    assert threshold("full") == 0.8 * 20
    assert threshold("apigw") == 0.8 * 1000
