"""infra/stage/environment.py: a stage's options as the environment variables that the function reads."""

import json
from typing import Any

import pytest

from infra.stage.config import StageConfig
from infra.stage.environment import ResourceNames, variables
from infra.stage.parsers import options_of
from infra.stage.sections import SET_BY_THE_STACK, QuotaConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
NAMES = ResourceNames(table="table", bucket="bucket", issuer="https://login.example.org/", audience="chat")
MINIMUM = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/lambda_src/bootstrap",
    "CHAT_TABLE": "table",
    "CHAT_BUCKET": "bucket",
    "CHAT_AUTH_ISSUER": "https://login.example.org/",
    "CHAT_AUTH_AUDIENCE": "chat",
    "CHAT_MODEL_KEY_PARAMETER": "/chatkit/dev/model-key",
}
JWK = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "k"}


def _variables(**options: Any) -> dict[str, str]:
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
    return variables(config, NAMES)


def test_an_option_that_a_stage_leaves_out_sets_no_variable() -> None:
    assert _variables() == MINIMUM


def test_the_pages_options_are_passed_as_json_without_nulls() -> None:
    passed = json.loads(_variables(page={"title": "Shop"})["CHAT_PAGE"])
    assert passed == {"title": "Shop", "prompts": [], "assistants": [], "labels": [], "languages": []}


def test_every_value_is_passed_as_text() -> None:
    env = _variables(thread_retention_days=365, models=["a", "b"], quotas={"messages_per_day": 50})
    assert env == MINIMUM | {
        "CHAT_RETENTION_DAYS": "365",
        "CHAT_MODELS": "a,b",
        "CHAT_QUOTAS": '{"messages_per_day": 50}',
    }


def test_settings_that_have_no_option_are_passed_on() -> None:
    env = _variables(settings={"history_items": 20, "model_api": "chat_completions"})
    assert env == MINIMUM | {"CHAT_HISTORY_ITEMS": "20", "CHAT_MODEL_API": "chat_completions"}


@pytest.mark.parametrize(
    ("front_door", "at_url"),
    [("url", "true"), ("cloudfront", "true"), ("cloudfront-signed", "true"), ("apigw", None)],
)
def test_the_function_learns_the_origins_and_whether_its_url_answers_cors(front_door: str, at_url: str | None) -> None:
    env = _variables(cors_origins=["https://www.example.org", "https://example.org"], front_door=front_door)
    assert env["CHAT_CORS_ORIGINS"] == "https://www.example.org,https://example.org"
    assert env.get("CHAT_CORS_AT_URL") == at_url


def test_without_origins_the_function_learns_nothing_about_cors() -> None:
    assert not {"CHAT_CORS_ORIGINS", "CHAT_CORS_AT_URL"} & _variables().keys()


def test_when_cloudfront_signs_requests_the_token_has_its_own_header() -> None:
    env = _variables(front_door="cloudfront-signed")
    assert env["CHAT_TOKEN_HEADER"] == "x-chat-authorization"
    assert env["CHAT_ORIGIN_SIGNED"] == "true"


def test_guests_and_public_keys_are_set_in_addition_to_the_issuer() -> None:
    env = _variables(
        auth={**AUTH, "public_keys": [JWK], "guest": {"messages_per_day": 5}},
        quotas={"stage_tokens_per_day": 400_000},
    )
    assert json.loads(env["CHAT_AUTH_PUBLIC_KEYS"]) == [JWK]
    assert env["CHAT_GUEST_SECRET"] == "/chatkit/dev/guest-secret"
    assert json.loads(env["CHAT_GUEST_QUOTAS"]) == {"messages_per_day": 5, "tokens_percent": 25, "turn_tokens": 8_000}


def test_the_demo_model_is_turned_off_in_prod() -> None:
    config = StageConfig.from_context({"stage": "prod", "stages": {"prod": {"auth": AUTH}}})
    assert variables(config, NAMES)["CHAT_DEMO_MODEL"] == "false"
    assert "CHAT_DEMO_MODEL" not in _variables()


def test_every_variable_that_the_stack_sets_is_reserved() -> None:
    everything = _variables(
        auth={**AUTH, "public_keys": [JWK], "guest": {}},
        claims=["plan"],
        models=["a"],
        page={"title": "Shop"},
        thread_retention_days=1,
        quotas=dict.fromkeys(options_of(QuotaConfig), 20),
        front_door="apigw",
        cors_origins=["https://www.example.org"],
        secrets=["shop-api-key"],
    )
    set_by_options = {name.removeprefix("CHAT_").lower() for name in everything if name.startswith("CHAT_")}
    set_otherwise = {
        "auth_client_id",
        "auth_sign_in_url",
        "cors_at_url",
        "demo_model",
        "events_topic",
        "operators",
        "origin_secrets",
        "origin_signed",
        "token_header",
        "store",
    }  # set in other stages only, or deliberately never set
    assert set_by_options | set_otherwise == SET_BY_THE_STACK
