"""infra/preflight/guest_secret.py: a stage with guests gets an encrypted secret, created once. AWS is moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from infra.errors import PreflightError
from infra.preflight import guest_secret
from infra.preflight.account import Account, is_there
from infra.stage.config import StageConfig

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
QUOTAS = {"stage_tokens_per_day": 400_000}
NAME = "/chatkit/dev/guest-secret"
MIN_SECRET_CHARS = 32  # the function's minimum: lambda_src/auth/guest_tokens.py


def _stage(auth: dict[str, Any]) -> StageConfig:
    return StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": auth, "quotas": QUOTAS}}})


@pytest.fixture
def ssm() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("ssm", region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")


@pytest.fixture
def account(ssm: Any) -> Account:
    return Account("123456789012", "us-east-1", clients=lambda service, region: ssm)


def test_the_secret_is_created_once_and_encrypted(ssm: Any, account: Account) -> None:
    assert guest_secret.ensure(_stage({"guest": {}}), account)
    first = ssm.get_parameter(Name=NAME, WithDecryption=True)["Parameter"]
    assert (first["Type"], len(first["Value"]) >= MIN_SECRET_CHARS) == ("SecureString", True)
    assert not guest_secret.ensure(_stage({"guest": {}}), account)
    assert ssm.get_parameter(Name=NAME, WithDecryption=True)["Parameter"]["Value"] == first["Value"]


def test_two_stages_have_different_secrets(ssm: Any, account: Account) -> None:
    guest_secret.ensure(_stage({"guest": {}}), account)
    other = StageConfig.from_context({"stage": "demo", "stages": {"demo": {"auth": {"guest": {}}, "quotas": QUOTAS}}})
    guest_secret.ensure(other, account)
    names = [NAME, "/chatkit/demo/guest-secret"]
    parameters = ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"]
    assert len({parameter["Value"] for parameter in parameters}) == 2


def test_a_stage_without_guests_has_no_secret(ssm: Any, account: Account) -> None:
    assert not guest_secret.ensure(_stage(AUTH), account)
    assert ssm.describe_parameters()["Parameters"] == []


def test_the_secret_has_the_tags_of_its_stage(ssm: Any, account: Account) -> None:
    guest_secret.ensure(_stage({"guest": {}}), account)
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=NAME)["TagList"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"project": "chatkit-lambda", "stage": "dev"}


def _stubbed() -> Stubber:
    return Stubber(boto3.client("ssm", region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret"))


def test_nothing_is_deployed_if_the_secret_cannot_be_created() -> None:
    with _stubbed() as stubber:
        stubber.add_client_error("describe_parameters", "AccessDeniedException")
        stubber.add_client_error("put_parameter", "AccessDeniedException")
        with pytest.raises(PreflightError, match=f"the guests' secret {NAME} cannot be made: "):
            guest_secret.ensure(_stage({"guest": {}}), Account("1", "us-east-1", clients=lambda *_: stubber.client))


def test_a_pipeline_with_read_access_can_deploy_if_the_secret_exists() -> None:
    with _stubbed() as stubber:
        stubber.add_response("describe_parameters", {"Parameters": [{"Name": NAME, "Type": "SecureString"}]})
        assert not guest_secret.ensure(
            _stage({"guest": {}}), Account("1", "us-east-1", clients=lambda *_: stubber.client)
        )


def test_a_missing_model_key_is_distinguished_from_denied_access(ssm: Any, account: Account) -> None:
    key = "/chatkit/dev/model-key"
    assert is_there(key, _stage(AUTH), account) is False
    ssm.put_parameter(Name=key, Type="SecureString", Value="sk-test")
    assert is_there(key, _stage(AUTH), account) is True
    with _stubbed() as stubber:
        stubber.add_client_error("describe_parameters", "AccessDeniedException")
        denied = Account("1", "us-east-1", clients=lambda *_: stubber.client)
        assert is_there(key, _stage(AUTH), denied) is None
