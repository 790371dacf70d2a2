"""Checks an AWS account before anything is built: read-only calls, every fault in one message with its remedy.

Knows the names of stacks and the errors of AWS; builds nothing.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from infra.errors import PreflightError
from infra.preflight.regions import region_faults
from infra.preflight.stack_states import NOT_YET_MADE, refusal
from infra.stacks.names import api_stack_name, data_stack_name, stack_names
from infra.stage.config import EDGE_REGION, GUEST_CONCURRENCY, StageConfig

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6  # the least that the stacks of this CDK ask for
# Executions that Lambda keeps for functions without a number of their own: fewer where an account has few at all.
KEPT_UNRESERVED, KEPT_OF_FEW = 100, 10
MORE_CONCURRENCY = (
    "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
    "--desired-value 1000"
)
PROJECT_TAG = {"Key": "project", "Value": "chatkit-lambda"}

NO_CREDENTIALS = (
    "no AWS credentials found: run `aws configure` or `aws sso login`, or set AWS_PROFILE, then run this again."
)


class Clients(Protocol):
    """Makes an AWS client of a service in a region."""

    def __call__(self, service: str, region: str) -> Any: ...  # noqa: ANN401 - AWS clients have no common type


class Account:
    """The account and region of a deployment, shown before anything else."""

    def __init__(self, account: str, region: str, *, clients: Clients) -> None:
        self.account, self.region, self.clients = account, region, clients

    def __str__(self) -> str:
        return f"account {self.account}, region {self.region}"


def sign_in(config: StageConfig, environ: Mapping[str, str] = os.environ) -> Account:
    """The account that this machine's credentials belong to; PreflightError in one line if there are none.

    botocore reads only AWS_DEFAULT_REGION; AWS_REGION, which AWS's other SDKs prefer, counts here too.
    """
    try:
        session = botocore.session.get_session()  # boto3 would only add what no command uses
        if session.get_credentials() is None:
            raise PreflightError([NO_CREDENTIALS])
        region = config.region or environ.get("AWS_REGION") or session.get_config_variable("region")
        if region is None:
            raise PreflightError(["no AWS region: set `region` of the stage in cdk.json, or AWS_REGION."])

        def clients(service: str, region: str) -> Any:  # noqa: ANN401 - AWS clients have no common type
            return session.create_client(service, region_name=region)

        account = clients("sts", region).get_caller_identity()["Account"]
    except BotoCoreError as error:  # a profile that does not exist, a config file that cannot be read, no network
        raise PreflightError([f"no AWS account can be reached: {str(error).rstrip('.')}."]) from None
    except ClientError as error:
        raise PreflightError(
            [f"AWS does not take the credentials, {_code(error)}: `aws sso login`, or others."]
        ) from None
    return Account(account, region, clients=clients)


def account_faults(config: StageConfig, account: Account, *, needs_bootstrap: bool = True) -> list[str]:
    """Every reason in AWS why this deployment would fail. Checks that AWS does not allow are left out.

    needs_bootstrap: False if the caller bootstraps the account itself.
    """
    if config.account is not None and config.account != account.account:
        return [
            f"these credentials are for account {account.account}, the stage is of {config.account}: set AWS_PROFILE."
        ]
    checks: list[Callable[[StageConfig, Account], Iterator[str]]] = [
        *([_bootstrap] if needs_bootstrap else []),
        _stacks,
        _concurrency,
        _secrets,
        _managed_instances,
    ]
    faults = [*region_faults(config, account.region)]
    for check in checks:
        try:
            faults += check(config, account)
        except ClientError as error:
            if _code(error) not in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
                faults.append(f"AWS does not answer about {check.__name__.strip('_')}: {error}.")
        except BotoCoreError as error:
            faults.append(f"AWS does not answer about {check.__name__.strip('_')}: {error}.")
    return faults


def regions(config: StageConfig, account: Account) -> list[str]:
    """The regions in which the stage has stacks."""
    return [account.region, *([EDGE_REGION] if config.needs_edge and account.region != EDGE_REGION else [])]


def is_bootstrapped(config: StageConfig, account: Account) -> bool:
    """Whether each region of the stage has CDK's own bucket and roles, in a version that is new enough."""
    return not list(_bootstrap(config, account))


def _bootstrap(config: StageConfig, account: Account) -> Iterator[str]:
    """CDK's own bucket and roles, in each region of the stage."""
    command = f"make bootstrap STAGE={config.stage}"
    for region in regions(config, account):
        try:
            version = account.clients("ssm", region).get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"]
        except ClientError as error:
            if _code(error) != "ParameterNotFound":
                raise
            yield f"{region} is not prepared for CDK: `{command}`, once."
        else:
            if int(version) < BOOTSTRAP_VERSION:
                yield f"{region} was prepared by an older CDK (version {version}): `{command}` again."


def _stacks(config: StageConfig, account: Account) -> Iterator[str]:
    """Stacks with our names that cannot be updated, or belong to something else."""
    for name in stack_names(config):
        region = EDGE_REGION if name.endswith("-edge") else account.region
        try:
            [stack] = account.clients("cloudformation", region).describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if _code(error) != "ValidationError":  # CloudFormation's word for: there is none
                raise
            continue
        status = stack["StackStatus"]
        loses = _kept_in(config) if name == data_stack_name(config.stage) else None
        if (refused := refusal(status, name=name, region=region, loses=loses)) is not None:
            yield refused
        elif status != NOT_YET_MADE and not is_ours(stack, config.stage):
            yield f"{name} is a stack of something else in {account}: give the stage in cdk.json another name."


