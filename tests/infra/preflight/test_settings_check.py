"""infra/preflight/settings_check.py: what the function would refuse at its first start is refused before anything is
deployed."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.commands import deploy, template
from infra.errors import ConfigError
from infra.preflight.settings_check import stage_of
from tests.infra.conftest import VARIANTS

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
JWK = VARIANTS["public-keys"]["auth"]["public_keys"][0]


def _faults(**options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        stage_of({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
    return caught.value.faults


@pytest.mark.parametrize("name", VARIANTS)
def test_every_stage_whose_template_is_committed_would_start(name: str, context: dict[str, Any]) -> None:
    assert stage_of(template.variant(context, name, VARIANTS[name])).stage == name


def test_a_setting_that_does_not_exist_suggests_the_one_that_was_meant() -> None:
    assert _faults(settings={"histroy_items": 20}) == [
        "stages.dev.settings.histroy_items is not a setting; did you mean settings.history_items."
    ]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"history_items": "many"}, "settings.history_items must be a whole number from 1 to 100, and is 'many'."),
        ({"tracing": "yes"}, "settings.tracing must be xray, and is 'yes'."),
        ({"titles": 1}, "settings.titles must be true or false, and is '1'."),
    ],
)
def test_a_setting_is_what_the_function_takes(settings: dict[str, Any], fault: str) -> None:
    assert _faults(settings=settings) == [f"stages.dev.{fault}"]


def test_every_setting_that_is_wrong_is_named_at_once() -> None:
    said = _faults(settings={"history_items": 0, "max_body_bytes": 0})
    assert [fault.split(" ")[0] for fault in said] == [
        "stages.dev.settings.max_body_bytes",
        "stages.dev.settings.history_items",
    ]


def test_a_switch_of_the_runtime_is_one_that_it_takes() -> None:
    """The runtime refuses it before any setting is read: the stage would be down after a deployment that went well."""
    assert _faults(settings={"runtime_sigtrm": 1, "runtime_show_errors": "no", "tracing": "yes"}) == [
        "stages.dev.settings.runtime_show_errors must be one of 1, true, on, 0, false, off, and is 'no'.",
        "stages.dev.settings.runtime_sigtrm is not a switch of the runtime; its only switch is "
        "settings.runtime_show_errors.",
        "stages.dev.settings.tracing must be xray, and is 'yes'.",
    ]
    assert stage_of({"stage": "dev", "stages": {"dev": {"auth": AUTH, "settings": {"runtime_show_errors": True}}}})


@pytest.mark.parametrize("broken", [{"x": "a", "y": "b"}, {"crv": "P-384"}, {"kty": "EC2"}])
def test_a_public_key_is_one_by_which_tokens_can_be_checked(broken: dict[str, str]) -> None:
    [fault] = _faults(auth={"public_keys": [JWK | broken], "audience": "chat"})
    assert fault.startswith("stages.dev.auth.public_keys must be public JWKs")


def test_the_environment_fits_into_lambdas() -> None:
    [fault] = _faults(models=[f"a-model-with-a-very-long-name-{number}-{'x' * 200}" for number in range(20)])
    assert "and Lambda takes 4096: CHAT_MODELS alone has " in fault


def test_make_deploy_says_so_before_it_asks_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = {"stage": "dev", "stages": {"dev": {"auth": AUTH, "settings": {"tracing": "yes"}}}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert deploy.main([], {}) == 1
    assert "settings.tracing must be xray" in capsys.readouterr().err
