"""Cost estimates without the model's tokens: `--idle` for a stage at rest, `--turns` for a month under load.

Computes from infra/cost/prices.py alone, without calling AWS. The model's tokens cost ten to a hundred times as much.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.cost import idle, prices
from infra.cost.idle import MANAGED_INSTANCES, UnpricedError
from infra.cost.prices import HOURS_A_MONTH, Price

# Estimates: idempotency key, quotas, lease, two items (each also in the index), then every second a batch of the
# journal together with the lease.
WRITES_A_TURN = 12
WRITES_A_SECOND = 2  # the renewal and the journal: tests/turns/test_costs.py counts them
READS_A_TURN = 20  # the page of history, the thread, the idempotency key
LOG_BYTES_A_TURN = 2_000
METRICS = 14  # that a busy function sends: twelve, and two with kinds; ten are free
TURNS_OF_AN_ENVIRONMENT = 10  # at a time, on Managed Instances
ENVIRONMENTS_OF_AN_INSTANCE = 2  # one for each vCPU of a large instance
PEAK = 3  # ratio of the busiest hour to the average hour
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
RESTORES = 1_000  # cold starts, for the price of SnapStart: how many there are a month depends on the traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A month of turns of `seconds` each, and the function that runs them."""

    turns: float
    seconds: float
    memory_mb: int
    mode: str
    architecture: str = "arm64"
    instance_type: str = "m8g.large"


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a bill."""

    what: str
    units: float
    price: Price

    @property
    def usd(self) -> float:
        return self.units * self.price.usd


def bill(load: Load) -> list[Charge]:
    """The charges for a month of `load`, without free tiers."""
    seconds = load.turns * load.seconds
    return [
        Charge("requests", load.turns, prices.LAMBDA_REQUEST),
        *(_instances(load) if load.mode == "managed" else [_compute(load)]),
        Charge("table, writes", load.turns * WRITES_A_TURN + seconds * WRITES_A_SECOND, prices.TABLE_WRITE),
        Charge("table, reads", load.turns * READS_A_TURN, prices.TABLE_READ),
        Charge("log", load.turns * LOG_BYTES_A_TURN / 1e9, prices.LOG_GB),
        Charge("custom metrics", METRICS, prices.METRIC),
    ]


def _compute(load: Load) -> Charge:
    gb_s = load.turns * load.seconds * load.memory_mb / 1024
    return Charge("compute", gb_s, prices.LAMBDA_GB_S[load.architecture])


def instances(load: Load) -> int:
    """The number of instances that the busiest hour needs. Lambda keeps at least three."""
    at_a_time = load.turns * load.seconds / SECONDS_A_MONTH * PEAK
    each = TURNS_OF_AN_ENVIRONMENT * ENVIRONMENTS_OF_AN_INSTANCE
    return max(MANAGED_INSTANCES, math.ceil(at_a_time / each))


def _instances(load: Load) -> Iterator[Charge]:
    hours = Charge(
        f"{instances(load)} {load.instance_type}", instances(load) * HOURS_A_MONTH, prices.EC2_HOUR[load.instance_type]
    )
    yield hours
    yield Charge("Lambda's fee for them", hours.usd, prices.MANAGED_FEE)


def snapstart(memory_mb: int) -> list[Charge]:
    """What `snapstart: true` costs a month for a function of this size: one snapshot, and each restore from it."""
    gb = memory_mb / 1024
    return [
        Charge("the snapshot", gb * SECONDS_A_MONTH, prices.SNAPSTART_CACHE_GB_S),
        Charge(f"{RESTORES:,} cold starts", gb * RESTORES, prices.SNAPSTART_RESTORED_GB),
    ]


def memory_of(resources: Iterable[Mapping[str, Any]]) -> int:
    """Memory in MB of the largest function in the templates; 0 where there is none."""
    sizes = (resource.get("Properties", {}).get("MemorySize", 0) for resource in resources)
    return max(sizes, default=0)


def resources(folder: Path) -> list[dict[str, Any]]:
    """Every resource of the templates in `folder`; FileNotFoundError if there are none."""
    templates = sorted(folder.glob("*.template.json"))
    if not templates:
        raise FileNotFoundError(f"{folder}/ contains no templates: run `make template` first.")
    loaded = (json.loads(path.read_text(encoding="utf-8")) for path in templates)
    return [resource for template in loaded for resource in template.get("Resources", {}).values()]


def main(arguments: list[str]) -> int:
    """Print one of the two estimates. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.cost.estimate", description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--idle", action="store_true", help="what the stage in cdk.out/ costs when idle")
    what.add_argument("--turns", type=float, help="turns a month, such as 1e6")
    parser.add_argument("--seconds", type=float, default=8, help="duration of a turn (8)")
    parser.add_argument("--memory", type=int, default=1024, help="memory of the function in MB (1024)")
    parser.add_argument("--mode", choices=["lambda", "managed"], default="lambda")
    parser.add_argument("--architecture", choices=list(prices.LAMBDA_GB_S), default="arm64")
    parser.add_argument("--instance-type", choices=list(prices.EC2_HOUR), default="m8g.large")
    parser.add_argument("--templates", type=Path, default=Path("cdk.out"), help="the folder that `make template` wrote")
    options = parser.parse_args(arguments)
    try:
        if options.idle:
            stage = resources(options.templates)
            _print_idle(idle.lines(stage))
            _print_snapstart(memory_of(stage))
        else:
            load = Load(
                turns=options.turns,
                seconds=options.seconds,
                memory_mb=options.memory,
                mode=options.mode,
                architecture=options.architecture,
                instance_type=options.instance_type,
            )
            _print_bill(bill(load))
            if load.mode == "lambda":
                _print_snapstart(load.memory_mb)
    except (UnpricedError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"us-east-1, without the model's tokens; prices of {prices.AS_OF}, sources in infra/cost/prices.py")
    return 0


def _print_idle(lines: list[idle.Line]) -> None:
    for line in lines:
        print(f"  ${line.usd:8.2f}  {line.count} x {line.what.removeprefix('AWS::')}: {line.why}")
    print(f"  ${idle.total(lines):8.2f}  a month when idle; storage is extra: table ${prices.TABLE_GB.usd}, its backup "
          f"${prices.TABLE_BACKUP_GB.usd}, bucket ${prices.BUCKET_GB.usd} a GB")  # fmt: skip


def _print_bill(charges: list[Charge]) -> None:
    for charge in charges:
        each = f"{charge.units:,.0f} x ${_plain(charge.price.usd)} a {charge.price.unit}"
        print(f"  ${charge.usd:10.2f}  {charge.what}: {each}\n{'':15}{charge.price.page}, {prices.AS_OF}")
    print(f"  ${sum(charge.usd for charge in charges):10.2f}  a month, before free tiers")


def _print_snapstart(memory_mb: int) -> None:
    kept, restored = snapstart(memory_mb)
    print(f"  `snapstart: true` at {memory_mb} MB: ${kept.usd:.2f} a month for {kept.what}, ${restored.usd:.2f} for "
          f"{restored.what}\n{'':15}{kept.price.page}, {prices.AS_OF}")  # fmt: skip


def _plain(usd: float) -> str:
    """The number without an exponent."""
    return f"{usd:.10f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
