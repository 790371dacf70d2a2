"""infra/constructs/schedule.py: the hourly sweep, sent to the alias."""

from aws_cdk.assertions import Match, Template


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
