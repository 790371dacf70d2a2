"""infra/commands/template.py: the committed templates and docs/reference/configuration.md are up to date."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.commands import template
from infra.errors import ConfigError
from infra.stage.config import StageConfig
from infra.stage.parsers import options_of
from tests.docs import configuration_page
from tests.infra import template_files
from tests.infra.conftest import REFERENCE, VARIANTS, Templates

ROOT = Path(__file__).parents[3]
COMMITTED = Path(__file__).parents[2] / "template.json"
SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def test_the_committed_template_is_up_to_date(templates: Templates) -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert template_files.merge(templates) == committed, "run `make snapshots` and commit tests/template.json"


@pytest.mark.parametrize("name", VARIANTS)
def test_the_snapshot_of_each_variant_is_up_to_date(name: str, variants: dict[str, Templates]) -> None:
    committed = json.loads((SNAPSHOTS / f"{name}.json").read_text(encoding="utf-8"))
    assert template_files.merge(variants[name]) == committed, "run `make snapshots` and commit tests/infra/snapshots/"


def test_there_is_no_snapshot_without_a_variant() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(VARIANTS)


def test_the_configuration_page_is_up_to_date() -> None:
    committed = (ROOT / template_files.CONFIGURATION).read_text(encoding="utf-8")
    assert configuration_page.page() == committed, "run `make snapshots` and commit docs/reference/configuration.md"


@pytest.mark.parametrize("part", [StageConfig, *configuration_page.PARTS.values()], ids=lambda part: part.__name__)
def test_every_default_on_the_configuration_page_can_be_copied(part: type) -> None:
    defaults = [row.rsplit(" | ", 2)[1].strip("`") for row in list(configuration_page.table(part))[2:]]
    for option, default in zip(options_of(part).values(), defaults, strict=True):
        assert default == "required" or option.metadata["parse"](json.loads(default)) == option.default, option.name


@pytest.mark.parametrize("part", [StageConfig, *configuration_page.PARTS.values()], ids=lambda part: part.__name__)
def test_the_configuration_page_says_which_options_accept_null(part: type) -> None:
    for option in options_of(part).values():
        if "null" in option.metadata["takes"]:
            assert option.metadata["parse"](None) is None, option.name
        else:
            with pytest.raises((ValueError, ConfigError)):
                option.metadata["parse"](None)


def test_no_template_holds_a_secret(templates: Templates, variants: dict[str, Templates]) -> None:
    everything = json.dumps([templates, variants])
    assert not re.search(r"sk-[A-Za-z0-9]{8}|AKIA[A-Z0-9]{12}|-----BEGIN|[Pp]assword\": \"", everything)
    assert "{{resolve:secretsmanager:" in everything, "CloudFront's secret must be a reference"


def test_the_command_and_the_tests_use_the_same_files() -> None:
    assert (ROOT / template_files.REFERENCE, ROOT / template_files.COMMITTED) == (REFERENCE, COMMITTED)
    assert ROOT / template_files.SNAPSHOTS == SNAPSHOTS


def test_synthesizing_twice_gives_the_same_template(
    context: dict[str, Any], templates: Templates, tmp_path: Path
) -> None:
    assert template.synthesize(context, outdir=tmp_path) == templates


def test_no_resource_is_lost_when_stacks_are_merged(templates: Templates) -> None:
    count = sum(len(t["Resources"]) for t in templates.values())
    assert len(template_files.merge(templates)["Resources"]) == count


def test_stacks_that_share_a_name_cannot_be_merged() -> None:
    stack = {"Resources": {"Table": {"Type": "T"}}, "Outputs": {}}
    with pytest.raises(ValueError, match="Table"):
        template_files.merge({"one": stack, "two": stack})


def test_changes_are_listed_by_resource() -> None:
    old = {"Resources": {"A": {"Type": "T", "Properties": 1}, "B": {"Type": "T"}}, "Outputs": {"O": {"Value": 1}}}
    new = {"Resources": {"A": {"Type": "T", "Properties": 2}, "C": {"Type": "T"}}, "Outputs": {"O": {"Value": 1}}}
    assert template_files.changes(old, new) == ["changed  A (T)", "removed  B (T)", "added    C (T)"]


def test_refreshing_an_unchanged_template_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = {"Resources": {"A": {"Type": "T"}}, "Outputs": {}}
    template_files.refresh(tmp_path / "template.json", new)
    assert "1 changes" in capsys.readouterr().out
    template_files.refresh(tmp_path / "template.json", new)
    assert capsys.readouterr().out == ""
