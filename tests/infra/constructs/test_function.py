"""infra/constructs/function.py: the Lambda function, its log group, alias and IAM permissions."""

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


def test_it_logs_json_to_its_own_log_group_with_a_retention(api: Template) -> None:
    log_group = Match.string_like_regexp("^ChatLogs")
    api.has_resource_properties(FUNCTION, {"LoggingConfig": {"LogFormat": "JSON", "LogGroup": {"Ref": log_group}}})
    api.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_every_retention_that_the_config_allows_has_a_name_in_cdk() -> None:
    assert tuple(RETENTION) == LOG_RETENTION_DAYS


def test_only_the_log_of_stage_dev_is_deleted_with_its_stack(api: Template, dev_api: Template) -> None:
    api.all_resources("AWS::Logs::LogGroup", {"DeletionPolicy": "Retain"})
    dev_api.all_resources("AWS::Logs::LogGroup", {"DeletionPolicy": "Delete"})


def test_the_alias_points_at_the_version_of_this_deployment(api: Template) -> None:
    api.has_resource_properties(
        "AWS::Lambda::Alias", {"Name": "live", "FunctionVersion": {"Fn::GetAtt": [Match.any_value(), "Version"]}}
    )


def test_only_lambda_can_assume_the_role_and_no_managed_policy_is_attached(api: Template) -> None:
    api.resource_count_is("AWS::IAM::Role", 1)
    trust = {"Statement": [Match.object_like({"Principal": {"Service": "lambda.amazonaws.com"}})]}
    api.has_resource_properties(
        "AWS::IAM::Role",
        {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": Match.absent(), "Policies": Match.absent()},
    )


def test_no_action_is_granted_by_a_wildcard(statements: list[dict[str, Any]]) -> None:
    assert [action for s in statements for action in _actions(s) if "*" in action] == []


def test_no_statement_grants_access_to_every_resource(statements: list[dict[str, Any]]) -> None:
    assert [s for s in statements if s["Resource"] == "*" or s["Effect"] != "Allow"] == []


def test_only_objects_under_a_prefix_are_granted_by_a_pattern(statements: list[dict[str, Any]]) -> None:
    patterns = [pattern for s in statements for pattern in re.findall(r"'(/[^']*\*)'", str(s["Resource"]))]
    assert sum(str(s["Resource"]).count("*") for s in statements) == len(patterns)
    assert sorted(patterns) == ["/kept/*", "/offload/*", "/pending/*"]


def test_the_model_key_is_the_only_parameter_that_can_be_read(statements: list[dict[str, Any]]) -> None:
    [reading] = [s for s in statements if any(action.startswith("ssm:") for action in _actions(s))]
    assert _actions(reading) == ["ssm:GetParameter"]
    assert str(reading["Resource"]).endswith("':parameter/chatkit/reference/model-key']]}")


def test_only_parameters_of_the_stage_can_be_read(api_of: StackOf, dev_api: Template) -> None:
    assert _parameters(dev_api) == [["parameter/chatkit/dev/model-key"]]
    assert _parameters(api_of("guests")) == [
        ["parameter/chatkit/guests/guest-secret", "parameter/chatkit/guests/model-key"]
    ]


def test_the_role_may_call_only_the_listed_bedrock_models(api_of: StackOf, dev_api: Template) -> None:
    assert "bedrock" not in str(dev_api.to_json())
    [policy] = api_of("bedrock").find_resources("AWS::IAM::Policy").values()
    [inference] = [
        statement
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "bedrock-mantle" in str(statement)
    ]
    assert inference["Action"] == "bedrock-mantle:CreateInference"
    assert inference["Condition"] == {"StringEquals": {"bedrock-mantle:Model": ["openai.gpt-oss-120b"]}}
    assert ":bedrock-mantle:eu-central-1:" in str(inference["Resource"])
    assert str(inference["Resource"]).endswith("':project/default']]}")


def _parameters(stack: Template) -> list[list[str]]:
    """For each statement about SSM, the resources that it allows to be read, without the prefix of their ARNs."""
    [policy] = stack.find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    allowed = [statement["Resource"] for statement in statements if statement["Action"] == "ssm:GetParameter"]
    assert len(allowed) == sum("ssm:" in str(statement) for statement in statements), (
        "ssm:GetParameter must be the only SSM action"
    )
    lists = [resource if isinstance(resource, list) else [resource] for resource in allowed]
    return [[str(arn["Fn::Join"][1][-1]).removeprefix(":") for arn in arns] for arns in lists]


def test_a_stage_is_traced_only_if_it_enables_tracing(api_of: StackOf, api: Template) -> None:
    api_of("apigw").has_resource_properties(FUNCTION, {"TracingConfig": {"Mode": "Active"}})
    api.has_resource_properties(FUNCTION, {"TracingConfig": Match.absent()})
