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
ASKS: list[Mapping[str, Any]] = [{"models": ["gpt-5"]}]


def _config(knobs: Mapping[str, Any]) -> StageConfig:
    return StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **knobs}}})


@pytest.mark.parametrize(("one", "knobs"), list(zip(AWAITED, ASKS, strict=True)))
def test_each_is_refused_when_it_is_asked_for_and_only_then(one: Awaited, knobs: Mapping[str, Any]) -> None:
    refuse_awaited(_config({}))
    with pytest.raises(ConfigError) as caught:
        refuse_awaited(_config(knobs))
    assert caught.value.faults == [f"stages.dev.{one.sentence}"]


@pytest.mark.parametrize("command", ["app", "template"])
def test_no_command_gets_past_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": AUTH, "models": ["gpt-5"]}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(template, "refresh_committed", lambda: None)
    code = app.main({"PATH": ""}) if command == "app" else template.main([], {"PATH": ""})
    assert code == 1
    assert "stages.dev.models: the function holds no list of models yet" in capsys.readouterr().err
