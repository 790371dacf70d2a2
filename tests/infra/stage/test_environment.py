"""infra/stage/environment.py: a stage's choices as the variables that the function reads."""

import json
from typing import Any

from infra.stage.config import StageConfig
from infra.stage.environment import Places, variables
from infra.stage.parsers import options_of
from infra.stage.sections import SET_BY_THE_STACK, QuotaConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
PLACES = Places(table="table", bucket="bucket", issuer="https://login.example.org/", audience="chat")
LEAST = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/lambda_src/bootstrap",
    "CHAT_TABLE": "table",
    "CHAT_BUCKET": "bucket",
    "CHAT_AUTH_ISSUER": "https://login.example.org/",
    "CHAT_AUTH_AUDIENCE": "chat",
    "CHAT_MODEL_KEY_PARAMETER": "/chatkit/dev/model-key",
}
JWK = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "k"}


def _told(**options: Any) -> dict[str, str]:
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
    return variables(config, PLACES)


def test_what_a_stage_leaves_out_is_not_set() -> None:
    assert _told() == LEAST


def test_what_a_stage_names_is_told_as_text() -> None:
    told = _told(thread_retention_days=365, models=["a", "b"], quotas={"messages_per_day": 50})
    assert told == LEAST | {
        "CHAT_RETENTION_DAYS": "365",
        "CHAT_MODELS": "a,b",
        "CHAT_QUOTAS": '{"messages_per_day": 50}',
    }


def test_settings_without_an_option_are_passed_on() -> None:
    told = _told(settings={"history_items": 20, "model_api": "chat_completions"})
    assert told == LEAST | {"CHAT_HISTORY_ITEMS": "20", "CHAT_MODEL_API": "chat_completions"}


def test_cors_origins_are_told_only_where_nothing_in_front_answers_for_them() -> None:
    origins = ["https://www.example.org"]
    assert "CHAT_CORS_ORIGINS" not in _told(cors_origins=origins)
    assert _told(cors_origins=origins, front_door="apigw")["CHAT_CORS_ORIGINS"] == origins[0]


def test_where_cloudfront_signs_the_token_travels_in_a_header_of_its_own() -> None:
    told = _told(front_door="cloudfront-signed")
    assert told["CHAT_TOKEN_HEADER"] == "x-chat-authorization"
    assert told["CHAT_ORIGIN_SIGNED"] == "true"


def test_guests_and_a_backend_of_ones_own_are_told_beside_the_issuer() -> None:
    told = _told(
        auth={**AUTH, "public_keys": [JWK], "guest": {"messages_per_day": 5}},
        quotas={"stage_tokens_per_day": 400_000},
    )
    assert json.loads(told["CHAT_AUTH_PUBLIC_KEYS"]) == [JWK]
    assert told["CHAT_GUEST_SECRET"] == "/chatkit/dev/guest-secret"
    assert json.loads(told["CHAT_GUEST_QUOTAS"]) == {"messages_per_day": 5, "tokens_percent": 25, "turn_tokens": 8_000}


def test_in_prod_the_demo_model_is_told_not_to_answer() -> None:
    config = StageConfig.from_context({"stage": "prod", "stages": {"prod": {"auth": AUTH}}})
    assert variables(config, PLACES)["CHAT_DEMO_MODEL"] == "false"
    assert "CHAT_DEMO_MODEL" not in _told()


def test_what_the_stack_sets_cannot_be_set_a_second_time_unseen() -> None:
    everything = _told(
        auth={**AUTH, "public_keys": [JWK], "guest": {}},
        claims=["plan"],
        models=["a"],
        thread_retention_days=1,
        quotas=dict.fromkeys(options_of(QuotaConfig), 20),
        front_door="apigw",
        cors_origins=["https://www.example.org"],
        secrets=["shop-api-key"],
    )
    ours = {name.removeprefix("CHAT_").lower() for name in everything if name.startswith("CHAT_")}
    others = {
        "auth_client_id",
        "auth_sign_in_url",
        "demo_model",
        "origin_secrets",
        "origin_signed",
        "token_header",
        "store",
    }  # in other stages; by leaving it alone
    assert ours | others == SET_BY_THE_STACK
