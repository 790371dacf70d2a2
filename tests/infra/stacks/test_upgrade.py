"""Upgrades: deploying over the last release replaces no data and no URL, and the last release's options are still read.

tests/infra/released.json describes the last release: only a release changes it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.stage.config import StageConfig
from tests.infra import releases, template_files
from tests.infra.conftest import Templates

RELEASED = json.loads((Path(__file__).parents[1] / "released.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RELEASED["identities"])
def test_no_data_and_no_url_is_replaced(name: str, templates: Templates, variants: dict[str, Templates]) -> None:
    now = releases.identities(template_files.merge(templates if name == "reference" else variants[name]))
    assert releases.replaced(RELEASED["identities"][name], now) == []


def test_a_stage_of_the_last_release_can_still_be_parsed() -> None:
    for stage in RELEASED["stages"]:
        StageConfig.from_context({"stage": stage, "stages": RELEASED["stages"]})


def test_a_changed_or_missing_table_is_reported() -> None:
    before = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "KeySchema": ["pk"]}}
    after = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "KeySchema": ["id"]}}
    assert releases.replaced(before, after) == [
        "Table (AWS::DynamoDB::GlobalTable) would be replaced: KeySchema changed"
    ]
    assert releases.replaced(before, {}) == ["Table (AWS::DynamoDB::GlobalTable) is gone"]


def _changed(replacement: str, *causes: str, action: str = "Modify", evaluation: str = "Dynamic") -> dict[str, Any]:
    details = [
        {"Target": {"RequiresRecreation": "Always"}, "Evaluation": evaluation, "CausingEntity": cause}
        for cause in causes
    ]
    return {"Action": action, "Replacement": replacement, "Details": details}


@pytest.mark.parametrize(
    ("changes", "replaced"),
    [
        ({"Table": _changed("True")}, {"Table"}),
        ({"Table": _changed("False")}, set()),
        ({"Table": _changed("False", action="Remove")}, {"Table"}),
        ({"Url": _changed("Conditional", "Function.Arn"), "Function": _changed("False")}, set()),
        ({"Url": _changed("Conditional", "Function.Arn"), "Function": _changed("True")}, {"Url", "Function"}),
        ({"Url": _changed("Conditional", "Function.Arn")}, set()),
        ({"Url": _changed("Conditional", "Stage", evaluation="Static")}, {"Url"}),
    ],
)
def test_a_conditional_replacement_depends_on_the_resource_that_causes_it(
    changes: dict[str, Any], replaced: set[str]
) -> None:
    assert releases.replaced_by(changes) == replaced
