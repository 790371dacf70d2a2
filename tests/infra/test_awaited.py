"""infra/awaited.py: what the function cannot do yet is refused in words, never deployed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import app, template
from infra.awaited import AWAITED, Awaited, refuse_awaited
from infra.config import StageConfig
from infra.errors import ConfigError

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
ASKS: list[Mapping[str, Any]] = [
    {"auth": {"guest": {}}},
    {"models": ["gpt-5"]},
    {"quotas": {"stage_tokens_per_day": 1_000_000}},
    {"front_door": "cloudfront"},
    {"front_door": "cloudfront", "origin_access": "iam"},
    {"front_door": "apigw", "cors_origins": ["https://www.example.org"]},
]


def _config(knobs: Mapping[str, Any]) -> StageConfig:
    return StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **knobs}}})


@pytest.mark.parametrize(("one", "knobs"), list(zip(AWAITED, ASKS, strict=True)))
def test_each_is_refused_when_it_is_asked_for_and_only_then(one: Awaited, knobs: Mapping[str, Any]) -> None:
    refuse_awaited(_config({}))
    with pytest.raises(ConfigError) as caught:
        refuse_awaited(_config(knobs))
    assert caught.value.faults == [f"stages.dev.{one.sentence}"]


def test_all_that_is_asked_for_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_awaited(_config({"models": ["gpt-5"], "quotas": {}}))
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("command", ["app", "template"])
def test_no_command_gets_past_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": {"guest": {}}}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(template, "refresh_committed", lambda: None)
    code = app.main({"PATH": ""}) if command == "app" else template.main([], {"PATH": ""})
    assert code == 1
    assert "stages.dev.auth.guest: the function mints no guest tokens yet" in capsys.readouterr().err
