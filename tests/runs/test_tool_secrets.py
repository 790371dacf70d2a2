"""Tool secrets: reading a secret by name, caching, and the reasons that the log gives when it cannot be read."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from agents import Agent, function_tool

from lambda_src.cli.secrets import local as local_secrets
from lambda_src.composition import app
from lambda_src.composition.aws import Clients
from lambda_src.errors import SettingsError
from lambda_src.rotating_secret import OLDEST_S
from lambda_src.runs import tool_secrets
from lambda_src.runs.tool_secrets import UNREADABLE, SecretReadError, ToolSecrets
from lambda_src.sdk import ActionCall, Actions, SecretError, secret
from lambda_src.sdk.testing import AgentChat, calls, says
from lambda_src.settings import Settings
from tests.fakes.secret_apis import ssm_with

PARAMETER = "/chatkit/prod/shop-api-key"


def reading(values: Mapping[str, str]) -> ToolSecrets:
    """Return secrets that are read from `values`."""
    return ToolSecrets(lambda name: values[name], names=["shop-api-key"])


async def reason_for(name: str, caplog: pytest.LogCaptureFixture) -> str:
    """Return the logged reason why a secret cannot be read."""
    with caplog.at_level(logging.ERROR), pytest.raises(SecretError) as caught:
        await secret(name)
    [line] = [record for record in caplog.records if record.getMessage() == "tool_secret_not_read"]
    assert str(caught.value) == UNREADABLE, "the user must see one plain message"
    reason: str = vars(line)["reason"]
    assert reason in caught.value.__notes__[0], "the traceback must contain the reason"
    return reason


async def test_a_secret_is_read_once_and_again_after_a_minute() -> None:
    values, reads, clock = {"shop-api-key": "old"}, [], [0.0]

    def read(name: str) -> str:
        reads.append(name)
        return values[name]

    tool_secrets.install(ToolSecrets(read, names=["shop-api-key"], now=lambda: clock[0]))
    assert [await secret("shop-api-key") for _ in range(3)] == ["old"] * 3
    values["shop-api-key"] = "new"
    clock[0] = OLDEST_S
    assert (await secret("shop-api-key"), reads) == ("new", ["shop-api-key"] * 2)


async def test_concurrent_tools_read_a_secret_once() -> None:
    reads: list[str] = []

    def read(name: str) -> str:
        reads.append(name)
        return "key"

    tool_secrets.install(ToolSecrets(read))
    assert await asyncio.gather(*(secret("shop-api-key") for _ in range(20))) == ["key"] * 20
    assert reads == ["shop-api-key"]


async def test_a_secret_that_becomes_unreadable_keeps_its_last_value() -> None:
    values, clock = {"shop-api-key": "key"}, [0.0]
    tool_secrets.install(ToolSecrets(lambda name: values[name], now=lambda: clock[0]))
    assert await secret("shop-api-key") == "key"
    values["shop-api-key"] = " "
    clock[0] = OLDEST_S
    assert await secret("shop-api-key") == "key"


async def test_outside_an_app_the_log_says_that_no_secrets_are_available(caplog: pytest.LogCaptureFixture) -> None:
    assert "no secrets are available here" in await reason_for("shop-api-key", caplog)


async def test_the_error_for_an_unlisted_name_lists_the_stages_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tool_secrets.install(reading({}))
    assert (await reason_for("shop-key", caplog)).endswith("it lists shop-api-key")


async def test_an_invalid_name_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    tool_secrets.install(reading({}))
    assert "up to 63 of a-z" in await reason_for("What someone wrote", caplog)
    assert "someone" not in repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize("value", ["", " \n"])
async def test_an_empty_secret_is_an_error(value: str, caplog: pytest.LogCaptureFixture) -> None:
    tool_secrets.install(reading({"shop-api-key": value}))
    assert await reason_for("shop-api-key", caplog) == "it is empty"


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The parameters of a fake SSM that the process uses."""
    parameters: dict[str, str] = {}
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    with ssm_with(parameters) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setattr(app, "AWS", Clients())
        tool_secrets.install(app.stored_secrets(Settings(secrets=(PARAMETER,))))
        yield parameters


