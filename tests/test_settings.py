"""Settings: the environment is read once, and one message reports every invalid variable."""

from dataclasses import fields

import pytest

from lambda_src.errors import SettingsError
from lambda_src.settings import Settings

ENV = {"CHAT_TABLE": "t", "CHAT_AUTH_ISSUER": "https://issuer.test/", "CHAT_AUTH_AUDIENCE": "chat"}


def test_the_required_settings_are_enough() -> None:
    settings = Settings.from_env({**ENV, "PATH": "/bin"})
    assert (settings.table, settings.store, settings.model_key_parameter) == ("t", "dynamodb", None)


def test_an_empty_environment_names_every_missing_setting_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({})
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "CHAT_TABLE",
        "CHAT_AUTH_ISSUER",
        "CHAT_AUTH_AUDIENCE",
    ]
    assert all(fault in str(caught.value) for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAT_TABLE", " "),
        ("CHAT_STORE", "redis"),
        ("CHAT_STORE", "postgres"),
        ("CHAT_RETENTION_DAYS", "-1"),
        ("CHAT_AUTH_ISSUER", "http://issuer.test/"),
        ("CHAT_AUTH_ISSUER", "https://issuer .test/"),
        ("CHAT_AUTH_AUDIENCE", ""),
        ("CHAT_MAX_BODY_BYTES", "-1"),
        ("CHAT_MODEL_FILES", "image,video"),
        ("CHAT_MODEL_FILES", "none,image"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "https://images.example.com"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "*"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "*.com"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "images.example.com/a"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "images.example.com;script-src"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "images.*.com"),
        ("CHAT_ALLOWED_IMAGE_DOMAINS", "Images.example.com"),
        ("CHAT_HISTORY_ITEMS", "0"),
        ("CHAT_HISTORY_ITEMS", "101"),
        ("CHAT_MAX_BODY_BYTES", "0"),
        ("CHAT_MAX_BODY_BYTES", "1e6"),
        ("CHAT_HISTORY_ITEMS", "²"),
        ("CHAT_HISTROY_ITEMS", "5"),
        ("CHAT_USAGE", "yes"),
        ("CHAT_EVENTS_TOPIC", "events"),
        ("CHAT_EVENTS_TOPIC", "arn:aws:sqs:us-east-1:123456789012:events"),
        ("CHAT_QUOTAS", "many"),
        ("CHAT_QUOTAS", "[1]"),
        ("CHAT_QUOTAS", '{"messages_per_day": "many"}'),
        ("CHAT_QUOTAS", '{"messages_per_day": true}'),
        ("CHAT_QUOTAS", '{"messages_a_day": 5}'),
        ("CHAT_QUOTAS", '{"stage_tokens_per_day": -1}'),
        ("CHAT_PAGE", "Shop"),
        ("CHAT_PAGE", '{"titel": "Shop"}'),
        ("CHAT_PAGE", '{"title": 1}'),
        ("CHAT_PAGE", '{"languages": "de"}'),
        ("CHAT_PAGE", '{"languages": [1]}'),
        ("CHAT_PAGE", '{"prompts": ["hello"]}'),
        ("CHAT_PAGE", '{"prompts": [{"label": "a", "prompt": " "}]}'),
        ("CHAT_PAGE", '{"labels": [{"name": "large"}]}'),
        ("CHAT_PAGE", '{"logo": "../secret.png"}'),
        ("CHAT_GUEST_QUOTAS", '{"messages_per_day": "few"}'),
        ("CHAT_GUEST_QUOTAS", '{"tokens_percent": 0}'),
        ("CHAT_GUEST_QUOTAS", '{"tokens_percent": 101}'),
        ("CHAT_GUEST_QUOTAS", '{"turn_tokens": 63}'),
        ("CHAT_TOOL_ACTIVITY", "on"),
        ("CHAT_TOKEN_HEADER", "X-Token"),
        ("CHAT_TOKEN_HEADER", "x token"),
        ("CHAT_ORIGIN_SECRETS", "arn:1,,arn:2"),
        ("CHAT_CORS_ORIGINS", "*"),
        ("CHAT_CORS_ORIGINS", "null"),
        ("CHAT_CORS_ORIGINS", "https://a.test,null"),
        ("CHAT_CORS_ORIGINS", "https://*.a.test"),
        ("CHAT_CORS_ORIGINS", "https://a.test/"),
        ("CHAT_CORS_ORIGINS", "http://a.test"),
        ("CHAT_CORS_ORIGINS", "http://localhost.a.test"),
        ("CHAT_CORS_ORIGINS", "https://A.test"),
        ("CHAT_AUTH_PUBLIC_KEYS", "{}"),
        ("CHAT_AUTH_PUBLIC_KEYS", "[]"),
        ("CHAT_AUTH_PUBLIC_KEYS", "[1]"),
        ("CHAT_AUTH_PUBLIC_KEYS", "no JSON"),
        ("CHAT_AUTH_PUBLIC_KEYS", '[{"kty": "OKP", "d": "AAAA"}]'),
        ("CHAT_AUTH_PUBLIC_KEYS", '[{"kty": "oct", "k": "AAAA"}]'),
    ],
)
def test_a_malformed_or_unknown_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**ENV, name: value})


