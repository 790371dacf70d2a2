"""infra/preflight/settings_check.py: settings that the function would refuse at startup fail before deploying."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.commands import deploy
from infra.errors import ConfigError
from infra.preflight.settings_check import stage_of
from tests.infra import template_files
from tests.infra.conftest import VARIANTS

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
JWK = VARIANTS["public-keys"]["auth"]["public_keys"][0]


def _faults(**options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        stage_of({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
    return caught.value.faults


@pytest.mark.parametrize("name", VARIANTS)
def test_every_stage_with_a_committed_template_would_start(name: str, context: dict[str, Any]) -> None:
    assert stage_of(template_files.variant(context, name, VARIANTS[name])).stage == name


def test_an_unknown_setting_suggests_the_nearest_name() -> None:
    assert _faults(settings={"histroy_items": 20}) == [
        "stages.dev.settings.histroy_items is not a setting; did you mean settings.history_items."
    ]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"history_items": "many"}, "settings.history_items must be a whole number from 1 to 100, and is 'many'."),
        ({"tracing": "yes"}, "settings.tracing must be xray, and is 'yes'."),
        ({"tool_activity": "all"}, "settings.tool_activity must be off or names or full, and is 'all'."),
        ({"titles": 1}, "settings.titles must be true or false, and is '1'."),
    ],
)
def test_a_value_that_the_function_would_refuse_is_refused(settings: dict[str, Any], fault: str) -> None:
    assert _faults(settings=settings) == [f"stages.dev.{fault}"]


def test_every_invalid_setting_is_reported_at_once() -> None:
    faults = _faults(settings={"history_items": 0, "max_body_bytes": 0})
    assert [fault.split(" ")[0] for fault in faults] == [
        "stages.dev.settings.max_body_bytes",
        "stages.dev.settings.history_items",
    ]


def test_an_invalid_switch_of_the_runtime_is_refused() -> None:
    """The runtime checks switches before settings, so the deployment would succeed but the stage would be down."""
    assert _faults(settings={"runtime_sigtrm": 1, "runtime_show_errors": "no", "tracing": "yes"}) == [
        "stages.dev.settings.runtime_show_errors must be one of 1, true, on, 0, false, off, and is 'no'.",
        "stages.dev.settings.runtime_sigtrm is not a switch of the runtime; its only switch is "
        "settings.runtime_show_errors.",
        "stages.dev.settings.tracing must be xray, and is 'yes'.",
    ]
    assert stage_of({"stage": "dev", "stages": {"dev": {"auth": AUTH, "settings": {"runtime_show_errors": True}}}})


@pytest.mark.parametrize("broken", [{"x": "a", "y": "b"}, {"crv": "P-384"}, {"kty": "EC2"}])
def test_a_public_key_that_cannot_verify_tokens_is_refused(broken: dict[str, str]) -> None:
    [fault] = _faults(auth={"public_keys": [JWK | broken], "audience": "chat"})
    assert fault.startswith("stages.dev.auth.public_keys must be public JWKs")


def test_an_environment_over_lambdas_limit_is_refused() -> None:
    [fault] = _faults(models=[f"a-model-with-a-very-long-name-{number}-{'x' * 200}" for number in range(20)])
    assert "and Lambda takes 4096: CHAT_MODELS alone has " in fault


def test_make_deploy_reports_invalid_settings_before_any_aws_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": AUTH, "settings": {"tracing": "yes"}}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert deploy.main([], {}) == 1
    assert "settings.tracing must be xray" in capsys.readouterr().err
