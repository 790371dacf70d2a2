"""The CloudWatch dashboard: turns, latency, tokens, failures and hourly cost, from AWS metrics and our log.

Log queries run when someone opens the dashboard, so they cost nothing otherwise.
"""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.monitoring.alarms import PERIOD, Watched
from infra.monitoring.function_metrics import Observed

USD_PER_GB_H = 0.048  # arm64, us-east-1; infra/cost/prices.py has the source and the date

STARTS = [
    "filter type = 'platform.report'",
    "stats count(record.metrics.initDurationMs) as cold, max(record.metrics.initDurationMs) as ms, count(*) by bin(1h)",
]
REQUESTS = [
    "filter ispresent(operation)",
    "stats count(*) as requests, pct(duration_ms, 95) as p95_ms by operation, status",
]


def dashboard(scope: Construct, watched: Watched) -> str:
    """Create the dashboard in `scope` and return its name."""
    made = cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=f"chatkit-{watched.config.stage}",
        default_interval=Duration.days(1),
        widgets=[
            _of_turns(watched),
            *([_by_model(watched)] if watched.config.counts_usage else []),
            *([_of_operators(watched)] if watched.config.operators is not None else []),
            _of_traffic(watched),
            _of_failures(watched),
            _of_refusals(watched),
            _of_the_log(watched),
        ],
    )
    return made.dashboard_name


def _of_turns(watched: Watched) -> list[cloudwatch.IWidget]:
    observed = Observed(watched.alias.lambda_)

    def sums(*names: str) -> list[cloudwatch.IMetric]:
        return [observed.metric(name, statistic="Sum", period=PERIOD) for name in names]

    first = [observed.metric("TimeToFirstToken", statistic=s, period=PERIOD) for s in ("p50", "p95", "p99")]
    first.append(observed.metric("TimeToFirstEvent", statistic="p95", period=PERIOD))
    return [
        _graph("Turns, and those that were stopped or cut", *sums("Turns", "Stops", "DeadlineCuts")),
        _graph("Until the first word, and the first event", *first),
        _graph("Tokens", *sums("TokensIn", "TokensOut")),
        _graph("Thumbs up and down", observed.by_kind("Feedback", period=PERIOD)),
    ]


def _by_model(watched: Watched) -> list[cloudwatch.IWidget]:
    """Tokens by assistant, model and release. Only stages that count their usage emit these metrics."""
    observed = Observed(watched.alias.lambda_)
    titles = {"TokensIn": "Tokens in", "TokensCached": "Of these from the prompt cache", "TokensOut": "Tokens out"}
    return [
        _graph(f"{title}, by assistant, model and release", observed.by_model(name, period=PERIOD))
        for name, title in titles.items()
    ]


def _of_operators(watched: Watched) -> list[cloudwatch.IWidget]:
    observed = Observed(watched.alias.lambda_)

    def sums(*names: str) -> list[cloudwatch.IMetric]:
        return [observed.metric(name, statistic="Sum", period=PERIOD) for name in names]

    return [
        _graph(
            "Requests for a person, and those that nobody answered in time", *sums("Handoffs", "HandoffsUnanswered")
        ),
        _graph("Accesses of operators, and events not sent", *sums("OperatorAccesses", "EventsNotSent")),
    ]


def _of_refusals(watched: Watched) -> list[cloudwatch.IWidget]:
    observed = Observed(watched.alias.lambda_)
    seldom = ("PoisonRows", "ClocksAhead", "Unauthorized")
    return [
        _graph("The model's errors", observed.by_kind("ModelErrors", period=PERIOD)),
        _graph("Tools, MCP servers and hooks that failed", observed.by_kind("ToolErrors", period=PERIOD)),
        _graph("Quotas that refused", observed.by_kind("QuotaRefusals", period=PERIOD)),
        _graph(
            "No token, rows unread, clocks ahead",
            *(observed.metric(name, statistic="Sum", period=PERIOD) for name in seldom),
        ),
    ]


def _of_traffic(watched: Watched) -> list[cloudwatch.IWidget]:
    alias = watched.alias
    return [
        _graph("Requests", alias.metric_invocations(period=PERIOD)),
        _graph(
            "How long they take", *(alias.metric_duration(period=PERIOD, statistic=s) for s in ("p50", "p95", "p99"))
        ),
        _graph(
            "At a time, and cold starts",
            alias.metric("ConcurrentExecutions", period=PERIOD, statistic="Maximum"),
            Observed(alias.lambda_).metric("ColdStarts", statistic="Sum", period=PERIOD),
        ),
    ]


def _of_failures(watched: Watched) -> list[cloudwatch.IWidget]:
    alias = watched.alias
    return [
        _graph("Errors", alias.metric_errors(period=PERIOD), watched.server_errors),
        _graph("Throttles", alias.metric_throttles(period=PERIOD)),
        _graph("Compute, $ an hour", _cost_an_hour(watched)),
    ]


def _of_the_log(watched: Watched) -> list[cloudwatch.IWidget]:
    groups = [watched.log_group.log_group_name]
    return [
        cloudwatch.LogQueryWidget(
            title="Requests by operation", log_group_names=groups, query_lines=REQUESTS, width=12
        ),
        cloudwatch.LogQueryWidget(title="Cold starts", log_group_names=groups, query_lines=STARTS, width=12),
    ]


def _cost_an_hour(watched: Watched) -> cloudwatch.IMetric:
    milliseconds = watched.alias.metric_duration(period=Duration.hours(1), statistic="Sum")
    gigabytes = watched.config.memory_mb / 1024
    return cloudwatch.MathExpression(
        expression=f"ms / 3600000 * {gigabytes} * {USD_PER_GB_H}",
        using_metrics={"ms": milliseconds},
        period=Duration.hours(1),
        label="$",
    )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8, height=6)
