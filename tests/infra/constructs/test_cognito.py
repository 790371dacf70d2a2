"""infra/constructs/cognito.py: the Cognito user pool with its hosted sign-in page, in the data stack."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.commands import template
from tests.infra import template_files
from tests.infra.conftest import StackOf

POOL = "AWS::Cognito::UserPool"


@pytest.fixture(scope="module")
def users(data_of: StackOf) -> Template:
    return data_of("cognito")


def test_the_pool_is_retained_and_protected_from_deletion(users: Template) -> None:
    users.has_resource(POOL, {"DeletionPolicy": "Retain"})
    users.has_resource_properties(POOL, {"DeletionProtection": "ACTIVE"})


def test_only_an_admin_can_create_accounts(users: Template) -> None:
    users.has_resource_properties(POOL, {"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True}})


def test_the_page_is_a_public_client_that_uses_the_code_flow(users: Template) -> None:
    client = {
        "GenerateSecret": False,
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid", "email"],
        "CallbackURLs": ["https://www.example.org/"],
        "PreventUserExistenceErrors": "ENABLED",
    }
    users.has_resource_properties("AWS::Cognito::UserPoolClient", client)


def test_the_hosted_page_has_a_domain(users: Template) -> None:
    users.has_resource_properties("AWS::Cognito::UserPoolDomain", {"Domain": "my-chat"})
    users.has_output("SignInPage", {"Value": Match.any_value()})


def test_the_function_accepts_the_tokens_of_the_pool(api_of: StackOf) -> None:
    [function] = api_of("cognito").find_resources("AWS::Lambda::Function").values()
    env = function["Properties"]["Environment"]["Variables"]
    assert "cognito-idp." in json.dumps(env["CHAT_AUTH_ISSUER"])
    assert "auth." in json.dumps(env["CHAT_AUTH_SIGN_IN_URL"])
    assert "UsersPage" in json.dumps(env["CHAT_AUTH_AUDIENCE"])


def test_an_existing_pool_is_configured_with_the_host_that_issues_its_tokens(api_of: StackOf) -> None:
    [function] = api_of("issuer").find_resources("AWS::Lambda::Function").values()
    env = function["Properties"]["Environment"]["Variables"]
    assert env["CHAT_AUTH_SIGN_IN_URL"] == "https://my-chat.auth.eu-central-1.amazoncognito.com"
    assert env["CHAT_AUTH_CLIENT_ID"] == "1h57kf5cpq17m0eml12EXAMPLE"


def test_with_self_sign_up_concurrency_is_capped(context: dict[str, Any], tmp_path: Path) -> None:
    pool = {"domain_prefix": "my-chat", "callback_urls": ["https://www.example.org/"], "self_sign_up": True}
    options = {"auth": {"cognito": pool}, "quotas": {"stage_tokens_per_day": 400_000}}
    templates = template.synthesize(template_files.variant(context, "open", options), outdir=tmp_path)
    api = Template.from_json(templates["chatkit-open-api"])
    api.has_resource_properties("AWS::Lambda::Function", {"ReservedConcurrentExecutions": 50})
    users = Template.from_json(templates["chatkit-open-data"])
    users.has_resource_properties(POOL, {"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": False}})
