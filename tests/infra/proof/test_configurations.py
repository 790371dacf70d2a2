"""infra/proof/configurations.py: every configuration is one that can be deployed, asks for rows that exist, and has
its price."""

from typing import Any

import pytest

from infra.proof import configurations
from infra.proof.configurations import CONFIGURATIONS, Configuration, Place
from infra.stage.config import StageConfig
from lambda_src.dev.verify.__main__ import CHECKS
from tests.infra.stubbed_account import ACCOUNT, REGION

MANAGED = configurations.managed(["subnet-0a1b2c3d"], ["sg-0a1b2c3d"])
HERE = Place(account=ACCOUNT, region=REGION)
ALL = [*CONFIGURATIONS, MANAGED]


def _row(name: str, outcome: str = "ok") -> dict[str, Any]:
    return {"name": name, "outcome": outcome, "what": "it is so", "figures": {}}


@pytest.mark.parametrize("configuration", ALL, ids=lambda one: one.name)
def test_a_configuration_is_a_stage_that_goes_with_its_stacks(configuration: Configuration) -> None:
    config = StageConfig.from_context(configurations.context({}, configuration, HERE))
    assert (config.stage, config.disposable, config.demo_model) == ("proof", True, True)


def test_a_stage_of_that_name_that_a_person_deploys_keeps_its_data() -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    assert not StageConfig.from_context({"stage": "proof", "stages": {"proof": {"auth": auth}}}).disposable


@pytest.mark.parametrize("configuration", ALL, ids=lambda one: one.name)
def test_a_configuration_asks_for_rows_that_there_are(configuration: Configuration) -> None:
    assert {*configuration.rows, *configuration.extra} <= CHECKS.keys()


def test_the_key_stays_once_it_encrypts_the_table() -> None:
    keys = [one.options.get("kms", "aws") for one in ALL]
    assert keys == sorted(keys), "a table whose key is about to be deleted cannot be used"


def test_the_deadline_is_asked_for_an_answer_that_is_longer() -> None:
    assert ["--only", "deadline", "--timeout", "30", "--prompt", "Count to 2000."] in configurations.rows_of(
        CONFIGURATIONS[0]
    )


def test_rows_of_another_configuration_begin_with_its_name() -> None:
    cloudfront = next(one for one in CONFIGURATIONS if one.name == "CloudFront")
    assert [row["name"] for row in configurations.merged(cloudfront, [[_row("Stop")]])] == ["CloudFront: Stop"]
    assert [row["name"] for row in configurations.merged(CONFIGURATIONS[0], [[_row("Stop")]])] == ["Stop"]


def test_a_row_that_a_later_run_fills_takes_the_place_of_the_empty_one() -> None:
    runs = [[_row("deadline", "not seen"), _row("unknown: freeze", "seen")], [_row("deadline")]]
    runs[1].append(_row("unknown: freeze", "not seen"))
    outcomes = {row["name"]: row["outcome"] for row in configurations.merged(CONFIGURATIONS[0], runs)}
    assert outcomes == {"deadline": "ok", "unknown: freeze": "seen"}


def test_the_estimate_counts_what_stands_there_by_the_hour() -> None:
    key = [{"Type": "AWS::KMS::Key", "Properties": {}}]
    nothing, one = configurations.estimate([[]]), configurations.estimate([key])
    assert nothing.usd_a_day == 0
    assert one.usd_a_day == pytest.approx(24 / 730)
    assert one.usd - nothing.usd == pytest.approx(configurations.KEPT_H / 730)
    assert 0 < nothing.usd < 0.1
