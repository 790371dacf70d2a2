"""infra/commands/destroy.py: which stacks are deleted, in which order, and what remains with commands to remove it."""

from typing import Any

import pytest

from infra.commands.destroy import main, remaining_resources, stacks_to_delete
from infra.stage.config import StageConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}


def _config(stage: str, **options: Any) -> StageConfig:
    return StageConfig.from_context({"stage": stage, "stages": {stage: {"auth": AUTH, **options}}})


def test_the_data_stack_is_deleted_only_on_request() -> None:
    assert stacks_to_delete(_config("staging"), data=False) == ["chatkit-staging-api"]
    assert stacks_to_delete(_config("staging"), data=True) == ["chatkit-staging-api", "chatkit-staging-data"]


def test_the_edge_stack_is_deleted_after_the_api_stack_that_uses_it() -> None:
    edged = _config("staging", front_door="cloudfront", waf=True, account="123456789012", region="eu-central-1")
    assert stacks_to_delete(edged, data=False) == ["chatkit-staging-api", "chatkit-staging-edge"]


def test_outside_dev_the_data_outlives_its_stack_and_the_commands_to_remove_it_are_listed() -> None:
    lines = "\n".join(remaining_resources(_config("staging", kms="cmk", region="eu-central-1"), data=True))
    for command in (
        "aws dynamodb delete-table",
        "aws s3 rb",
        "aws kms schedule-key-deletion",
        "aws logs delete-log-group",
    ):
        assert command in lines


def test_of_stage_dev_only_the_model_key_and_the_cdk_toolkit_remain() -> None:
    assert remaining_resources(_config("dev"), data=True) == [
        "the model's key, if it was set: aws ssm delete-parameter --name /chatkit/dev/model-key",
        "CDK's own bucket and roles, which other apps may use: stack CDKToolkit",
    ]


def test_a_data_stack_that_remains_is_listed_with_the_make_command_to_delete_it() -> None:
    assert remaining_resources(_config("staging"), data=False)[0] == (
        "stack chatkit-staging-data with every thread and file: make destroy STAGE=staging DATA=1"
    )


def test_the_stage_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--stage" in capsys.readouterr().err
