"""infra/preflight/account.py: checks an account before a deployment, reports every problem at once. AWS is stubbed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.commands.deploy import context_of
from infra.errors import PreflightError
from infra.preflight import account as preflight
from infra.preflight.account import Account
from infra.stage.config import StageConfig
from tests.infra.stubbed_account import ACCOUNT, API, DATA, REGION, Stubs

AUTH = {"issuer": "https://login.example.org/", "audience": "chat"}
NETWORK = {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"]}
WITH_EDGE = {"front_door": "cloudfront", "waf": True, "account": ACCOUNT, "region": REGION}


@pytest.fixture
def stubs() -> Iterator[Stubs]:
    stubs = Stubs()
    yield stubs
    stubs.assert_all_called()


@pytest.fixture
def faults(stubs: Stubs) -> Callable[..., list[str]]:
    """Returns a function that lists what is wrong with a stage that has these options."""

    def check(**options: Any) -> list[str]:
        config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH, **options}}})
        return preflight.account_faults(config, Account(ACCOUNT, REGION, clients=stubs.client))

    return check


Faults = Callable[..., list[str]]


def test_a_stack_from_before_stacks_were_tagged_is_recognized_by_its_description() -> None:
    described = {"StackStatus": "CREATE_COMPLETE", "Description": "Chat, stage dev: threads and files", "Tags": []}
    assert preflight.is_ours(described, "dev")
    assert not preflight.is_ours(described, "prod")
    assert not preflight.is_ours({"StackStatus": "CREATE_COMPLETE"}, "dev")


def test_a_bootstrapped_account_without_our_stacks_passes(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack()
    stubs.stack()
    stubs.secrets()
    assert faults() == []


def test_our_own_stacks_may_be_updated(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack("UPDATE_COMPLETE")
    stubs.stack("CREATE_COMPLETE")
    stubs.secrets()
    assert faults() == []


def test_every_problem_is_reported_at_once(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped(None)
    stubs.stack("ROLLBACK_COMPLETE")
    stubs.stack("CREATE_COMPLETE", tags=[])
    few = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": few})
    stubs.function(None)
    stubs.secrets()
    messages = faults(reserved_concurrency=5, model_key_parameter="/chatkit/dev/model-key")
    assert [line.split(" ")[0] for line in messages] == [
        REGION,
        DATA,
        API,
        "reserved_concurrency",
        "model_key_parameter",
    ]
    assert messages[0] == f"{REGION} is not prepared for CDK: `make bootstrap STAGE=dev`, once."
    assert f"`aws cloudformation delete-stack --stack-name {DATA} --region {REGION}`" in messages[1]
    assert messages[1].endswith("That deletes every thread and file that is in it, for good.")
    assert "give the stage in cdk.json another name" in messages[2]
    assert "is more than the 0 that the account can set aside" in messages[3]
    assert '`make chat ARGS="secret set model-key --stage dev"`' in messages[4]


def test_an_outdated_bootstrap_is_refused(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped("5")
    stubs.stack()
    stubs.stack()
    stubs.secrets()
    assert faults()[0].startswith(f"{REGION} was prepared by an older CDK (version 5)")


def test_the_edge_region_must_be_bootstrapped_too(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.bootstrapped(None, region="us-east-1")
    stubs.stack()
    stubs.stack(region="us-east-1")
    stubs.stack()
    stubs.secrets()
    [fault] = faults(**WITH_EDGE)
    assert fault == "us-east-1 is not prepared for CDK: `make bootstrap STAGE=dev`, once."


def test_while_another_deployment_runs_the_message_has_the_command_to_wait_for_it(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack("UPDATE_IN_PROGRESS")
    stubs.stack("UPDATE_COMPLETE")
    stubs.secrets()
    assert "another deployment runs: `aws cloudformation wait stack-update-complete" in faults()[0]


def test_a_stack_left_by_a_failed_first_change_set_passes(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack("REVIEW_IN_PROGRESS", tags=[])
    stubs.stack()
    stubs.secrets()
    assert faults() == []


def test_a_stack_whose_rollback_failed_is_continued_and_never_deleted(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack("UPDATE_ROLLBACK_FAILED")
    stubs.stack("UPDATE_ROLLBACK_FAILED")
    stubs.secrets()
    for message, name in zip(faults(), (DATA, API), strict=True):
        assert f"`aws cloudformation continue-update-rollback --stack-name {name} --region {REGION}`" in message
        assert "delete-stack" not in message


def test_a_secret_on_the_second_page_is_found(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack()
    stubs.stack()
    stubs.of("ssm").add_response("describe_parameters", {"Parameters": [], "NextToken": "more"})
    stubs.secrets(model_key="SecureString")
    assert faults(model_key_parameter="/chatkit/dev/model-key") == []


def test_a_secret_that_is_not_a_secure_string_is_refused(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack()
    stubs.stack()
    stubs.secrets(model_key="String", guest_secret="StringList")
    messages = faults(auth={"guest": {}}, quotas={"stage_tokens_per_day": 400_000})
    assert [line.partition(":")[0] for line in messages] == [
        "/chatkit/dev/model-key is a String, readable in every listing",
        "/chatkit/dev/guest-secret is a StringList, readable in every listing",
    ]


def test_enough_concurrency_in_the_account_passes(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack()
    stubs.stack()
    stubs.secrets()
    many = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": many})
    stubs.function(None)
    assert faults(reserved_concurrency=900) == []


def test_concurrency_that_the_stage_already_reserved_counts_as_available(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack("CREATE_COMPLETE")
    stubs.stack("CREATE_COMPLETE")
    stubs.secrets()
    remaining = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 100}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": remaining})
    stubs.function(900)
    assert faults(reserved_concurrency=900) == []


@pytest.mark.parametrize("limit", [10, 1000, 5000])
def test_the_concurrency_alarm_uses_the_limit_of_the_account(stubs: Stubs, limit: int) -> None:
    stages = {"stage": "dev", "stages": {"dev": {"auth": AUTH, "monitoring": "full"}}}
    limits = {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": limits})
    context = context_of(StageConfig.from_context(stages), Account(ACCOUNT, REGION, clients=stubs.client))
    assert StageConfig.from_context({**stages, **context}).account_limit == limit


def test_without_permission_to_read_the_limit_the_alarm_uses_lambdas_default(stubs: Stubs) -> None:
    stubs.of("lambda").add_client_error("get_account_settings", "AccessDeniedException")
    stages = {"stage": "dev", "stages": {"dev": {"auth": AUTH, "monitoring": "full"}}}
    context = context_of(StageConfig.from_context(stages), Account(ACCOUNT, REGION, clients=stubs.client))
    assert StageConfig.from_context({**stages, **context}).account_limit == 1000


@pytest.mark.parametrize(("limit", "room"), [(10, False), (100, True), (149, False), (150, True), (1000, True)])
def test_a_guest_stages_cap_must_leave_the_concurrency_that_lambda_keeps_unreserved(
    stubs: Stubs, limit: int, room: bool
) -> None:
    limits = {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": limits})
    stubs.function(None)
    assert preflight.has_room_for_cap(_guests(), Account(ACCOUNT, REGION, clients=stubs.client)) is room


def test_a_guest_stages_cap_that_is_already_reserved_still_fits(stubs: Stubs) -> None:
    limits = {"ConcurrentExecutions": 150, "UnreservedConcurrentExecutions": 100}
    stubs.of("lambda").add_response("get_account_settings", {"AccountLimit": limits})
    stubs.function(50)
    assert preflight.has_room_for_cap(_guests(), Account(ACCOUNT, REGION, clients=stubs.client))


def test_without_permission_to_read_the_limits_the_cap_does_not_fit(stubs: Stubs) -> None:
    stubs.of("lambda").add_client_error("get_account_settings", "AccessDeniedException")
    assert not preflight.has_room_for_cap(_guests(), Account(ACCOUNT, REGION, clients=stubs.client))


def _guests() -> StageConfig:
    stage = {"auth": {"guest": {}}, "quotas": {"stage_tokens_per_day": 400_000}}
    return StageConfig.from_context({"stage": "dev", "stages": {"dev": stage}})


def test_a_region_without_managed_instances_is_refused(stubs: Stubs, faults: Faults) -> None:
    stubs.bootstrapped()
    stubs.stack()
    stubs.stack()
    stubs.secrets()
    stubs.of("lambda").add_client_error("list_capacity_providers", "UnknownOperationException")
    [fault] = faults(memory_mb=2048, vpc=NETWORK, managed_instances={})
    assert fault.startswith(f"managed_instances are not available in {REGION}")


def test_credentials_of_another_account_are_refused_before_any_aws_call(faults: Faults) -> None:
    [fault] = faults(account="210987654321", region=REGION)
    assert fault == f"these credentials are for account {ACCOUNT}, the stage is of 210987654321: set AWS_PROFILE."


def test_a_check_that_aws_denies_is_skipped(stubs: Stubs, faults: Faults) -> None:
    stubs.of("ssm").add_client_error("get_parameter", "AccessDeniedException")
    stubs.of("cloudformation").add_client_error("describe_stacks", "AccessDenied")
    stubs.of("ssm").add_client_error("describe_parameters", "AccessDeniedException")
    assert faults() == []


def test_any_other_aws_error_is_reported(stubs: Stubs, faults: Faults) -> None:
    stubs.of("ssm").add_client_error("get_parameter", "InternalServerError")
    stubs.stack()
    stubs.stack()
    stubs.secrets()
    assert faults()[0].startswith("AWS does not answer about bootstrap: ")


def test_a_missing_profile_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH}}})
    with pytest.raises(PreflightError) as caught:
        preflight.sign_in(config)
    assert caught.value.faults == ["no AWS account can be reached: The config profile (nobody) could not be found."]


def test_without_a_region_nothing_is_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH}}})
    with pytest.raises(PreflightError, match="no AWS region: set `region` of the stage"):
        preflight.sign_in(config)


def test_the_region_is_read_from_aws_region_as_the_cdk_cli_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    regions: list[str] = []

    class Session(botocore.session.Session):
        def create_client(self, service: str, *, region_name: str) -> Any:  # type: ignore[override] # records it
            regions.append(region_name)
            return type("Sts", (), {"get_caller_identity": lambda self: {"Account": ACCOUNT}})()

    monkeypatch.setattr(botocore.session, "get_session", Session)
    config = StageConfig.from_context({"stage": "dev", "stages": {"dev": {"auth": AUTH}}})
    account = preflight.sign_in(config, {"AWS_REGION": "eu-central-1"})
    assert (account.region, regions) == ("eu-central-1", ["eu-central-1"])
