"""Stage options for the agent's tools (environment, secrets, policy), and the values that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from infra.commands import template
from infra.errors import ConfigError
from infra.preflight.settings_check import stage_of
from infra.stage.config import StageConfig
from infra.stage.environment import ResourceNames, variables
from tests.infra import template_files
from tests.infra.conftest import StackOf

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
ORDERS = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders"


def _config(**options: Any) -> StageConfig:
    return StageConfig.from_context({"stage": "prod", "stages": {"prod": {"auth": AUTH, **options}}})


def _fault(**options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        _config(**options)
    [fault] = caught.value.faults
    return fault.removeprefix("stages.prod.")


def _variables(**options: Any) -> dict[str, str]:
    return variables(_config(**options), ResourceNames(table="table", bucket="bucket"))


def test_variables_reach_the_function_as_text() -> None:
    env = _variables(environment={"SHOP_URL": "https://shop.example.com", "SHOP_RETRIES": 3, "SHOP_DRY_RUN": True})
    shop = {name: value for name, value in env.items() if name.startswith("SHOP")}
    assert shop == {"SHOP_URL": "https://shop.example.com", "SHOP_RETRIES": "3", "SHOP_DRY_RUN": "true"}


@pytest.mark.parametrize(
    "name",
    [
        *("CHAT_TABLE", "CHAT_NEW", "CHATKIT_SHOWCASE", "AWS_REGION", "AWS_LAMBDA_EXEC_WRAPPER", "_HANDLER", "PATH"),
        *("TZ", "LAMBDA_TASK_ROOT", "PYTHONPATH", "LD_PRELOAD"),
    ],
)
def test_a_variable_reserved_by_us_or_by_lambda_is_refused(name: str) -> None:
    assert _fault(environment={name: "x"}).startswith(f"environment may not set {name}: names that begin with CHAT_")


@pytest.mark.parametrize("name", ["", "A", "1A", "SHOP-URL", "SHOP URL", "SHÖP", "A=B", "S" * 200])
def test_a_variable_name_that_lambda_would_not_accept_is_refused(name: str) -> None:
    assert _fault(environment={name: "x"}).startswith(f"environment may not set {name!r}: a name has letters")


@pytest.mark.parametrize("name", ["SHOP_API_KEY", "SHOP_TOKEN", "DB_PASSWORD", "SECRET"])
def test_a_variable_that_looks_like_a_secret_is_refused(name: str) -> None:
    assert _fault(environment={name: "x"}).endswith("a secret is no variable; list its name in `secrets`.")


def test_public_keys_and_token_urls_are_accepted_as_variables() -> None:
    assert _config(environment={"STRIPE_PUBLISHABLE_KEY": "pk", "SIGNING_PUBLIC_KEY": "k", "TOKEN_URL": "https://x"})


@pytest.mark.parametrize("value", [None, "", " ", [], {}, "a\nb", 1.5])
def test_a_variable_must_be_a_string_a_whole_number_or_a_boolean(value: object) -> None:
    assert _fault(environment={"SHOP_URL": value}).startswith("environment must give SHOP_URL a text, a whole number")


@pytest.mark.parametrize("value", [None, [], "SHOP_URL=x"])
def test_the_environment_must_be_an_object(value: object) -> None:
    assert _fault(environment=value).startswith("environment must be an object such as")


def test_variables_that_are_too_large_for_lambda_are_refused() -> None:
    with pytest.raises(ConfigError, match="Lambda takes 4096: SHOP_TEXT alone has 5009"):
        stage_of({"stage": "dev", "stages": {"dev": {"auth": AUTH, "environment": {"SHOP_TEXT": "x" * 5000}}}})


def test_secrets_are_ssm_parameters_of_the_stage() -> None:
    assert _config(secrets=["shop-api-key"]).secret_parameters == ("/chatkit/prod/shop-api-key",)
    assert _variables(secrets=["shop-api-key", "crm"])["CHAT_SECRETS"] == "/chatkit/prod/shop-api-key,/chatkit/prod/crm"
    assert "CHAT_SECRETS" not in _variables()


@pytest.mark.parametrize("name", ["", "Shop", "shop_key", "/shop", "1shop", "shop key", "s" * 64, None, 3, ["a"]])
def test_a_secrets_name_must_be_valid_in_ssm_and_in_code(name: object) -> None:
    assert _fault(secrets=[name]).startswith("secrets must look like shop-api-key, and is ")


@pytest.mark.parametrize("name", ["model-key", "guest-secret"])
def test_tools_cannot_get_our_own_secrets(name: str) -> None:
    assert _fault(secrets=[name]) == f"secrets may not list {name}: it is one of this project's own secrets."


def _policy_fault(actions: object, resources: object) -> str:
    return _fault(policy=[{"actions": actions, "resources": resources}])


@pytest.mark.parametrize(
    ("actions", "resources", "fault"),
    [
        (["s3:*"], ["*"], 'policy may not allow wildcard actions on "*"'),
        (["ses:Send*"], ["*"], 'policy may not allow wildcard actions on "*"'),
        (["iam:PassRole"], [ORDERS], "policy may not allow iam actions"),
        (["sts:AssumeRole"], ["*"], "policy may not allow sts actions"),
        (["dynamodb:GetItem"], ["*"], "policy may not allow dynamodb actions on *: that includes what the chat"),
        (["dynamodb:GetItem"], ["arn:aws:dynamodb:*:*:table/*"], "policy may not allow dynamodb actions on arn:aws:"),
        (["dynamodb:GetItem"], ["arn:aws:dynamodb:*:*:table/chat???-prod*"], "policy may not allow dynamodb"),
        (["dynamodb:GetItem"], ["arn:aws:dynamodb:*:*:table/chatkit-prod-data-Table-1"], "policy may not allow"),
        (["s3:GetObject"], ["arn:aws:s3:::chatkit-prod-data-bucket-1/*"], "policy may not allow s3 actions on"),
        (["ssm:GetParameter"], ["arn:aws:ssm:*:*:parameter/*"], "policy may not allow ssm actions on"),
    ],
)  # fmt: skip
def test_a_policy_cannot_reach_our_resources_or_other_principals(
    actions: list[str], resources: list[str], fault: str
) -> None:
    assert _policy_fault(actions, resources).startswith(fault)


@pytest.mark.parametrize("actions", ["dynamodb:GetItem", [], ["*"], ["GetItem"], ["dynamodb:"], ["*:*"], [None]])
def test_a_malformed_action_is_refused(actions: object) -> None:
    assert _policy_fault(actions, [ORDERS]).startswith("policy.actions must")


@pytest.mark.parametrize("resources", [ORDERS, [], ["orders"], ["arn:aws:dynamodb"], ["arn:aws:s3:::a b"], [{}]])
def test_a_malformed_resource_is_refused(resources: object) -> None:
    assert _policy_fault(["dynamodb:GetItem"], resources).startswith("policy.resources must")


def test_a_typo_in_a_statement_suggests_the_key_that_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        _config(policy=[{"action": ["dynamodb:GetItem"], "resources": [ORDERS]}])
    assert any("did you mean actions" in fault for fault in caught.value.faults)


def _grants(api: Template) -> list[dict[str, Any]]:
    policies = api.find_resources("AWS::IAM::Policy").values()
    return [s for policy in policies for s in policy["Properties"]["PolicyDocument"]["Statement"]]


def test_the_role_has_exactly_the_stages_policy_and_may_read_exactly_its_secrets(api_of: StackOf) -> None:
    plain, tools = _grants(api_of("apigw")), _grants(api_of("tools"))
    granted = json.dumps(tools)
    for text in ("table/orders", "table/orders/index/*", "ses:Send*", "identity/example.com"):
        assert text in granted
        assert text not in json.dumps(plain)
    [parameters] = [s for s in tools if s["Action"] == "ssm:GetParameter"]
    ends = [json.dumps(resource).rpartition("parameter/")[2].rstrip('"]}') for resource in parameters["Resource"]]
    assert ends == ["chatkit/tools/model-key", "chatkit/tools/shop-api-key"]


def test_no_secret_is_in_the_template(tmp_path: Path, context: dict[str, Any]) -> None:
    templates = template.synthesize(
        template_files.variant(context, "dev", {"secrets": ["shop-api-key"]}), outdir=tmp_path
    )
    [function] = Template.from_json(templates["chatkit-dev-api"]).find_resources("AWS::Lambda::Function").values()
    env = function["Properties"]["Environment"]["Variables"]
    assert {name for name in env if "SECRET" in name} == {"CHAT_SECRETS"}
    assert env["CHAT_SECRETS"] == "/chatkit/dev/shop-api-key"
