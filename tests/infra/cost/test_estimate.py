"""infra/cost/estimate.py and idle.py: a default stage costs nothing when idle; how a bill is computed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.cost import estimate, idle, prices
from infra.cost.estimate import Load
from infra.cost.idle import UnpricedError
from tests.infra.conftest import Templates


def _resources(templates: Templates) -> list[dict[str, Any]]:
    return [resource for template in templates.values() for resource in template["Resources"].values()]


def test_a_default_stage_costs_nothing_when_idle(templates: Templates, dev_templates: Templates) -> None:
    for stage in (templates, dev_templates):
        assert idle.total(idle.lines(_resources(stage))) == 0


def test_two_default_stages_still_cost_nothing_when_idle(templates: Templates, dev_templates: Templates) -> None:
    assert idle.total(idle.lines(_resources(templates) + _resources(dev_templates))) == 0


@pytest.mark.parametrize(
    ("variant", "usd"),
    [
        ("cloudfront", 0.80),  # two secrets
        ("cloudfront-named", 9.40),  # a web ACL, four rules, a secret
        ("apigw", 0.60),  # six alarms beyond the free tier
        ("snapstart", 3.95),
        ("managed", 226.06),
        ("full", 1.80),  # a key, and eight alarms beyond the free tier
        ("cognito", 0.0),
    ],
)
def test_options_beyond_the_defaults_have_an_idle_price(
    variant: str, usd: float, variants: dict[str, Templates]
) -> None:
    assert idle.total(idle.lines(_resources(variants[variant]))) == pytest.approx(usd, abs=0.005)


def test_a_resource_without_a_price_is_refused() -> None:
    with pytest.raises(UnpricedError, match="AWS::EC2::NatGateway: the price is unknown"):
        idle.lines([{"Type": "AWS::EC2::NatGateway"}])


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "cost.md").read_text(encoding="utf-8")
    assert "$ make cost TURNS=1e6 SECONDS=8 MEMORY=1024" in page
    assert estimate.main(["--turns", "1e6", "--seconds", "8", "--memory", "1024", "--mode", "lambda"]) == 0
    printed = capsys.readouterr().out
    for what in ("compute", "log", "requests"):
        shown = re.search(rf"^\| {what} \| ([\d.]+) \|$", page, re.MULTILINE)
        assert shown is not None
        assert re.search(rf"\$ +{shown[1]}  {what}: ", printed)


def test_the_bill_for_a_million_turns_of_eight_seconds_at_1_gb() -> None:
    charges = {
        charge.what: charge.usd for charge in estimate.bill(Load(turns=1e6, seconds=8, memory_mb=1024, mode="lambda"))
    }
    expected = {
        "requests": 0.2,
        "compute": 106.67,
        "table, writes": 17.5,
        "table, reads": 2.5,
        "log": 1.0,
        "custom metrics": 4.2,
    }
    assert charges == pytest.approx(expected, abs=0.01)


def test_there_are_at_least_three_managed_instances_and_more_as_peak_load_grows() -> None:
    assert estimate.instances(Load(turns=1, seconds=8, memory_mb=2048, mode="managed")) == 3
    assert estimate.instances(Load(turns=1e8, seconds=8, memory_mb=2048, mode="managed")) == 46


def test_managed_instances_are_cheaper_only_at_high_load() -> None:
    def usd(turns: float, mode: str) -> float:
        return sum(charge.usd for charge in estimate.bill(Load(turns=turns, seconds=8, memory_mb=2048, mode=mode)))

    assert usd(1e5, "lambda") < usd(1e5, "managed")
    assert usd(1e7, "managed") < usd(1e7, "lambda")


def test_the_command_prices_the_templates_that_make_template_wrote(
    templates: Templates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, template in templates.items():
        (tmp_path / f"{name}.template.json").write_text(json.dumps(template), encoding="utf-8")
    assert estimate.main(["--idle", "--templates", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "$    0.00  a month when idle" in printed
    assert "`snapstart: true` at 1024 MB: $3.95 a month for the snapshot, $0.14 for 1,000 cold starts" in printed


def test_snapstart_is_priced_by_the_memory_of_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate.main(["--turns", "1e6", "--memory", "2048"]) == 0
    assert "at 2048 MB: $7.91 a month for the snapshot, $0.28 for" in capsys.readouterr().out
    assert estimate.main(["--turns", "1e6", "--mode", "managed"]) == 0
    assert "snapstart" not in capsys.readouterr().out, "managed instances have no SnapStart"


def test_without_templates_the_command_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate.main(["--idle", "--templates", str(tmp_path)]) == 1
    assert "run `make template` first" in capsys.readouterr().err


def test_the_command_prints_a_bill(capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate.main(["--turns", "1e6", "--mode", "managed"]) == 0
    out = capsys.readouterr().out
    assert "3 m8g.large" in out
    assert out.count(f", {prices.AS_OF}") == out.count(" x $"), "each line cites its page and date"
    assert "Lambda's fee" in out
