"""CloudWatch alarms: for each a metric, a threshold with its reason, and what to do.

The metrics come from AWS and from our log lines. Knows no topic and no dashboard.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.monitoring.function_metrics import Observed
from infra.stage.config import StageConfig

PERIOD = Duration.minutes(5)
DAY = Duration.days(1)
SILENCE = Duration.minutes(15)
NAMESPACE = "ChatKit"  # of metrics read from the log; those that the function emits are in function_metrics.py
NEAR_TIMEOUT = 0.9  # of the timeout: turns that take this long are about to be cut off
NEAR_MEMORY = 0.9
NEAR_CONCURRENCY = 0.8
TABLE_REFUSALS = 5  # in 5 minutes; botocore retries, so a single one goes unnoticed
LOG_BYTES_AN_HOUR = 100_000_000  # $0.05 an hour; a turn writes some 2 KB
COMPUTE_MS_AN_HOUR = 10 * 3_600_000  # ten streams at once for an hour, $0.48 at 1 GB
SPENT = 0.5  # of a day's tokens: ordinary days stay below, and half of the ceiling remains while someone reacts
SLOW_FIRST_TOKEN_MS = 10_000  # people leave; reasoning models take about 5 s
MODEL_ERRORS = 5  # in 5 minutes: a vendor's outage or a revoked key
REFUSALS = 500  # in 5 minutes: someone is guessing tokens, or a page is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The resources and metrics that alarms read."""

    config: StageConfig
    alias: lambda_.Alias
    table: dynamodb.ITableV2
    sweep: events.Rule
    log_group: logs.LogGroup
    client_errors: cloudwatch.IMetric
    server_errors: cloudwatch.IMetric


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Rings when the metric reaches `threshold` `times` periods in a row. docs/reference/alarms.md explains `name`."""

    name: str
    does: str
    metric: cloudwatch.IMetric
    threshold: float
    times: int = 1
    missing_is_bad: bool = False


def basic(watched: Watched) -> list[Alarm]:
    """The five alarms for people who get no answer and for unexpected cost, with one metric each; one more if there are
    operators.

    An account has ten alarms for free, enough for two stages. None uses metric math, which the local AWS refuses.
    """
    alias, config = watched.alias, watched.config
    return [
        Alarm(
            name="errors",
            does="Invocations fail: read the newest lines of level ERROR in the log.",
            metric=alias.metric_errors(period=PERIOD, statistic="Sum"),
            threshold=3,
        ),
        Alarm(
            name="throttles",
            does="Lambda refuses requests, because too many run at once: raise reserved_concurrency or the quota.",
            metric=alias.metric_throttles(period=PERIOD, statistic="Sum"),
            threshold=1,
        ),
        Alarm(
            name="near-timeout",
            does="Some turns nearly reach timeout_s: find out why the model is slow, or raise timeout_s.",
            metric=alias.metric_duration(period=PERIOD, statistic="p99"),
            threshold=NEAR_TIMEOUT * config.timeout_s * 1000,
        ),
        Alarm(
            name="server-errors",
            does="Responses are 5xx: check the alarms errors and throttles, then the last deployment.",
            # Not AWS's own count of 5xx, which includes the 503 that anybody can cause with a made-up token.
            metric=Observed(alias.lambda_).metric("ServerErrors", statistic="Sum", period=PERIOD),
            threshold=3,
        ),
        _spend(watched) or _compute(watched),
        *([_handoffs(watched)] if config.operators is not None else []),
    ]


def _spend(watched: Watched) -> Alarm | None:
    """The day's tokens against the stage's ceiling; None if it has no ceiling.

    A turn's tokens are counted when it ends, so the alarm rings at half of the ceiling, while there is time to act.
    """
    quotas = watched.config.quotas
    if quotas is None or quotas.stage_tokens_per_day is None:
        return None
    return Alarm(
        name="spend",
        does="A day's turns used half of stage_tokens_per_day: find out whose they were, or stop all new answers.",
        metric=Observed(watched.alias.lambda_).metric("Tokens", statistic="Sum", period=DAY),
        threshold=SPENT * quotas.stage_tokens_per_day,
    )


def _handoffs(watched: Watched) -> Alarm:
    """Users who waited for a person as long as the stage allows."""
    return Alarm(
        name="handoffs",
        does="A user waited for a person longer than handoff_wait_minutes: look at the inbox.",
        metric=Observed(watched.alias.lambda_).metric("HandoffsUnanswered", statistic="Sum", period=PERIOD),
        threshold=1,
    )


def _compute(watched: Watched) -> Alarm:
    return Alarm(
        name="compute",
        does="Invocations last longer than ten constant streams: stop all new answers, then look for a loop.",
        metric=watched.alias.metric_duration(period=Duration.hours(1), statistic="Sum"),
        threshold=COMPUTE_MS_AN_HOUR,
    )


def full(watched: Watched, *, health: events.Rule) -> list[Alarm]:
    """The other alarms: early signs of trouble, and silence where there should be activity.

    A turn writes to the table about once a second, and a partition accepts a third as many writes as reads, so writes
    are throttled first.
    """
    alias, config = watched.alias, watched.config
    concurrency = config.concurrency_cap or config.account_limit
    line = _line_metric(watched)
    observed = Observed(alias.lambda_)
    return [
        *([_compute(watched)] if _spend(watched) else []),  # else `basic` has it already
        Alarm(
            name="table-throttles",
            does="DynamoDB refuses writes: traffic doubled within minutes, or one thread gets too many writes.",
            metric=_table(watched.table, "WriteThrottleEvents"),
            threshold=TABLE_REFUSALS,
        ),
        Alarm(
            name="concurrency",
            does="Nearly as many turns run at once as are allowed: raise the limit before users are refused.",
            metric=alias.metric("ConcurrentExecutions", period=PERIOD, statistic="Maximum"),
            threshold=NEAR_CONCURRENCY * concurrency,
            times=3,
        ),
        Alarm(
            name="table-reads",
            does="DynamoDB refuses reads: traffic doubled within minutes, or one thread gets too many reads.",
            metric=_table(watched.table, "ReadThrottleEvents"),
            threshold=TABLE_REFUSALS,
        ),
        Alarm(
            name="memory",
            does="The function nearly ran out of memory: raise memory_mb.",
            metric=line("MemoryUsedMb", "$.record.metrics.maxMemoryUsedMB", "Maximum"),
            threshold=NEAR_MEMORY * config.memory_mb,
        ),
        Alarm(
            name="first-token",
            does="Users wait long for the first word: check whether the model or the cold starts are slow.",
            metric=observed.metric("TimeToFirstToken", statistic="p95", period=PERIOD),
            threshold=SLOW_FIRST_TOKEN_MS,
            times=3,
        ),
        Alarm(
            name="model-errors",
            does="The model fails: check the vendor's status page, its limits, and the key.",
            metric=_filtered(watched, "ModelErrors", logs.FilterPattern.string_value("$.message", "=", "run_failed")),
            threshold=MODEL_ERRORS,
        ),
        Alarm(
            name="unreadable-rows",
            does="A row cannot be read, and users see a placeholder: find it with `make chat` and the command doctor.",
            metric=observed.metric("PoisonRows", statistic="Sum", period=PERIOD),
            threshold=1,
        ),
        Alarm(
            name="log-volume",
            does="The log grows by 100 MB an hour, and each GB costs $0.50: find the line that repeats.",
            metric=cloudwatch.Metric(
                namespace="AWS/Logs",
                metric_name="IncomingBytes",
                dimensions_map={"LogGroupName": watched.log_group.log_group_name},
                period=Duration.hours(1),
                statistic="Sum",
            ),
            threshold=LOG_BYTES_AN_HOUR,
        ),
        Alarm(
            name="refusals",
            does="Many requests are refused: a page sends no token, or somebody is guessing tokens.",
            metric=watched.client_errors,
            threshold=REFUSALS,
        ),
        Alarm(
            name="sweep",
            does="The hourly sweep did not start, so deleted threads leave rows behind: run it yourself.",
            metric=_rule(watched.sweep, "FailedInvocations", period=Duration.hours(1)),
            threshold=1,
        ),
        Alarm(
            name="health",
            does="No health check ran for 15 minutes: check whether its rule is disabled, or the concurrency is 0.",
            metric=_missing(_rule(health, "Invocations", period=SILENCE)),
            threshold=1,
            missing_is_bad=True,
        ),
    ]


def _line_metric(watched: Watched) -> Callable[..., cloudwatch.Metric]:
    """Metrics read from Lambda's own report lines, which are JSON; they cost nothing when idle."""
    reports = logs.FilterPattern.string_value("$.type", "=", "platform.report")

    def metric(name: str, field: str, statistic: str, *, period: Duration = PERIOD) -> cloudwatch.Metric:
        return _filtered(watched, name, reports, value=field, statistic=statistic, period=period)

    return metric


