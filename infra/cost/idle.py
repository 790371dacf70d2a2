"""What a stage costs when idle: the monthly price of each resource in its templates, without storage. Pure.

Every resource type must be listed here, so that a new type with a monthly price cannot go unnoticed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.cost import prices
from infra.cost.prices import HOURS_A_MONTH

MANAGED_INSTANCES = 3  # that Lambda keeps running for each capacity provider, one in each availability zone
S_A_MONTH = HOURS_A_MONTH * 3600

# Charged by use only.
FREE = frozenset(
    {
        *("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::Logs::LogGroup"),
        *("AWS::Logs::MetricFilter", "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::Lambda::Function"),
        *("AWS::Lambda::Alias", "AWS::Lambda::Url", "AWS::Lambda::Permission", "AWS::Events::Rule"),
        *("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription", "AWS::Budgets::Budget"),
        *("AWS::CloudFront::Distribution", "AWS::CloudFront::OriginAccessControl", "AWS::Route53::RecordSet"),
        *("AWS::CertificateManager::Certificate", "AWS::CDK::Metadata"),
        *("AWS::ApiGateway::RestApi", "AWS::ApiGateway::Method", "AWS::ApiGateway::Resource"),
        *("AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage", "AWS::ApiGateway::GatewayResponse"),
        "AWS::ApiGateway::Account",
        *("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"),
        *("AWS::Cognito::UserPool", "AWS::Cognito::UserPoolClient", "AWS::Cognito::UserPoolDomain"),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One resource type: how many there are, what they cost a month, and why."""

    what: str
    count: int
    usd: float
    why: str


class UnpricedError(Exception):
    """A resource type has no price here."""


def lines(resources: Iterable[Mapping[str, Any]]) -> list[Line]:
    """The resources with a monthly price; UnpricedError for a resource type that is not listed here."""
    all_of: dict[str, list[Mapping[str, Any]]] = {}
    for resource in resources:
        all_of.setdefault(resource["Type"], []).append(resource.get("Properties", {}))
    charged = [_priced(kind, bodies, all_of) for kind, bodies in sorted(all_of.items()) if kind not in FREE]
    unpriced = [line.what for line in charged if line.usd < 0]
    if unpriced:
        raise UnpricedError(f"{', '.join(unpriced)}: the price is unknown; add it to infra/cost/idle.py.")
    return charged


def total(lines: Iterable[Line]) -> float:
    """Dollars a month."""
    return sum(line.usd for line in lines)


def _priced(kind: str, bodies: list[Mapping[str, Any]], all_of: Mapping[str, list[Mapping[str, Any]]]) -> Line:
    count = len(bodies)
    match kind:
        case "AWS::CloudWatch::Alarm":
            metrics = sum(_metrics(body) for body in bodies)
            charged = max(0, metrics - prices.FREE_ALARMS)
            return Line(
                kind, count, charged * prices.ALARM.usd, f"the first {prices.FREE_ALARMS} of an account are free"
            )
        case "AWS::CloudWatch::Dashboard":
            charged = max(0, count - prices.FREE_DASHBOARDS)
            return Line(kind, count, charged * prices.DASHBOARD.usd, f"the first {prices.FREE_DASHBOARDS} are free")
        case "AWS::SecretsManager::Secret":
            return Line(kind, count, count * prices.SECRET.usd, prices.SECRET.unit)
        case "AWS::KMS::Key":
            return Line(kind, count, count * prices.KEY.usd, prices.KEY.unit)
        case "AWS::WAFv2::WebACL":
            rules = sum(len(body["Rules"]) for body in bodies)
            usd = count * prices.WEB_ACL.usd + rules * prices.WEB_ACL_RULE.usd
            return Line(kind, count, usd, f"and {rules} rules")
        case "AWS::Lambda::Version":
            return _versions(kind, count, all_of["AWS::Lambda::Function"])
        case "AWS::Lambda::CapacityProvider":
            each = prices.EC2_HOUR["m8g.large"].usd * (1 + prices.MANAGED_FEE.usd) * HOURS_A_MONTH
            why = f"{MANAGED_INSTANCES} m8g.large, always on"
            return Line(kind, count, count * MANAGED_INSTANCES * each, why)
        case _:
            return Line(kind, count, -1, "unknown")


def _metrics(alarm: Mapping[str, Any]) -> int:
    """The number of metrics that an alarm reads, by which it is billed."""
    return max(1, sum("MetricStat" in entry for entry in alarm.get("Metrics", [])))


def _versions(kind: str, count: int, functions: list[Mapping[str, Any]]) -> Line:
    """Free, unless SnapStart keeps a snapshot of the published version."""
    kept_gb = sum(body["MemorySize"] / 1024 for body in functions if "SnapStart" in body)
    usd = kept_gb * S_A_MONTH * prices.SNAPSTART_CACHE_GB_S.usd
    return Line(kind, count, usd, "SnapStart keeps a snapshot" if usd else "nothing is kept warm")
