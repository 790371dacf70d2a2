"""`chat secret`: prompts without echo, tests a key with its vendor, stores it encrypted and never prints it."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from lambda_src.cli.commands import app
from tests.fakes.secret_apis import models_api, ssm_api

ROOT = Path(__file__).parents[3]
KEY = "sk-proj-4f2a9c0e7b1d5836"
MODEL_KEY, GUEST_SECRET = "/chatkit/dev/model-key", "/chatkit/dev/guest-secret"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
Chat = Callable[..., Result]


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield boto3.client("ssm")


@pytest.fixture
def stages() -> dict[str, Any]:
    """The stages in the cdk.json that `chat` reads."""
    return {"dev": {"auth": {"guest": {}}}}


@pytest.fixture
def chat(ssm: Any, stages: dict[str, Any], tmp_path: Path) -> Chat:
    """Runs `chat secret ...` with `typed` as its standard input."""

    def run(*arguments: str, typed: str | bytes = "") -> Result:
        cdk_json = tmp_path / "cdk.json"
        cdk_json.write_text(json.dumps({"context": {"stage": "dev", "stages": stages}}))
        return CliRunner().invoke(app, ["secret", *arguments, "--cdk-json", str(cdk_json)], input=typed)

    return run


def stored(ssm: Any, name: str) -> tuple[str, str]:
    """Type and value of a parameter."""
    parameter = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    return parameter["Type"], parameter["Value"]


def test_a_key_that_its_vendor_accepts_is_stored_encrypted_and_never_printed(
    chat: Chat, ssm: Any, stages: dict[str, Any]
) -> None:
    with models_api(good=KEY) as url:
        stages["dev"]["settings"] = {"model_base_url": url}
        result = chat("set", "model-key", typed=KEY + "\n")
    assert (result.exit_code, stored(ssm, MODEL_KEY)) == (0, ("SecureString", KEY))
    assert f"{url} accepts the key." in result.stderr
    assert f"{MODEL_KEY} is set, version 1." in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("typed", [b"\xff\xfe\n", b"\x1b[200~sk-shop\n", b"sk\0shop\n"])
def test_a_secret_must_be_printable_text(chat: Chat, ssm: Any, stages: dict[str, Any], typed: bytes) -> None:
    stages["dev"]["secrets"] = ["shop-api-key"]
    result = chat("set", "shop-api-key", typed=typed)
    assert (result.exit_code, ssm.describe_parameters()["Parameters"]) == (1, [])
    assert result.stderr.endswith(" Nothing was stored.\n")
    assert result.stderr.count("\n") == 1


def test_a_key_that_its_vendor_refuses_is_not_written(chat: Chat, ssm: Any, stages: dict[str, Any]) -> None:
    with models_api(good="another") as url:
        stages["dev"]["settings"] = {"model_base_url": url}
        result = chat("set", "model-key", typed=KEY)
        assert (result.exit_code, ssm.describe_parameters()["Parameters"]) == (1, [])
        assert f"{url} refused this key. Nothing was stored." in result.stderr
        assert KEY not in result.output
        assert chat("set", "model-key", "--unchecked", typed=KEY).exit_code == 0
    assert stored(ssm, MODEL_KEY)[1] == KEY


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_key_is_stored_unverified_if_the_vendor_lists_no_models(
    chat: Chat, ssm: Any, stages: dict[str, Any], status: int
) -> None:
    with models_api(good=KEY, status=status) as url:
        stages["dev"]["settings"] = {"model_base_url": url}
        result = chat("set", "model-key", typed=KEY)
    assert (result.exit_code, stored(ssm, MODEL_KEY)[1]) == (0, KEY)
    assert f"answered {status} to a request for its models: the key could not be tested." in result.stderr


def test_a_key_is_stored_unverified_if_the_vendor_cannot_be_reached(
    chat: Chat, ssm: Any, stages: dict[str, Any]
) -> None:
    stages["dev"]["settings"] = {"model_base_url": "http://127.0.0.1:1/v1"}
    result = chat("set", "model-key", typed=KEY)
    assert (result.exit_code, stored(ssm, MODEL_KEY)[1]) == (0, KEY)
    assert "cannot be reached from here: the key could not be tested." in result.stderr


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("model-key", "", "No value was entered"),
        ("model-key", "sk-one sk-two", "a space or a character that no key has"),
        ("model-key", "sk-ключ", "a space or a character that no key has"),
        ("model-key", "k" * 4097, "The value has 4097 characters"),
        ("guest-secret", "short-hunter2", "32 are needed"),
    ],
)
def test_an_invalid_secret_is_refused_without_quoting_it(
    chat: Chat, ssm: Any, name: str, typed: str, sentence: str
) -> None:
    result = chat("set", name, typed=typed)
    assert (result.exit_code, ssm.describe_parameters()["Parameters"]) == (1, [])
    assert sentence in result.stderr
    assert not typed or typed not in result.output


def test_the_key_goes_to_the_parameter_and_region_of_the_stage(chat: Chat, stages: dict[str, Any]) -> None:
    stages["prod"] = {"model_key_parameter": "/mine/key", "region": "eu-central-1"}
    assert chat("set", "model-key", "--stage", "prod", "--unchecked", typed=KEY).exit_code == 0
    assert stored(boto3.client("ssm", region_name="eu-central-1"), "/mine/key")[1] == KEY


def test_a_secret_is_not_written_to_another_account(chat: Chat, ssm: Any, stages: dict[str, Any]) -> None:
    stages["dev"]["account"] = "999999999999"
    result = chat("set", "model-key", "--unchecked", typed=KEY)
    assert (result.exit_code, ssm.describe_parameters()["Parameters"]) == (1, [])
    assert "these credentials are for account 123456789012, stage dev is of 999999999999" in result.stderr


def test_an_unknown_stage_is_reported_with_the_known_ones(chat: Chat) -> None:
    result = chat("set", "model-key", "--stage", "prdo", typed=KEY)
    assert result.exit_code == 1
    assert "has no stage 'prdo'; known are dev." in result.stderr


def test_a_stage_without_guests_has_no_guest_secret(chat: Chat, stages: dict[str, Any]) -> None:
    stages["dev"]["auth"] = {"issuer": "https://login.example.org/", "audience": "chat"}
    result = chat("rotate", "guest-secret", "--yes")
    assert result.exit_code == 1
    assert "Stage dev does not allow guests" in result.stderr


def test_rotating_the_guest_secret_stores_a_new_one_without_printing_it(chat: Chat, ssm: Any) -> None:
    ssm.put_parameter(Name=GUEST_SECRET, Type="SecureString", Value="the one before")
    assert chat("rotate", "guest-secret", typed="n\n").exit_code == 1
    assert stored(ssm, GUEST_SECRET)[1] == "the one before"
    result = chat("rotate", "guest-secret", typed="y\n")
    kind, value = stored(ssm, GUEST_SECRET)
    assert (result.exit_code, kind, len(value)) == (0, "SecureString", 64)
    assert value not in result.output
    assert f"{GUEST_SECRET} is changed, version 2." in result.stderr


def test_a_model_key_cannot_be_rotated_because_its_vendor_makes_it(chat: Chat) -> None:
    assert "Only the vendor can create" in chat("rotate", "model-key").stderr


def test_a_missing_region_is_reported(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    result = chat("set", "model-key", "--unchecked", typed=KEY)
    assert result.exit_code == 1
    assert "was not stored: You must specify a region." in result.stderr


def test_a_secret_typed_at_a_terminal_is_not_echoed(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "dev", "stages": {"dev": {"auth": {}}}}}))
    written: list[dict[str, Any]] = []
    with ssm_api(written) as url:
        argv = ["--endpoint-url", url, "secret", "set", "model-key", "--unchecked"]
        environ = {**os.environ, **CREDENTIALS, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        terminal, child_terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "lambda_src.cli", *argv],
            cwd=tmp_path,
            env=environ,
            stdin=child_terminal,
            stdout=child_terminal,
            stderr=child_terminal,
            start_new_session=True,
        ) as process:
            os.close(child_terminal)
            output = _read_until(terminal, "model-key of stage dev: ")
            os.write(terminal, KEY.encode() + b"\n")
            output += _read_until(terminal, "version 1.")
        os.close(terminal)
    assert process.returncode == 0
    assert [(p["Name"], p["Value"], p["Type"]) for p in written] == [(MODEL_KEY, KEY, "SecureString")]
    assert KEY not in output


def _read_until(terminal: int, text: str) -> str:
    output = ""
    while text not in output:
        output += os.read(terminal, 1000).decode()
    return output


def test_a_secret_that_the_stage_lists_is_stored_where_its_tools_read_it(
    chat: Chat, ssm: Any, stages: dict[str, Any]
) -> None:
    stages["dev"]["secrets"] = ["shop-api-key"]
    result = chat("set", "shop-api-key", typed="two words, Größe\n")
    assert (result.exit_code, stored(ssm, "/chatkit/dev/shop-api-key")) == (0, ("SecureString", "two words, Größe"))
    assert "/chatkit/dev/shop-api-key is set, version 1." in result.stderr
    assert "Größe" not in result.output


def test_a_secret_that_the_stage_does_not_list_is_not_written(chat: Chat, ssm: Any, stages: dict[str, Any]) -> None:
    stages["dev"]["secrets"] = ["shop-api-key"]
    result = chat("set", "shop-key", typed="x")
    assert (result.exit_code, ssm.describe_parameters()["Parameters"]) == (1, [])
    assert "list it in its `secrets` in cdk.json. It has model-key, guest-secret, shop-api-key." in result.stderr


@pytest.mark.parametrize("name", ["model-key", "Shop", "../shop", ""])
def test_a_secret_that_make_dev_does_not_read_cannot_be_stored_locally(chat: Chat, name: str) -> None:
    assert chat("set", name, "--local", typed="x").exit_code == 1


def test_an_empty_secret_is_not_written(chat: Chat, ssm: Any, stages: dict[str, Any]) -> None:
    stages["dev"]["secrets"] = ["shop-api-key"]
    assert "No value was entered" in chat("set", "shop-api-key", typed=" \n").stderr
    assert ssm.describe_parameters()["Parameters"] == []
