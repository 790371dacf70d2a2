"""The schedules: the hourly sweep, and the clock of a stage with operators.

Knows the shapes of the events, which lambda_src/chat/scheduled_events.py reads.
"""

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

SWEEP_EVENT = {"chat": "sweep"}
CLOCK_EVENT = {"chat": "clock"}
HEALTH_EVENT = {"chat": "health"}
SWEEP_EVERY = Duration.hours(1)
CLOCK_EVERY = Duration.minutes(1)  # how late a user learns that nobody came, and an event that failed is sent again
HEALTH_EVERY = Duration.minutes(5)


class HourlySweep(Construct):
    """Removes every hour what deletes left behind. A failed sweep is not retried: the next one does the same work."""

    def __init__(self, scope: Construct, construct_id: str, *, alias: lambda_.IFunction) -> None:
        super().__init__(scope, construct_id)
        self.rule = every(self, SWEEP_EVERY, event=SWEEP_EVENT, alias=alias)


class EveryMinute(Construct):
    """Looks every minute at what waits for an operator. A failed look is not retried: the next one does its work."""

    def __init__(self, scope: Construct, construct_id: str, *, alias: lambda_.IFunction) -> None:
        super().__init__(scope, construct_id)
        self.rule = every(self, CLOCK_EVERY, event=CLOCK_EVENT, alias=alias)


def every(scope: Construct, period: Duration, *, event: dict[str, str], alias: lambda_.IFunction) -> events.Rule:
    """A rule that sends `event` to the alias once every `period`."""
    target = targets.LambdaFunction(
        alias,
        event=events.RuleTargetInput.from_object(event),
        retry_attempts=0,
        max_event_age=Duration.hours(1),
    )
    rule = events.Rule(scope, "Rule", schedule=events.Schedule.rate(period), targets=[target])
    Validations.of(rule).acknowledge(
        Acknowledgment(id="Serverless-EventBusDLQ", reason="An event that is lost comes again with the next period.")
    )
    return rule
