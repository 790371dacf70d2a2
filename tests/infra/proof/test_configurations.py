"""infra/proof/configurations.py: the configurations that `make prove` deploys are valid, verified by existing checks,
and priced."""

from typing import Any

import pytest

from infra.proof import configurations
from infra.proof.configurations import CONFIGURATIONS, Configuration, Place
from infra.stage.config import StageConfig
from lambda_src.dev.verify.__main__ import CHECKS
from tests.infra.stubbed_account import ACCOUNT, REGION

MANAGED = configurations.managed(["subnet-0a1b2c3d"], ["sg-0a1b2c3d"])
PLACE = Place(account=ACCOUNT, region=REGION)
ALL = [*CONFIGURATIONS, MANAGED]


def _row(name: str, outcome: str = "ok") -> dict[str, Any]:
    return {"name": name, "outcome": outcome, "what": "it is so", "figures": {}}


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.name)
def test_a_configuration_is_a_stage_whose_data_is_deleted_with_its_stacks(configuration: Configuration) -> None:
    config = StageConfig.from_context(configurations.context({}, configuration, PLACE))
    assert (config.stage, config.disposable, config.demo_model) == ("proof", True, True)


def test_a_users_own_stage_named_proof_keeps_its_data() -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    assert not StageConfig.from_context({"stage": "proof", "stages": {"proof": {"auth": auth}}}).disposable


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.name)
def test_a_configuration_names_only_checks_that_exist(configuration: Configuration) -> None:
    assert {*configuration.rows, *configuration.extra} <= CHECKS.keys()


def test_no_configuration_removes_the_kms_key_of_the_table() -> None:
    keys = [configuration.options.get("kms", "aws") for configuration in ALL]
    assert keys == sorted(keys), "a table is unusable once its key is scheduled for deletion"


def test_the_deadline_check_asks_for_an_answer_that_takes_longer_than_the_timeout() -> None:
    assert ["--only", "deadline", "--timeout", "30", "--prompt", "Count to 2000."] in configurations.rows_of(
        CONFIGURATIONS[0]
    )


def test_rows_are_prefixed_with_their_configuration_except_for_the_first() -> None:
    cloudfront = next(configuration for configuration in CONFIGURATIONS if configuration.name == "CloudFront")
    assert [row["name"] for row in configurations.merged(cloudfront, [[_row("Stop")]])] == ["CloudFront: Stop"]
    assert [row["name"] for row in configurations.merged(CONFIGURATIONS[0], [[_row("Stop")]])] == ["Stop"]


def test_a_row_that_a_later_run_fills_replaces_an_empty_row() -> None:
    runs = [[_row("deadline", "not seen"), _row("unknown: freeze", "seen")], [_row("deadline")]]
    runs[1].append(_row("unknown: freeze", "not seen"))
    outcomes = {row["name"]: row["outcome"] for row in configurations.merged(CONFIGURATIONS[0], runs)}
    assert outcomes == {"deadline": "ok", "unknown: freeze": "seen"}


def test_the_estimate_includes_the_hourly_price_of_resources() -> None:
    key = [{"Type": "AWS::KMS::Key", "Properties": {}}]
    empty, with_key = configurations.estimate([[]]), configurations.estimate([key])
    assert empty.usd_a_day == 0
    assert with_key.usd_a_day == pytest.approx(24 / 730)
    assert with_key.usd - empty.usd == pytest.approx(configurations.KEPT_H / 730)
    assert 0 < empty.usd < 0.1
