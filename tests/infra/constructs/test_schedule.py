"""infra/constructs/schedule.py: the hourly sweep and the operators' clock, sent to the alias."""

from aws_cdk.assertions import Match, Template

from tests.infra.conftest import StackOf


def test_the_alias_gets_a_sweep_event_each_hour_without_retries(api: Template) -> None:
    target = {
        "Arn": {"Ref": Match.string_like_regexp("^ChatLive")},
        "Input": '{"chat":"sweep"}',
        "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 3600},
    }
    rule = {"ScheduleExpression": "rate(1 hour)", "State": "ENABLED", "Targets": [Match.object_like(target)]}
    api.has_resource_properties("AWS::Events::Rule", rule)


def test_only_that_rule_may_invoke_the_function(api: Template) -> None:
    caller = {"Principal": "events.amazonaws.com", "SourceArn": {"Fn::GetAtt": [Match.any_value(), "Arn"]}}
    api.has_resource_properties("AWS::Lambda::Permission", caller)


def test_the_clock_runs_every_minute_in_a_stage_with_operators_only(api: Template, api_of: StackOf) -> None:
    target = {"Arn": {"Ref": Match.string_like_regexp("^ChatLive")}, "Input": '{"chat":"clock"}'}
    rule = {"ScheduleExpression": "rate(1 minute)", "Targets": [Match.object_like(target)]}
    api_of("full").has_resource_properties("AWS::Events::Rule", rule)
    api.resource_properties_count_is("AWS::Events::Rule", {"ScheduleExpression": "rate(1 minute)"}, 0)


def test_a_stage_without_operators_has_no_topic(api: Template, api_of: StackOf) -> None:
    api.resource_count_is("AWS::SNS::Topic", 0)
    api_of("full").has_output("EventsTopic", {"Value": {"Ref": Match.string_like_regexp("^EventsTopic")}})
