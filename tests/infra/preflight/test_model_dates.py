"""infra/preflight/model_dates.py: `make deploy` refuses new stages with a model in its last week, and warns others."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.preflight.account import Account
from infra.preflight.model_dates import is_new, model_faults
from infra.stage.config import StageConfig
from tests.fakes.secret_apis import models_api, ssm_with
from tests.infra.stubbed_account import ACCOUNT, REGION, Stubs

ROOT = Path(__file__).parents[3]
KEY = "sk-test"
STAGE = {"auth": {"issuer": "https://login.example.org/", "audience": "chat"}, "models": ["mine"]}


@pytest.mark.parametrize(
    ("status", "new"),
    [(None, True), ("REVIEW_IN_PROGRESS", True), ("CREATE_FAILED", False), ("UPDATE_COMPLETE", False)],
)
def test_a_stage_is_new_until_its_stack_is_created(status: str | None, new: bool) -> None:
    stubs = Stubs()
    stubs.stack(status)
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": STAGE}})
    assert is_new(config, Account(ACCOUNT, REGION, clients=stubs.client)) is new
    stubs.assert_all_called()


@pytest.mark.parametrize(  # the variants of a date and of its absence: tests/cli/test_retirement.py
    ("status", "days", "faults", "printed"),
    [(None, 3, 1, False), ("UPDATE_COMPLETE", 3, 0, True), (None, 50, 0, True)],
)
def test_a_model_in_its_last_week_blocks_only_a_new_stage(
    status: str | None,
    days: int,
    faults: int,
    printed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    day = str(datetime.now(UTC).date() + timedelta(days=days))
    stubs = Stubs()
    stubs.stack(status)
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": STAGE}})
    listed = [{"id": "mine", "shutdown_date": day}]
    with models_api(good=KEY, listed=listed) as url, ssm_with({"/chatkit/dev/model-key": KEY}) as ssm:
        stages = {"dev": {**STAGE, "settings": {"model_base_url": url}}}
        Path("cdk.json").write_text(json.dumps({"context": {"stages": stages}}), encoding="utf-8")
        aws = {"AWS_ENDPOINT_URL": ssm, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        environ = {**os.environ, **aws, "PYTHONPATH": str(ROOT)}
        messages = model_faults(config, Account(ACCOUNT, REGION, clients=stubs.client), environ)
    out = capsys.readouterr().out
    assert len(messages) == faults, messages
    assert all(f"mine on {day}" in message for message in messages)
    assert (f"warning: The vendor shuts down the model mine on {day}" in out) is printed
    stubs.assert_all_called()