async def test_on_aws_a_secret_is_read_from_the_parameter_that_the_stage_lists(on_aws: dict[str, str]) -> None:
    on_aws[PARAMETER] = "sk-shop"
    assert await secret("shop-api-key") == "sk-shop"


async def test_the_error_for_a_missing_parameter_contains_the_command_that_sets_it(
    on_aws: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert await reason_for("shop-api-key", caplog) == (
        f'the SSM parameter {PARAMETER} does not exist: `make chat ARGS="secret set shop-api-key --stage STAGE"`'
    )


async def test_the_error_for_missing_permissions_says_what_to_do(
    on_aws: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    on_aws[PARAMETER] = "AccessDeniedException"
    reason = await reason_for("shop-api-key", caplog)
    assert (
        reason
        == f"the function may not read the SSM parameter {PARAMETER} (AccessDeniedException): deploy the stage again"
    )


def test_under_make_dev_the_environment_takes_precedence_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".local" / "secrets"
    local_secrets.write("shop-api-key", "from the file", file=file)
    local_secrets.write("other", "two", file=file)
    assert (file.stat().st_mode & 0o777, set(file.parent.iterdir())) == (0o600, {file})
    assert local_secrets.read("shop-api-key", env={}, file=file) == "from the file"
    assert local_secrets.read("shop-api-key", env={"SHOP_API_KEY": "from here"}, file=file) == "from here"


def test_under_make_dev_the_error_for_a_missing_secret_contains_the_command_that_sets_it(tmp_path: Path) -> None:
    with pytest.raises(SecretReadError, match=r"secret set shop-api-key --local.*SHOP_API_KEY"):
        local_secrets.read("shop-api-key", env={}, file=tmp_path / "secrets")


def test_a_secrets_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    local_secrets.write("shop-api-key", "key", file=file)
    file.chmod(0o640)
    with pytest.raises(SecretReadError, match=r"mode 640\): chmod 600"):
        local_secrets.read("shop-api-key", env={}, file=file)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "{"])
def test_a_damaged_secrets_file_is_refused_and_not_overwritten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="is damaged"):
        local_secrets.write("shop-api-key", "key", file=file)
    assert file.read_text(encoding="utf-8") == text


@function_tool
async def price() -> str:
    """Returns the price of socks."""
    return f"asked with {await secret('shop-api-key')}"


async def test_in_a_users_test_the_chat_fixture_provides_the_secrets() -> None:
    chat = AgentChat(lambda: Agent(name="Shop", tools=[price]), build_actions=Actions)
    chat.secrets["shop-api-key"] = "test-key"
    reply = await chat.say("How much?", script=[calls("price"), says("2 euros.")])
    assert (reply.tools, reply.cause) == (["price"], None)


async def test_a_tool_without_its_secret_does_not_end_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    chat = AgentChat(lambda: Agent(name="Shop", tools=[price]), build_actions=Actions)
    reply = await chat.say("How much?", script=[calls("price"), says("I do not know.")])
    assert (reply.text, type(reply.cause)) == ("I do not know.", SecretError)
    assert "tool_secret_not_read" in [record.getMessage() for record in caplog.records]


async def test_an_action_without_its_secret_is_one_plain_error_for_the_user() -> None:
    actions = Actions()

    @actions.on("order.cancel")
    async def cancel(payload: None, call: ActionCall) -> None:
        await secret("shop-api-key")

    chat = AgentChat(lambda: Agent(name="Shop"), build_actions=lambda: actions)
    await chat.say("Hello")
    reply = await chat.press("order.cancel")
    assert reply.error == UNREADABLE
