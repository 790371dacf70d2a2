"""infra/stage/config.py: parses the context in cdk.json into a StageConfig, and reports every error in one message."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import ConfigError
from infra.stage import parsers
from infra.stage.config import StageConfig
from infra.stage.parsers import options_of
from infra.stage.sections import AuthConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.sampled_from(list(options_of(StageConfig)))
NETWORK = {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"]}
ON_INSTANCES: dict[str, Any] = {"vpc": NETWORK, "managed_instances": {}}
EXTERNAL_COGNITO = {"issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_pool", "audience": "page"}
QUOTAS = {"stage_tokens_per_day": 400_000}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d"


def _context(**options: object) -> dict[str, Any]:
    return {"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}}


def _faults(context: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        StageConfig.from_context(context)
    return caught.value.faults


def _fault(**options: object) -> str:
    [fault] = _faults(_context(**options))
    return fault


def test_a_stage_needs_auth_and_nothing_else() -> None:
    config = StageConfig.from_context(_context())
    assert config == StageConfig(
        stage="dev",
        auth=AuthConfig(issuer="https://login.example.org/", audience="chat"),
        cors_origins=(),
        memory_mb=1024,
        timeout_s=300,
        log_retention_days=30,
        model_key_parameter=None,
    )


def test_a_stage_without_auth_is_refused() -> None:
    [fault] = _faults({"stage": "dev", "stages": {"dev": {}}})
    assert fault.startswith("stages.dev.auth is missing: ")


@pytest.mark.parametrize("auth", [None, {}, "none", False, {"issuer": "", "audience": ""}, {"audience": "chat"}])
def test_an_empty_or_incomplete_auth_is_refused(auth: object) -> None:
    assert all(fault.startswith("stages.dev.auth") for fault in _faults(_context(auth=auth)))


def test_every_error_is_in_one_message() -> None:
    options = {"memory_mb": 64, "timeout_s": "long", "cors_origins": ["*"], "memroy": 1, "auth": {"issuer": "http://a"}}
    with pytest.raises(ConfigError) as caught:
        StageConfig.from_context({"stage": "dev", "stages": {"dev": options}, "stge": "dev"})
    text = str(caught.value)
    for key in ("memory_mb", "timeout_s", "cors_origins", "memroy", "auth.issuer", "auth.audience", "stge"):
        assert key in text


def test_an_unknown_option_suggests_the_nearest_name() -> None:
    assert _fault(timeout=60) == "stages.dev.timeout is not an option; did you mean timeout_s."
    assert _faults(_context(auth=AUTH | {"audiense": "chat"})) == [
        "stages.dev.auth.audiense is not an option; did you mean audience."
    ]


def test_an_unknown_top_level_key_is_refused_but_cdks_own_keys_are_not() -> None:
    assert _faults(_context() | {"stagess": {}}) == ["stagess is not an option; did you mean stages."]
    cdks_own = {"@aws-cdk/core:flag": True, "aws:cdk:version-reporting": True, "cli-telemetry": False}
    assert StageConfig.from_context(_context() | cdks_own).stage == "dev"


def test_a_missing_stage_suggests_the_nearest_name() -> None:
    assert _faults(_context() | {"stage": "dve"}) == ["stage 'dve' is not in stages; did you mean dev."]


@pytest.mark.parametrize("context", [{}, {"stages": {}}, {"stage": "dev"}, {"stage": "dev", "stages": []}])
def test_a_context_without_stages_is_a_single_error(context: dict[str, Any]) -> None:
    [fault] = _faults(context)
    assert fault.startswith("stages is missing: ")


@pytest.mark.parametrize("name", ["Dev", "1st", "a_b", "a" * 21, "", "dev "])
def test_a_stage_name_must_be_valid_in_every_aws_name(name: str) -> None:
    [fault] = _faults({"stage": name, "stages": {name: {"auth": AUTH}}})
    assert "a stage's name has 1 to 20" in fault


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "https://*.example.com", "", None, 1),
        *("http://www.example.com", "https://www.example.com/", "www.example.com", "https://a b"),
        *("https://WWW.example.com", "https://www.example.com:443"),
    ],
)
def test_an_origin_that_no_browser_sends_or_that_is_not_exact_is_refused(origin: object) -> None:
    assert repr(origin) in _fault(cors_origins=[origin])


def test_origins_are_exact_and_localhost_may_use_http() -> None:
    origins = ["https://www.example.com", "https://example.com:8443", "http://localhost:3000", "http://127.0.0.1:8000"]
    assert StageConfig.from_context(_context(cors_origins=[*origins, origins[0]])).cors_origins == tuple(origins)


@pytest.mark.parametrize("value", [True, 300.5, "300", 29, 901, None, float("nan"), float("inf")])
def test_a_timeout_is_a_whole_number_that_lambda_accepts(value: object) -> None:
    assert "timeout_s must be a whole number of seconds from 30 to 900" in _fault(timeout_s=value)


@pytest.mark.parametrize("value", [0, 2, -1, True, "30", None])
def test_log_retention_is_a_number_of_days_that_cloudwatch_accepts(value: object) -> None:
    assert "log_retention_days must be one of 1, 3, 7" in _fault(log_retention_days=value)


@pytest.mark.parametrize("value", ["model-key", "/a b", "/", "arn:aws:ssm:x", 1, "/a/"])
def test_the_model_key_parameter_is_a_full_name_and_never_the_key_itself(value: object) -> None:
    assert "model_key_parameter must look like /chatkit/dev/model-key" in _fault(model_key_parameter=value)


def test_only_stage_dev_is_disposable() -> None:
    stages = {name: {"auth": AUTH} for name in ("dev", "dev2", "staging")}
    disposable = [StageConfig.from_context({"stage": s, "stages": stages}).disposable for s in stages]
    assert disposable == [True, False, False]


POOL = {"domain_prefix": "my-chat", "callback_urls": ["https://a.example/"]}

CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "snapstart cannot be combined": {"snapstart": True, **ON_INSTANCES, "memory_mb": 2048},
    "memory_mb must be at least 2048": ON_INSTANCES,
    "claims needs auth.issuer": {"auth": {"guest": {}}, "quotas": QUOTAS, "claims": ["plan"]},
    "reserved_concurrency has no effect": {**ON_INSTANCES, "memory_mb": 2048, "reserved_concurrency": 5},
    "vpc is missing": {"managed_instances": {}, "memory_mb": 2048},
    "vpc needs front_door apigw": {"vpc": NETWORK},
    "domain needs front_door cloudfront": {"domain": {"name": "chat.example.org", "certificate_arn": CERTIFICATE}},
    "domain needs either": {"front_door": "cloudfront", "domain": {"name": "chat.example.org"}},
    "waf needs front_door": {"waf": True, "account": "123456789012", "region": "eu-west-1"},
    "account and region are required": {"front_door": "cloudfront", "waf": True},
    "region is required for kms": {"kms": "cmk"},
    "monitoring none has no alarms": {"monitoring": "none", "alarm_email": "ops@example.org"},
    "canary needs monitoring": {"monitoring": "none", "canary": True},
    "monthly_budget_usd needs alarm_email": {"monthly_budget_usd": 10},
    "quotas.stage_tokens_per_day is missing": {"auth": {"guest": {}}, "quotas": {"messages_per_day": 20}},
    "quotas.stage_tokens_per_day is missing: nothing else limits what guests": {
        "auth": {"cognito": {**POOL, "self_sign_up": True}}
    },
    "access_logs needs front_door": {"access_logs": True},
    "auth.sign_in_url is missing": {"auth": {**EXTERNAL_COGNITO, "client_id": "page"}},
    "auth.client_id cannot be combined with Google": {
        "auth": {"issuer": "https://accounts.google.com", "audience": "page", "client_id": "page"}
    },
    "settings must not contain table": {"settings": {"table": "mine"}},
}


@pytest.mark.parametrize("sentence", CONTRADICTIONS)
def test_contradictory_options_are_refused_and_the_option_to_change_is_named(sentence: str) -> None:
    assert _fault(**CONTRADICTIONS[sentence]).startswith(f"stages.dev.{sentence}")


def test_a_stage_has_default_names_for_its_secrets() -> None:
    config = StageConfig.from_context(_context())
    assert (config.model_key_name, config.guest_secret_name) == ("/chatkit/dev/model-key", None)
    config = StageConfig.from_context(_context(model_key_parameter="/mine", auth={"guest": {}}, quotas=QUOTAS))
    assert (config.model_key_name, config.guest_secret_name) == ("/mine", "/chatkit/dev/guest-secret")


def test_the_demo_model_answers_in_every_stage_but_prod() -> None:
    stages = {name: {"auth": AUTH} for name in ("dev", "staging", "prod")}
    answers = [StageConfig.from_context({"stage": s, "stages": stages}).demo_model for s in stages]
    assert answers == [True, True, False]


@pytest.mark.parametrize("option", ["thread_retention_days", "attachment_retention_days"])
def test_a_retention_of_zero_days_is_refused(option: str) -> None:
    assert "must be a whole number of days from 1 to 3650, and is 0" in _fault(**{option: 0})


JWK = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "k"}


@pytest.mark.parametrize(
    "auth",
    [
        {"cognito": POOL},
        {"guest": {}},
        {"guest": {"messages_per_day": 5}, "cognito": POOL},
        {"public_keys": [JWK], "audience": "chat"},
        {**AUTH, "public_keys": [JWK], "guest": {}},
    ],
)
def test_a_stage_may_have_several_sign_in_methods(auth: dict[str, Any]) -> None:
    config = StageConfig.from_context(_context(auth=auth, quotas=QUOTAS))
    assert (config.auth.cognito is not None, config.auth.guest is not None) == ("cognito" in auth, "guest" in auth)


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        (
            {"audience": "chat"},
            "issuer, public_keys, cognito or guest is missing: one of them must name the accepted callers.",
        ),
        ({"public_keys": [JWK]}, "audience is missing"),
        ({"guest": {}, "audience": "chat"}, "audience has no effect"),
        ({**AUTH, "sign_in_url": "https://a.example/"}, "sign_in_url has no effect"),
        ({**AUTH, "cognito": POOL}, "cognito is itself an issuer"),
        ({"public_keys": [{**JWK, "d": "hunter2"}], "audience": "chat"}, "public_keys holds a private key"),
        ({"public_keys": [{"kty": "oct", "kid": "k"}], "audience": "chat"}, "public_keys holds a private key"),
        ({"public_keys": ["pem"], "audience": "chat"}, "public_keys must list JWKs"),
        ({"guest": 5}, "guest must be an object"),
    ],
)
def test_an_auth_that_admits_no_one_or_everyone_is_refused(auth: dict[str, Any], sentence: str) -> None:
    faults = _faults(_context(auth=auth))
    assert any(fault.startswith(f"stages.dev.auth.{sentence}") for fault in faults)
    assert "hunter2" not in " ".join(faults), "a private key must not be quoted"


def test_a_nested_error_is_named_by_its_full_path() -> None:
    [fault] = _faults(
        _context(auth={"cognito": {"domain_prefix": "aws-chat", "callback_urls": ["https://a.example/"]}})
    )
    assert fault.startswith("stages.dev.auth.cognito.domain_prefix must look like")


def test_a_domain_needs_only_a_hosted_zone_or_a_certificate() -> None:
    for proof in ({"hosted_zone_id": "Z0123456789ABC"}, {"certificate_arn": CERTIFICATE}):
        domain = {"name": "chat.example.org", **proof}
        options = {"front_door": "cloudfront", "domain": domain, "account": "123456789012", "region": "eu-west-1"}
        assert StageConfig.from_context(_context(**options)).domain is not None


@pytest.mark.parametrize("value", [[], "x", {"Key": "x"}, {"a": None}, {"a": ["x"]}, {"model_key": "sk-1"}])
def test_settings_are_plain_values_and_never_secrets(value: object) -> None:
    assert "settings" in _fault(settings=value)


@given(option=OPTIONS, value=JSON)
def test_any_value_of_an_option_is_accepted_or_refused_by_the_name_of_the_option(option: str, value: object) -> None:
    faults = _faults_or_none(_context(**{option: value}))
    assert all(fault.startswith("stages.dev.") for fault in faults)
    assert not faults or option in " ".join(faults)


@given(context=st.dictionaries(st.sampled_from(["stage", "stages", "dev", "auth"]) | st.text(max_size=8), JSON))
def test_any_context_gives_a_config_or_a_list_of_errors(context: dict[str, Any]) -> None:
    assert _faults_or_none(context), "none of these contexts configures auth"


def _faults_or_none(context: Mapping[str, Any]) -> list[str]:
    try:
        StageConfig.from_context(context)
    except ConfigError as error:
        return error.faults
    return []


@pytest.mark.parametrize(("url", "needs_models"), [("https://bedrock-mantle.eu-central-1.api.aws/openai/v1", True),
                                           ("https://bedrock-mantle.eu-central-1.api.aws.evil.example/v1", False),
                                           ("https://models.example.com/v1", False)])  # fmt: skip
def test_bedrock_needs_a_list_of_models(url: str, needs_models: bool) -> None:
    context = _context(settings={"model_base_url": url})
    if not needs_models:
        StageConfig.from_context(context)
        return
    assert _faults(context) == ["stages.dev.models is missing: the role may call only these models of Amazon Bedrock."]
    StageConfig.from_context(_context(settings={"model_base_url": url}, models=["openai.gpt-oss-120b"]))


def test_concurrency_is_capped_in_a_public_stage_and_a_stage_may_set_the_cap() -> None:
    guests: dict[str, Any] = {"auth": {"guest": {}}, "quotas": QUOTAS}

    def cap(uncapped: bool = False, **options: Any) -> int | None:
        context = _context(**options) | ({"chatkit:uncapped": "true"} if uncapped else {})
        return StageConfig.from_context(context).concurrency_cap

    assert (cap(), cap(reserved_concurrency=7)) == (None, 7)
    assert (cap(**guests), cap(**guests, reserved_concurrency=7)) == (50, 7)
    assert cap(uncapped=True, **guests) is None
    assert cap(auth={"cognito": {**POOL, "self_sign_up": True}}, quotas=QUOTAS) == 50


EXTERNAL_COGNITO_SIGN_IN = {
    "issuer": "https://cognito-idp.eu-central-1.amazonaws.com/pool",
    "sign_in_url": "https://chat.auth.eu-central-1.amazoncognito.com",
}


@pytest.mark.parametrize(
    ("auth", "warned"),
    [
        ({"issuer": "https://login.example.org/", "audience": "page", "client_id": "page"}, True),
        ({"issuer": "https://login.example.org/", "audience": "chat", "client_id": "page"}, False),
        ({**AUTH}, False),
        ({**EXTERNAL_COGNITO_SIGN_IN, "audience": "page", "client_id": "page"}, False),
    ],
)
def test_a_stage_that_accepts_id_tokens_gets_a_warning_before_it_is_deployed(
    auth: dict[str, Any], warned: bool
) -> None:
    warnings = StageConfig.from_context(_context(auth=auth)).warnings
    assert ["ID tokens" in warning for warning in warnings] == [True] * warned


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ({"titel": "Shop"}, "page.titel is not an option; did you mean title."),
        ({"title": "x" * 61}, "page.title must have at most 60 characters, and has 61."),
        ({"greeting": "a\nb"}, "page.greeting must be a text, and is 'a\\nb'."),
        ({"prompts": [{"label": "a", "prompt": "x" * 10_000}]}, "at most 200 characters, and has 10000."),
        ({"prompts": [{"label": "a"}]}, "prompt is missing"),
        ({"assistants": [{"name": "sales"}]}, "page.assistants.label is missing: What the page calls it."),
        ({"assistants": [{"name": "Sales", "label": "Sales"}]}, "name must look like sales, and is 'Sales'."),
        ({"assistants": [{"name": "stop", "label": "Stop"}]}, "name may not be stop: that is a route of the unnamed"),
        (
            {"assistants": [{"name": "a", "label": "x"}, {"name": "a", "label": "y"}]},
            "assistant once, and repeats 'a'.",
        ),
        ({"assistants": [{"name": "a", "label": "x", "greating": "Hi"}]}, "did you mean greeting"),
        ({"labels": [{"name": "large", "label": "x" * 61}]}, "must have at most 60 characters, and has 61."),
        ({"labels": {"large": "Thorough"}}, "page.labels must be a list of 0 to 50"),
        ({"accent": "teal"}, "page.accent must look like #0f6b5c, and is 'teal'."),
        ({"accent": "#ffee00"}, "page.accent must have a contrast of at least 4.5 with white, and #ffee00 has 1.2"),
        ({"logo": "../secret.png"}, "page.logo must look like logo.svg"),
        ({"logo": "missing.svg"}, "page.logo names missing.svg, which is not in lambda_src/agent/."),
        ({"logo": "large.svg"}, "page.logo must be a file of at most 200 KB, and large.svg has 201."),
        ({"languages": ["en", "tlh"]}, "must be one of de, en, es, fr, ja, and is 'tlh'"),
        ({"languages": ["../de"]}, "must be one of de, en, es, fr, ja, and is '../de'"),
        ({"languages": "de"}, "page.languages must be a list"),
        ({"privacy_url": "javascript:alert(1)"}, "page.privacy_url must look like https://"),
        ({"privacy_url": "http://shop.example.com"}, "page.privacy_url must look like https://"),
    ],
)
def test_an_invalid_page_option_is_refused_with_its_reason(
    page: dict[str, Any], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsers, "AGENT", tmp_path)
    (tmp_path / "large.svg").write_bytes(b"x" * 201_000)
    assert fault in _fault(page=page)


def test_a_thousand_prompts_are_refused() -> None:
    prompts = [{"label": str(number), "prompt": "p"} for number in range(1000)]
    assert _fault(page={"prompts": prompts}) == "stages.dev.page.prompts must be a list of 0 to 6, and has 1000."


def test_the_page_options_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "AGENT", tmp_path)
    (tmp_path / "logo.svg").write_text("<svg/>")
    prompt = {"label": "Orders", "prompt": "Where is my order?"}
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "pt.json").write_text("{}")
    label = {"name": "large", "label": "Thorough"}
    page = {"title": "Shop", "prompts": [prompt], "accent": "#0F6B5C", "logo": "logo.svg", "languages": ["pt", "en"]}
    page |= {"labels": [label]}
    config = StageConfig.from_context(_context(page=page)).page
    assert config is not None
    assert (config.title, config.accent, config.logo) == ("Shop", "#0f6b5c", "logo.svg")
    assert config.languages == ("pt", "en")
    assert [(each.label, each.prompt) for each in config.prompts] == [("Orders", "Where is my order?")]
    assert [(each.name, each.label) for each in config.labels] == [("large", "Thorough")]