def _filtered(
    watched: Watched,
    name: str,
    pattern: logs.IFilterPattern,
    *,
    value: str = "1",
    statistic: str = "Sum",
    period: Duration = PERIOD,
) -> cloudwatch.Metric:
    """A metric of the log lines that match `pattern`."""
    unique = f"{name}-{watched.config.stage}"
    logs.MetricFilter(
        watched.log_group,
        name,
        log_group=watched.log_group,
        filter_pattern=pattern,
        metric_namespace=NAMESPACE,
        metric_name=unique,
        metric_value=value,
    )
    return cloudwatch.Metric(namespace=NAMESPACE, metric_name=unique, statistic=statistic, period=period)


def _table(table: dynamodb.ITableV2, name: str) -> cloudwatch.IMetric:
    """A metric that DynamoDB publishes for a whole table. ThrottledRequests exists only for single operations."""
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name=name,
        dimensions_map={"TableName": table.table_name},
        statistic="Sum",
        period=PERIOD,
    )


def _rule(rule: events.Rule, name: str, *, period: Duration) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/Events",
        metric_name=name,
        dimensions_map={"RuleName": rule.rule_name},
        statistic="Sum",
        period=period,
    )


def _missing(metric: cloudwatch.Metric) -> cloudwatch.IMetric:
    """1 for a period without data points of `metric`, else 0."""
    return cloudwatch.MathExpression(
        expression="IF(FILL(m, 0) > 0, 0, 1)", using_metrics={"m": metric}, period=SILENCE, label="silent"
    )
