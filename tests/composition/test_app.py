"""The composition root: stores, upload origin, model key and secrets by settings; clients after a SnapStart restore."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import snapshot_restore_py
from agents import RunConfig
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from chatkit.store import NotFoundError
from chatkit.types import AudioInput
from moto import mock_aws

from lambda_src.attachments.s3_files import SIGNING_CONFIG
from lambda_src.composition import app
from lambda_src.composition.aws import Clients
from lambda_src.composition.stores import build_store, upload_origin
from lambda_src.context import RequestContext, User
from lambda_src.dev.local_aws import TABLE, local_aws
from lambda_src.errors import RequestError, UnavailableError
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.dispatcher import Provisional
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from tests.test_settings import ENV

PARAMETER = "/chatkit/dev/model-key"
ANN = RequestContext(user=User(id="ann"), request_id="r")


async def test_a_store_built_before_a_snapshot_works_after_the_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    before = len(snapshot_restore_py.get_after_restore())
    async with local_aws(tmp_path) as aws:
        for name, value in aws.env.items():
            monkeypatch.setenv(name, value)
        store, _ = build_store(Settings.from_env({**ENV, "CHAT_TABLE": TABLE}), Clients())
        with pytest.raises(NotFoundError):
            await store.load_thread("thr_no", ANN)
        hooks = snapshot_restore_py.get_after_restore()[before:]
        assert hooks, "each client must register a hook"
        for function, arguments, keywords in hooks:
            function(*arguments, **keywords)
        with pytest.raises(NotFoundError):
            await store.load_thread("thr_no", ANN)


@pytest.mark.parametrize(
    ("variables", "bucket", "origin"),
    [
        ({}, "files", "https://files.s3.eu-central-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "files", "http://127.0.0.1:4566"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000/"}, "files", "http://127.0.0.1:9000"),
        ({"AWS_ENDPOINT_URL_S3": "https://s3.example.com:9000"}, "files", "https://files.s3.example.com:9000"),
        ({"AWS_ENDPOINT_URL_S3": "https://s3.example.com"}, "my.files", "https://s3.example.com"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_ENDPOINT_URL_S3": "https://s3.example.com"},
            "files",
            "https://files.s3.example.com",
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "https://s3.example.com", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "files",
            "https://files.s3.eu-central-1.amazonaws.com",
        ),
    ],
)
def test_the_page_may_upload_to_the_origin_of_the_presigned_urls(
    variables: dict[str, str], bucket: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    region = {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"}
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for name, value in {**region, **credentials, **variables}.items():
        monkeypatch.setenv(name, value)
    s3 = Clients().client("s3", SIGNING_CONFIG)
    presigned = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    assert presigned.startswith(f"{origin}/")
    assert upload_origin(Settings.from_env({**ENV, "CHAT_BUCKET": bucket}), Clients()) == origin


def test_the_memory_store_needs_no_aws() -> None:
    env = {name: value for name, value in ENV.items() if name != "CHAT_TABLE"}
    store, ledger = build_store(Settings.from_env({**env, "CHAT_STORE": "memory"}), Clients())
    assert isinstance(store, MemoryStore)
    assert ledger is store.ledger


@pytest.mark.parametrize("driver", ["", "+asyncpg"])
def test_postgresql_without_a_table_uses_an_in_process_turn_ledger(driver: str) -> None:
    env = {name: value for name, value in ENV.items() if name != "CHAT_TABLE"}
    url = f"postgresql{driver}://nobody@127.0.0.1:1/none"
    store, ledger = build_store(
        Settings.from_env({**env, "CHAT_STORE": "postgres", "CHAT_DATABASE_URL": url}), Clients()
    )
    assert not isinstance(store, MemoryStore)
    assert type(ledger).__name__ == "MemoryLedger"


# Keys and secrets


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """SSM without parameters, in moto; the composition root's clients use it too."""
    for name, value in {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield boto3.client("ssm")


def _run_config(**env: str) -> RunConfig | Provisional:
    return app.runner(Settings.from_env({**ENV, "CHAT_MODEL_KEY_PARAMETER": PARAMETER, **env}))()


def test_without_a_key_the_demo_model_answers_until_a_key_is_set(ssm: Any) -> None:
    first = _run_config()
    assert isinstance(first, Provisional)
    assert isinstance(first.run_config.model, DemoModel)
    ssm.put_parameter(Name=PARAMETER, Type="SecureString", Value="sk-test")
    second = _run_config()
    assert isinstance(second, RunConfig)
    assert not isinstance(second.model, DemoModel)


def test_without_a_key_and_the_demo_model_requests_fail_until_a_key_is_set(ssm: Any) -> None:
    with pytest.raises(UnavailableError, match="No model key is set yet"):
        _run_config(CHAT_DEMO_MODEL="false")
    ssm.put_parameter(Name=PARAMETER, Type="SecureString", Value="sk-test")
    assert isinstance(_run_config(CHAT_DEMO_MODEL="false"), RunConfig)


def test_bedrock_needs_no_key_and_does_not_look_for_one(ssm: Any) -> None:
    built = _run_config(CHAT_MODEL_BASE_URL="https://bedrock-mantle.eu-central-1.api.aws/openai/v1")
    assert isinstance(built, RunConfig), "a Provisional config would rebuild its client every 30 s"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_key_that_cannot_be_read_is_not_a_missing_key(ssm: Any, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": f"no {PARAMETER}"}}, "GetParameter")

    monkeypatch.setattr(BaseClient, "_make_api_call", refused)
    with pytest.raises(UnavailableError, match="cannot be read at the moment") as caught:
        _run_config()
    assert PARAMETER not in str(caught.value)


def test_dictation_is_available_only_if_a_model_is_configured() -> None:
    env = {**ENV, "CHAT_MODEL_KEY_PARAMETER": PARAMETER}  # the stack always sets it
    assert app.transcriber(Settings.from_env(env)) is None
    assert app.transcriber(Settings.from_env({**env, "CHAT_DICTATION_MODEL": "gpt-transcribe"})) is not None


async def test_dictation_without_a_key_is_refused(ssm: Any) -> None:
    env = {**ENV, "CHAT_MODEL_KEY_PARAMETER": PARAMETER, "CHAT_DICTATION_MODEL": "gpt-transcribe"}
    transcribe = app.transcriber(Settings.from_env(env))
    assert transcribe is not None
    with pytest.raises(RequestError, match="Dictation is not available"):
        await transcribe(AudioInput(data=b"", mime_type="audio/webm"))


def test_a_secret_is_read_by_its_path_or_its_arn(ssm: Any) -> None:
    ssm.put_parameter(Name="/chatkit/dev/guest-secret", Type="SecureString", Value="of-ssm")
    arn = boto3.client("secretsmanager").create_secret(Name="guests", SecretString="of-secrets-manager")["ARN"]
    assert app.AWS.stored_secret("/chatkit/dev/guest-secret") == "of-ssm"
    assert app.AWS.stored_secret(arn) == "of-secrets-manager"
