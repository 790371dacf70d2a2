"""The configurations of the stage `proof` of `make prove`: their options, their rows, and what they cost.

Pure: options of a stage and names of rows (`make verify` lists them); no I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.cost import estimate as cost
from infra.cost import idle, prices
from infra.stage.config import TEMPORARY, UNCAPPED

STAGE = "proof"
TIMEOUT_S = 30  # the shortest allowed, so that the row `deadline` does not wait long
LONG_PROMPT = "Count to 2000."  # the demo model takes 80 s for it
MESSAGES_PER_DAY = 1000
TOKENS_PER_DAY = 10_000_000  # of the demo model, which is free: no row may reach a limit
KEPT_H = 3  # SnapStart's minimum charge: the estimate assumes that each configuration runs that long
TURNS, TURN_S = 100, 8  # of one configuration, at most
FRONT_DOOR_ROWS = (
    *("health", "page", "no-token", "cors", "empty-body", "odd-path", "large-body", "callers-address", "length"),
    *("deltas", "stop", "resume", "url-permissions", "log-invocations", "log-errors"),
)


Row = dict[str, Any]  # as `make verify` writes it: name, outcome, what, figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One configuration of the stage: its name in the result, its options, and its rows (empty: all of them).

    extra: rows that run only by name. not_local: why a local AWS does not support it.
    """

    name: str
    options: Mapping[str, Any]
    rows: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    not_local: str = ""

    @property
    def prefix(self) -> str:
        """The prefix of its rows in the result; the rows of the first configuration have none."""
        return "" if self.name == FUNCTION_URL else f"{self.name}: "


FUNCTION_URL = "function URL"
OWN_KEY = {"kms": "cmk"}  # all later configurations keep it: a table whose key is about to be deleted is unusable
CONFIGURATIONS = (
    Configuration(name=FUNCTION_URL, options={}, extra=("deadline", "longest-timeout")),
    Configuration(
        name="SnapStart",
        options={"snapstart": True},
        rows=("health", "cold-starts", "deltas", "log-starts"),
        not_local="the local AWS has no snapshots",
    ),
    Configuration(
        name="own key",
        options=OWN_KEY,
        rows=("health", "upload", "deltas", "key", "log-errors"),
        not_local="the local AWS replaces a table whose key changes",
    ),
    Configuration(
        name="API Gateway",
        options=OWN_KEY | {"front_door": "apigw"},
        rows=FRONT_DOOR_ROWS,
        not_local="the local AWS does not pass an answer through API Gateway as a stream",
    ),
    Configuration(
        name="CloudFront",
        options=OWN_KEY | {"front_door": "cloudfront"},
        rows=FRONT_DOOR_ROWS,
        not_local="the local AWS has no CloudFront",
    ),
    Configuration(
        name="CloudFront that signs",
        options=OWN_KEY | {"front_door": "cloudfront-signed"},
        rows=FRONT_DOOR_ROWS,
        not_local="the local AWS has no CloudFront",
    ),
)


def managed(subnets: Sequence[str], groups: Sequence[str]) -> Configuration:
    """The configuration for Managed Instances, which need a VPC of the account."""
    network = {"subnets": [*subnets], "security_groups": [*groups]}
    return Configuration(
        name="Managed Instances",
        options=OWN_KEY | {"memory_mb": 2048, "vpc": network, "managed_instances": {}},
        rows=("health", "cold-starts", "deltas", "stop", "resume", "duplicate", "log-starts", "log-errors"),
        not_local="the local AWS has no instances",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the stage is deployed, and the options that come from the command line."""

    account: str | None
    region: str | None
    architecture: str = "arm64"
    alarm_email: str | None = None
    uncapped: bool = False


def context(flags: Mapping[str, Any], configuration: Configuration, place: Place) -> dict[str, Any]:
    """The CDK context of the stage in this configuration. `flags`: cdk.json's context; its stages are ignored."""
    stage = {
        "auth": {"guest": {"messages_per_day": MESSAGES_PER_DAY, "tokens_percent": 100}},
        "quotas": {"stage_tokens_per_day": TOKENS_PER_DAY},
        "account": place.account,
        "region": place.region,
        "architecture": place.architecture,
        "alarm_email": place.alarm_email,
        "timeout_s": TIMEOUT_S,
        "log_retention_days": 1,
        **configuration.options,
    }
    return {**flags, "stage": STAGE, "stages": {STAGE: stage}, TEMPORARY: True, UNCAPPED: place.uncapped}


def rows_of(configuration: Configuration) -> list[list[str]]:
    """Arguments of `make verify`, a list for each run: first the ordinary rows, then each extra one."""
    runs = [[argument for row in configuration.rows for argument in ("--only", row)]]
    for row in configuration.extra:
        longer = ["--timeout", str(TIMEOUT_S), "--prompt", LONG_PROMPT] if row == "deadline" else []
        runs.append(["--only", row, *longer])
    return runs


@dataclass(frozen=True, slots=True)
class Estimate:
    """US dollars: for the whole proof, and for each day that the stage is left behind."""

    usd: float
    usd_a_day: float


def estimate(templates: Iterable[Iterable[Mapping[str, Any]]], *, memory_mb: int = 1024) -> Estimate:
    """What the configurations cost, given the resources of each, without free tiers."""
    a_month = [idle.total(idle.lines(resources)) for resources in templates]
    load = cost.Load(turns=TURNS, seconds=TURN_S, memory_mb=memory_mb, mode="lambda")
    metrics = cost.METRICS * prices.METRIC.usd
    turns = sum(charge.usd for charge in cost.bill(load) if charge.price is not prices.METRIC)
    hours = KEPT_H / prices.HOURS_A_MONTH
    return Estimate(
        usd=sum((each + metrics) * hours + turns for each in a_month),
        usd_a_day=max(a_month, default=0.0) * 24 / prices.HOURS_A_MONTH,
    )


def not_here(configuration: Configuration, reasons: Sequence[str]) -> Row:
    """The row of a configuration that this AWS does not support, or that was skipped."""
    return {"name": configuration.name, "outcome": "not here", "what": " ".join(reasons), "figures": {}}


def merged(configuration: Configuration, runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Merge the rows of several runs of `make verify`: the last one of each name, and `unknown:` rows only if seen."""
    rows: dict[str, Row] = {}
    for number, run in enumerate(runs):
        for row in run:
            again = row["name"].startswith("unknown:") and (number > 0 or configuration.rows)
            if not again or row["outcome"] == "seen":
                rows[row["name"]] = row
    return [{**row, "name": f"{configuration.prefix}{name}"} for name, row in rows.items()]
