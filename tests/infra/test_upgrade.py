"""A newer release over an older one replaces neither data nor address, and knobs of the older are still read.

tests/infra/released.json is what the last release was: it changes with a release and never with a change.
"""

import json
from pathlib import Path

import pytest

from infra import released, template
from infra.config import StageConfig
from tests.infra.conftest import Templates

RELEASED = json.loads(Path(__file__).with_name("released.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RELEASED["identities"])
def test_nothing_that_data_or_people_depend_on_is_replaced(
    name: str, templates: Templates, variants: dict[str, Templates]
) -> None:
    now = released.identities(template.merge(templates if name == "reference" else variants[name]))
    assert released.replaced(RELEASED["identities"][name], now) == []


def test_a_stage_of_the_last_release_is_still_read() -> None:
    for stage in RELEASED["stages"]:
        StageConfig.from_context({"stage": stage, "stages": RELEASED["stages"]})


def test_a_table_with_another_key_would_be_seen() -> None:
    before = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "KeySchema": ["pk"]}}
    after = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "KeySchema": ["id"]}}
    assert released.replaced(before, after) == [
        "Table (AWS::DynamoDB::GlobalTable) would be replaced: KeySchema changed"
    ]
    assert released.replaced(before, {}) == ["Table (AWS::DynamoDB::GlobalTable) is gone"]
