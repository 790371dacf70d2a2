"""infra/constructs/function.py: what runs, and exactly what it may do."""

import re
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.constructs.function import RETENTION
from infra.stage.schema import LOG_RETENTION_DAYS
from tests.infra.conftest import StackOf

FUNCTION = "AWS::Lambda::Function"


@pytest.fixture(scope="module")
def statements(api: Template) -> list[dict[str, Any]]:
    """Every statement of every policy in the API stack."""
    policies = api.find_resources("AWS::IAM::Policy").values()
    return [s for policy in policies for s in policy["Properties"]["PolicyDocument"]["Statement"]]


def _actions(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


def test_one_function_runs_python_3_13_on_arm64_through_our_wrapper(api: Template) -> None:
    api.resource_count_is(FUNCTION, 1)
    api.has_resource_properties(
        FUNCTION,
        {
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "Handler": "lambda_src.handler.handler",
            "MemorySize": 1024,
            "Timeout": 300,
            "Environment": {
                "Variables": Match.object_like({"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/lambda_src/bootstrap"})
            },
        },
    )


def test_its_log_is_json_in_a_group_of_its_own_that_forgets(api: Template) -> None:
    log_group = Match.string_like_regexp("^ChatLogs")
    api.has_resource_properties(FUNCTION, {"LoggingConfig": {"LogFormat": "JSON", "LogGroup": {"Ref": log_group}}})
    api.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_every_retention_that_the_config_allows_has_a_name_in_cdk() -> None:
    assert tuple(RETENTION) == LOG_RETENTION_DAYS


def test_the_log_of_stage_dev_goes_with_its_stack_and_others_stay(api: Template, dev_api: Template) -> None:
    api.all_resources("AWS::Logs::LogGroup", {"DeletionPolicy": "Retain"})
    dev_api.all_resources("AWS::Logs::LogGroup", {"DeletionPolicy": "Delete"})


def test_the_alias_points_at_the_version_of_this_deployment(api: Template) -> None:
    api.has_resource_properties(
        "AWS::Lambda::Alias", {"Name": "live", "FunctionVersion": {"Fn::GetAtt": [Match.any_value(), "Version"]}}
    )


def test_only_lambda_can_take_the_role_and_no_managed_policy_is_attached(api: Template) -> None:
    api.resource_count_is("AWS::IAM::Role", 1)
    trust = {"Statement": [Match.object_like({"Principal": {"Service": "lambda.amazonaws.com"}})]}
    api.has_resource_properties(
        "AWS::IAM::Role",
        {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": Match.absent(), "Policies": Match.absent()},
    )


def test_no_action_is_granted_by_a_wildcard(statements: list[dict[str, Any]]) -> None:
    assert [action for s in statements for action in _actions(s) if "*" in action] == []


def test_no_grant_is_for_everything(statements: list[dict[str, Any]]) -> None:
    assert [s for s in statements if s["Resource"] == "*" or s["Effect"] != "Allow"] == []


def test_only_objects_under_a_prefix_are_granted_by_a_pattern(statements: list[dict[str, Any]]) -> None:
    patterns = [pattern for s in statements for pattern in re.findall(r"'(/[^']*\*)'", str(s["Resource"]))]
    assert sum(str(s["Resource"]).count("*") for s in statements) == len(patterns)
    assert sorted(patterns) == ["/kept/*", "/offload/*", "/pending/*"]


def test_the_models_key_is_the_one_parameter_that_can_be_read(statements: list[dict[str, Any]]) -> None:
    [reading] = [s for s in statements if any(action.startswith("ssm:") for action in _actions(s))]
    assert _actions(reading) == ["ssm:GetParameter"]
    assert str(reading["Resource"]).endswith("':parameter/chatkit/reference/model-key']]}")


def test_no_parameter_can_be_read_but_those_of_the_stage(api_of: StackOf, dev_api: Template) -> None:
    assert _parameters(dev_api) == [["parameter/chatkit/dev/model-key"]]
    assert _parameters(api_of("guests")) == [
        ["parameter/chatkit/guests/guest-secret", "parameter/chatkit/guests/model-key"]
    ]


def test_bedrock_is_asked_by_the_role_for_exactly_the_models_that_are_named(api_of: StackOf, dev_api: Template) -> None:
    assert "bedrock" not in str(dev_api.to_json())
    [policy] = api_of("bedrock").find_resources("AWS::IAM::Policy").values()
    [asking] = [one for one in policy["Properties"]["PolicyDocument"]["Statement"] if "bedrock-mantle" in str(one)]
    assert asking["Action"] == "bedrock-mantle:CreateInference"
    assert asking["Condition"] == {"StringEquals": {"bedrock-mantle:Model": ["openai.gpt-oss-120b"]}}
    assert ":bedrock-mantle:eu-central-1:" in str(asking["Resource"])
    assert str(asking["Resource"]).endswith("':project/default']]}")


def _parameters(stack: Template) -> list[list[str]]:
    """Of each statement about SSM, the ends of the names that it allows to be read."""
    [policy] = stack.find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    allowed = [one["Resource"] for one in statements if one["Action"] == "ssm:GetParameter"]
    assert len(allowed) == sum("ssm:" in str(one) for one in statements), "ssm:GetParameter, and nothing else"
    lists = [found if isinstance(found, list) else [found] for found in allowed]
    return [[str(arn["Fn::Join"][1][-1]).removeprefix(":") for arn in arns] for arns in lists]


def test_a_stage_that_wants_traces_is_traced_and_no_other(api_of: StackOf, api: Template) -> None:
    api_of("apigw").has_resource_properties(FUNCTION, {"TracingConfig": {"Mode": "Active"}})
    api.has_resource_properties(FUNCTION, {"TracingConfig": Match.absent()})
