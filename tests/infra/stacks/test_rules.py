"""cdk-nag: every finding is fixed, or acknowledged with a reason next to the resource in infra/."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks, NagPack, ServerlessChecks

from infra.app import add_stage
from infra.stage.config import StageConfig
from tests.infra.conftest import VARIANTS
from tests.infra.template_files import variant

PACKS: list[Callable[[App], NagPack]] = [AwsSolutionsChecks, ServerlessChecks]


def _app(context: dict[str, Any], tmp_path: Path) -> App:
    code = tmp_path / "code"
    code.mkdir()
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    add_stage(app, config=StageConfig.from_context(context), code=code, code_hash="none")
    return app


def _findings(pack: NagPack, app: App) -> list[tuple[str, str | None]]:
    violations = pack.validate_scope(app).violations
    return [(v.rule_name, resource.construct_path) for v in violations for resource in v.violating_resources]


@pytest.mark.parametrize("stage", ["reference", "dev", *VARIANTS])
def test_cdk_nag_reports_no_findings(stage: str, context: dict[str, Any], tmp_path: Path) -> None:
    stage_context = variant(context, stage, VARIANTS[stage]) if stage in VARIANTS else context | {"stage": stage}
    app = _app(stage_context, tmp_path)
    assert [finding for pack in PACKS for finding in _findings(pack(app), app)] == []


def test_cdk_nag_reports_a_careless_bucket(context: dict[str, Any], tmp_path: Path) -> None:
    app = _app(context, tmp_path)
    s3.Bucket(Stack(app, "Careless"), "Bucket")
    assert "AwsSolutions-S10" in [rule for rule, _ in _findings(AwsSolutionsChecks(app), app)]
