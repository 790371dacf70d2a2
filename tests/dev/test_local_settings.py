"""lambda_src/dev/local_settings.py: local settings, which may use a model on this machine over plain HTTP."""

import pytest

from lambda_src.dev.local_settings import local_key, local_run_config, local_settings
from lambda_src.errors import SettingsError
from lambda_src.settings import Settings

ENV = {"CHAT_TABLE": "chat"}


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://127.0.0.1:8080", "http://[::1]:1234/v1"])
def test_a_model_on_this_machine_needs_neither_https_nor_a_key(url: str) -> None:
    settings = local_settings({**ENV, "CHAT_MODEL_BASE_URL": url})
    assert settings.model_base_url == url
    assert local_key(settings, {})
    assert local_run_config(settings, {}) is not None
    assert local_key(settings, {"OPENAI_API_KEY": "k"}) == "k"


@pytest.mark.parametrize(
    "url", ["http://models.example", "http://localhost.example", "ftp://localhost", "localhost", ""]
)
def test_any_other_model_url_must_be_https(url: str) -> None:
    with pytest.raises(SettingsError, match="CHAT_MODEL_BASE_URL must be an https"):
        local_settings({**ENV, "CHAT_MODEL_BASE_URL": url})


def test_a_deployed_stage_refuses_a_model_over_http() -> None:
    with pytest.raises(SettingsError, match="CHAT_MODEL_BASE_URL must be an https"):
        Settings.from_env({**ENV, "CHAT_GUEST_SECRET": "arn", "CHAT_MODEL_BASE_URL": "http://localhost:11434/v1"})


def test_without_a_key_and_a_model_url_the_demo_model_is_used() -> None:
    assert local_key(local_settings(ENV), {}) is None
    assert local_run_config(local_settings(ENV), {}) is None
    remote = local_settings({**ENV, "CHAT_MODEL_BASE_URL": "https://models.example"})
    assert local_key(remote, {}) is None


def test_other_errors_are_reported_also_with_a_model_on_this_machine() -> None:
    with pytest.raises(SettingsError, match="CHAT_HISTORY_ITEMS"):
        local_settings({**ENV, "CHAT_MODEL_BASE_URL": "http://localhost:1", "CHAT_HISTORY_ITEMS": "0"})
