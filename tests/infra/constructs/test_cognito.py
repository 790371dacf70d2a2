"""infra/constructs/cognito.py: a user pool with a hosted page, in the stack that outlives the API."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.commands import template
from tests.infra.conftest import StackOf

POOL = "AWS::Cognito::UserPool"


@pytest.fixture(scope="module")
def users(data_of: StackOf) -> Template:
    return data_of("cognito")


def test_the_pool_survives_its_stack_and_refuses_to_be_deleted(users: Template) -> None:
    users.has_resource(POOL, {"DeletionPolicy": "Retain"})
    users.has_resource_properties(POOL, {"DeletionProtection": "ACTIVE"})


def test_accounts_are_opened_by_you_and_not_by_anybody(users: Template) -> None:
    users.has_resource_properties(POOL, {"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True}})


def test_the_page_is_a_public_client_with_a_code_and_no_secret(users: Template) -> None:
    client = {
        "GenerateSecret": False,
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid", "email"],
        "CallbackURLs": ["https://www.example.org/"],
        "PreventUserExistenceErrors": "ENABLED",
    }
    users.has_resource_properties("AWS::Cognito::UserPoolClient", client)


def test_the_hosted_page_has_its_address(users: Template) -> None:
    users.has_resource_properties("AWS::Cognito::UserPoolDomain", {"Domain": "my-chat"})
    users.has_output("SignInPage", {"Value": Match.any_value()})


def test_the_function_takes_the_pools_tokens(api_of: StackOf) -> None:
    [function] = api_of("cognito").find_resources("AWS::Lambda::Function").values()
    told = function["Properties"]["Environment"]["Variables"]
    assert "cognito-idp." in json.dumps(told["CHAT_AUTH_ISSUER"])
    assert "auth." in json.dumps(told["CHAT_AUTH_SIGN_IN_URL"])
    assert "UsersPage" in json.dumps(told["CHAT_AUTH_AUDIENCE"])


def test_a_pool_that_is_there_already_names_the_host_that_gives_its_tokens(api_of: StackOf) -> None:
    [function] = api_of("issuer").find_resources("AWS::Lambda::Function").values()
    told = function["Properties"]["Environment"]["Variables"]
    assert told["CHAT_AUTH_SIGN_IN_URL"] == "https://my-chat.auth.eu-central-1.amazoncognito.com"
    assert told["CHAT_AUTH_CLIENT_ID"] == "1h57kf5cpq17m0eml12EXAMPLE"


def test_where_anybody_may_open_an_account_turns_at_a_time_are_capped(context: dict[str, Any], tmp_path: Path) -> None:
    pool = {"domain_prefix": "my-chat", "callback_urls": ["https://www.example.org/"], "self_sign_up": True}
    options = {"auth": {"cognito": pool}, "quotas": {"stage_tokens_per_day": 400_000}}
    made = template.synthesize(template.variant(context, "open", options), outdir=tmp_path)
    api = Template.from_json(made["chatkit-open-api"])
    api.has_resource_properties("AWS::Lambda::Function", {"ReservedConcurrentExecutions": 50})
    users = Template.from_json(made["chatkit-open-data"])
    users.has_resource_properties(POOL, {"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": False}})
