"""infra/app.py: the stacks of a stage, their names and tags, and errors in cdk.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra import app
from infra.commands import template
from infra.errors import ConfigError
from infra.stage.config import read_context
from tests.infra.conftest import Templates


def test_a_stage_is_a_data_stack_and_an_api_stack_with_the_stage_in_their_names(templates: Templates) -> None:
    assert list(templates) == ["chatkit-reference-data", "chatkit-reference-api"]


def test_two_stages_share_no_stack(templates: Templates, dev_templates: Templates) -> None:
    assert not templates.keys() & dev_templates.keys()


def test_every_taggable_resource_is_tagged_with_its_project_and_stage(templates: Templates) -> None:
    tags = [{"Key": "project", "Value": "chatkit-lambda"}, {"Key": "stage", "Value": "reference"}]
    taggable = ["AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::IAM::Role", "AWS::Logs::LogGroup"]
    resources = [r for template in templates.values() for r in template["Resources"].values()]
    tags_by_type = {r["Type"]: r["Properties"].get("Tags") for r in resources if r["Type"] in taggable}
    assert tags_by_type == dict.fromkeys(taggable, tags)


def test_the_stacks_themselves_are_tagged_too(context: dict[str, Any], tmp_path: Path) -> None:
    template.synthesize(context, outdir=tmp_path)
    artifacts = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["artifacts"].values()
    stacks = [artifact["properties"] for artifact in artifacts if artifact["type"] == "aws:cloudformation:stack"]
    assert [stack.get("tags") for stack in stacks] == [{"project": "chatkit-lambda", "stage": "reference"}] * 2


def test_the_data_stack_does_not_mention_the_api_stack(templates: Templates) -> None:
    assert "chatkit-reference-api" not in json.dumps(templates["chatkit-reference-data"])


def test_no_cloudformation_export_blocks_changes_to_the_data_stack(templates: Templates) -> None:
    assert "Fn::ImportValue" not in json.dumps(templates["chatkit-reference-api"])
    assert not [o for o in templates["chatkit-reference-data"]["Outputs"].values() if "Export" in o]


@pytest.mark.parametrize("text", ["", "[]", '{"context": []}', "{"])
def test_a_malformed_cdk_json_raises_a_config_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cdk.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_context(file)


def test_a_missing_cdk_json_raises_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_context(tmp_path / "cdk.json")


def test_an_invalid_context_ends_the_app_with_one_message_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context: dict[str, Any] = {"stage": "dev", "stages": {"dev": {}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert app.main({"PATH": ""}) == 1
    assert capsys.readouterr().err.startswith("The context in cdk.json is wrong:\n  stages.dev.auth is missing")
