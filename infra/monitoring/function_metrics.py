"""The custom metrics that the function emits, for alarms and graphs. Knows no alarm and no graph.

lambda_src/observability/metrics.py emits them; tests/agreements/test_metrics.py holds every name here to what it emits.
"""

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

NAMESPACE = "chatkit-lambda"
BY_MODEL = ("TokensIn", "TokensCached", "TokensOut")  # also with assistant, model and release, if usage is counted
OF_A_KIND = ("Feedback", "ModelErrors", "QuotaRefusals", "ToolErrors")  # `kind` is a second dimension


@dataclass(frozen=True, slots=True)
class Observed:
    """The custom metrics of one function; their dimension `service` is its name."""

    function: lambda_.IFunction

    def metric(self, name: str, *, statistic: str, period: Duration) -> cloudwatch.Metric:
        """A metric without kinds."""
        assert name not in OF_A_KIND, "it has a kind: take by_kind"
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"service": self.function.function_name},
            statistic=statistic,
            period=period,
        )

    def by_kind(self, name: str, *, period: Duration) -> cloudwatch.IMetric:
        """One line for each kind, for graphs only: alarms cannot use a search expression."""
        assert name in OF_A_KIND, "it has no kind: take metric"
        return self._search(name, "kind", period=period)

    def by_model(self, name: str, *, period: Duration) -> cloudwatch.IMetric:
        """One line for each assistant, model and release, for graphs only."""
        assert name in BY_MODEL, "it is not counted by model: take metric"
        return self._search(name, "assistant,model,release", period=period)

    def _search(self, name: str, dimensions: str, *, period: Duration) -> cloudwatch.IMetric:
        service = f'service="{self.function.function_name}"'
        return cloudwatch.MathExpression(
            expression=f"SEARCH('{{{NAMESPACE},service,{dimensions}}} MetricName=\"{name}\" {service}', 'Sum')",
            using_metrics={},
            period=period,
            label="",
        )