def is_ours(stack: Mapping[str, Any], stage: str) -> bool:
    """Whether a stack, as CloudFormation describes it, belongs to this stage. Earlier releases did not tag stacks."""
    return PROJECT_TAG in stack.get("Tags", []) or stack.get("Description", "").startswith(f"Chat, stage {stage}: ")


def _kept_in(config: StageConfig) -> str:
    """What is lost when the data stack is deleted."""
    if config.disposable:
        return "every thread and file that is in it, for good"
    return "no table and no bucket, but the next deployment makes new ones, and no thread of the old is seen there"


def has_room_for_cap(config: StageConfig, account: Account) -> bool:
    """Whether the account can set aside what a stage with guests is capped at; no, where we may not ask."""
    try:
        return _free(config, account) >= GUEST_CONCURRENCY
    except (BotoCoreError, ClientError):
        return False


def _concurrency(config: StageConfig, account: Account) -> Iterator[str]:
    """The concurrency that the stage reserves, against what the account can set aside."""
    if config.reserved_concurrency is None:
        return
    free = _free(config, account)
    if config.reserved_concurrency > free:
        yield (
            f"reserved_concurrency {config.reserved_concurrency} is more than the {free} that the account can set "
            f"aside: leave it out, or `{MORE_CONCURRENCY}`."
        )


def _free(config: StageConfig, account: Account) -> int:
    """What the account can set aside for this stage, including what the stage has reserved already."""
    limits = _limits(account)
    kept = KEPT_UNRESERVED if limits["ConcurrentExecutions"] > KEPT_UNRESERVED else KEPT_OF_FEW
    return max(0, int(limits["UnreservedConcurrentExecutions"]) + _set_aside(config, account) - kept)


def account_limit(account: Account) -> int | None:
    """The account's Lambda concurrency, which the alarm `concurrency` needs; None if AWS refuses the call."""
    try:
        return int(_limits(account)["ConcurrentExecutions"])
    except (BotoCoreError, ClientError):
        return None


def _limits(account: Account) -> dict[str, Any]:
    limits: dict[str, Any] = account.clients("lambda", account.region).get_account_settings()["AccountLimit"]
    return limits


def _set_aside(config: StageConfig, account: Account) -> int:
    """What this stage's functions have of the account's concurrency already; 0 before its first deployment."""
    name = api_stack_name(config.stage)
    try:
        resources = account.clients("cloudformation", account.region).describe_stack_resources(StackName=name)
    except ClientError as error:
        if _code(error) != "ValidationError":  # CloudFormation's word for: there is no such stack
            raise
        return 0
    lambda_ = account.clients("lambda", account.region)
    return sum(
        int(lambda_.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions", 0))
        for resource in resources["StackResources"]
        if resource["ResourceType"] == "AWS::Lambda::Function" and (function := resource.get("PhysicalResourceId"))
    )


def _secrets(config: StageConfig, account: Account) -> Iterator[str]:
    """Secrets must be encrypted, and a key that cdk.json names must exist. Never reads a value."""
    types = _types(config, account)
    for what, name in _parameters(config).items():
        command = set_secret(what, config)
        if types.get(name, "SecureString") != "SecureString":
            yield f"{name} is a {types[name]}, readable in every listing: delete it, then `{command}`."
        elif name == config.model_key_parameter and name not in types:  # the default parameter may be created later
            yield f"model_key_parameter {name} does not exist: `{command}`."


def _parameters(config: StageConfig) -> dict[str, str]:
    """The SSM parameters of a stage, by the names that `secret set` takes."""
    own = {"model-key": config.model_key_name, "guest-secret": config.guest_secret_name}
    named = {what: parameter for what, parameter in own.items() if parameter is not None}
    return named | dict(zip(config.secrets, config.secret_parameters, strict=True))


def set_secret(what: str, config: StageConfig) -> str:
    """The command that sets a secret of the stage."""
    return f'make chat ARGS="secret set {what} --stage {config.stage}"'


def is_there(name: str, config: StageConfig, account: Account) -> bool | None:
    """Whether a secret of the stage exists, without reading it; None if AWS refuses the call."""
    try:
        return name in _types(config, account)
    except (BotoCoreError, ClientError):
        return None


def _types(config: StageConfig, account: Account) -> dict[str, str]:
    """Of the stage's secrets that are there, which type each parameter has."""
    names = list(_parameters(config).values())
    wanted = [{"Key": "Name", "Option": "Equals", "Values": names}]
    # Filtered, an answer may be empty and still have a page after it.
    pages = (
        account.clients("ssm", account.region).get_paginator("describe_parameters").paginate(ParameterFilters=wanted)
    )
    return {parameter["Name"]: parameter["Type"] for page in pages for parameter in page["Parameters"]}


def _managed_instances(config: StageConfig, account: Account) -> Iterator[str]:
    """The region must offer capacity providers."""
    if config.managed_instances is None:
        return
    try:
        account.clients("lambda", account.region).list_capacity_providers(MaxItems=1)
    except ClientError as error:
        if _code(error) not in ("UnknownOperationException", "ValidationException", "InvalidAction"):
            raise
        yield f"managed_instances are not available in {account.region}: leave them out, or name another region."


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
