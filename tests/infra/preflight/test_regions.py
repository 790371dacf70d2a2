"""infra/preflight/regions.py: options that a region does not support are refused before a deployment."""

from typing import Any

import pytest

from infra.preflight.regions import region_faults
from infra.stage.config import StageConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}


@pytest.mark.parametrize(
    ("region", "options", "fault"),
    [
        ("eu-central-2", {}, "eu-central-2 has no function URLs"),
        ("eu-central-2", {"front_door": "cloudfront"}, "eu-central-2 has no function URLs"),
        ("eu-central-2", {"front_door": "apigw"}, None),
        ("ap-east-2", {"snapstart": True}, "ap-east-2 has no SnapStart"),
        ("ap-east-2", {}, None),
        ("eu-central-1", {"snapstart": True}, None),
        ("cn-north-1", {}, "cn-north-1 belongs to another AWS partition"),
    ],
)
def test_an_option_that_the_region_does_not_support_is_refused(
    region: str, options: dict[str, Any], fault: str | None
) -> None:
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
    faults = list(region_faults(config, region))
    assert len(faults) == (fault is not None)
    assert fault is None or faults[0].startswith(fault)
