"""infra/template.py: the committed template is what this code makes, and a change to it is said in words."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra import template
from tests.infra.conftest import REFERENCE, Templates

COMMITTED = Path(__file__).parents[1] / "template.json"


def test_the_committed_template_is_fresh(templates: Templates) -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert template.merge(templates) == committed, "run `make template` and commit tests/template.json"


def test_the_command_reads_the_reference_that_the_tests_read() -> None:
    root = Path(__file__).parents[2]
    assert (root / template.REFERENCE, root / template.COMMITTED) == (REFERENCE, COMMITTED)


def test_a_template_does_not_change_with_the_code(
    context: dict[str, Any], templates: Templates, tmp_path: Path
) -> None:
    assert template.synthesize(context, outdir=tmp_path) == templates


def test_no_resource_is_lost_when_stacks_are_merged(templates: Templates) -> None:
    count = sum(len(t["Resources"]) for t in templates.values())
    assert len(template.merge(templates)["Resources"]) == count


def test_stacks_that_share_a_name_cannot_be_merged() -> None:
    stack = {"Resources": {"Table": {"Type": "T"}}, "Outputs": {}}
    with pytest.raises(ValueError, match="Table"):
        template.merge({"one": stack, "two": stack})


def test_changes_are_told_by_resource() -> None:
    old = {"Resources": {"A": {"Type": "T", "Properties": 1}, "B": {"Type": "T"}}, "Outputs": {"O": {"Value": 1}}}
    new = {"Resources": {"A": {"Type": "T", "Properties": 2}, "C": {"Type": "T"}}, "Outputs": {"O": {"Value": 1}}}
    assert template.changes(old, new) == ["changed  A (T)", "removed  B (T)", "added    C (T)"]


def test_refreshing_an_unchanged_template_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = {"Resources": {"A": {"Type": "T"}}, "Outputs": {}}
    template.refresh(tmp_path / "template.json", new)
    assert "1 changes" in capsys.readouterr().out
    template.refresh(tmp_path / "template.json", new)
    assert "unchanged" in capsys.readouterr().out