def test_a_misspelled_setting_gets_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="CHAT_HISTROY_ITEMS is not a setting; did you mean CHAT_HISTORY_ITEMS"):
        Settings.from_env({**ENV, "CHAT_HISTROY_ITEMS": "20"})
    with pytest.raises(SettingsError, match="CHAT_ZZZ is not a setting; known are CHAT_TABLE, "):
        Settings.from_env({**ENV, "CHAT_ZZZ": "20"})


def test_lists_are_separated_by_commas() -> None:
    origins = "https://a.test, http://localhost:5173"
    settings = Settings.from_env({**ENV, "CHAT_CORS_ORIGINS": origins, "CHAT_ORIGIN_SECRETS": "arn:2,arn:1"})
    assert settings.cors_origins == ("https://a.test", "http://localhost:5173")
    assert settings.origin_secrets == ("arn:2", "arn:1")


@pytest.mark.parametrize(
    ("value", "accepted"), [("none", ()), ("pdf", ("pdf",)), ("pdf, image", ("image", "pdf")), (None, ("image", "pdf"))]
)
def test_a_model_accepts_the_configured_files(value: str | None, accepted: tuple[str, ...]) -> None:
    env = ENV if value is None else {**ENV, "CHAT_MODEL_FILES": value}
    assert Settings.from_env(env).model_files == accepted


def test_every_setting_has_a_description() -> None:
    assert all(setting.metadata["doc"].endswith(".") for setting in fields(Settings))


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({"CHAT_GUEST_SECRET": "arn"}, None),
        ({"CHAT_AUTH_PUBLIC_KEYS": "[{}]", "CHAT_AUTH_AUDIENCE": "chat"}, None),
        ({"CHAT_AUTH_PUBLIC_KEYS": "[{}]"}, "CHAT_AUTH_AUDIENCE"),
        ({"CHAT_AUTH_ISSUER": "https://i.test/"}, "CHAT_AUTH_AUDIENCE"),
        ({"CHAT_GUEST_SECRET": "arn", "CHAT_AUTH_ISSUER": "https://i.test/"}, "CHAT_AUTH_AUDIENCE"),
        ({"CHAT_AUTH_AUDIENCE": "chat"}, "CHAT_AUTH_ISSUER"),
    ],
    ids=str,
)
def test_at_least_one_sign_in_method_is_required(env: dict[str, str], missing: str | None) -> None:
    if missing is None:
        Settings.from_env({"CHAT_TABLE": "t", **env})
    else:
        with pytest.raises(SettingsError, match=missing):
            Settings.from_env({"CHAT_TABLE": "t", **env})


def test_usage_is_counted_on_the_table_only() -> None:
    postgres = {**ENV, "CHAT_STORE": "postgres", "CHAT_DATABASE_URL": "postgresql://h/d"}
    with pytest.raises(SettingsError, match="CHAT_USAGE=true needs CHAT_STORE=dynamodb"):
        Settings.from_env({**postgres, "CHAT_USAGE": "true"})
    operators = '{"claim": "groups", "value": "support"}'
    assert not Settings.from_env({**postgres, "CHAT_OPERATORS": operators}).counts_usage


@pytest.mark.parametrize(
    ("env", "counts"),
    [({}, False), ({"CHAT_USAGE": "true"}, True), ({"CHAT_OPERATORS": '{"claim": "c", "value": "v"}'}, True)],
)
def test_usage_is_counted_if_it_is_chosen_or_if_there_are_operators(env: dict[str, str], counts: bool) -> None:
    assert Settings.from_env({**ENV, **env}).counts_usage == counts
