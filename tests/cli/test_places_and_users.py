"""Options that select a store and a user (--stage, --local, --issuer, --subject), and error messages of `chat`."""

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.stacks.names import data_stack_name
from lambda_src.auth import backend_tokens, user_of
from lambda_src.cli import options as place
from lambda_src.cli import users
from lambda_src.cli.commands import app
from lambda_src.dev.local_aws import local_aws
from lambda_src.store.dynamodb import DynamoDBStore
from tests.fakes.cloudformation_api import cloudformation_api
from tests.fakes.hosted_chatkit_api import hosted_api, item, thread
from tests.store.local import populate
from tests.store.tables import Aws, moto_aws

ISSUER = "https://login.example.com/"
ANN = user_of(ISSUER, "ann").id
NO_AWS = {name: None for name in os.environ if name.startswith(("AWS_", "CHAT_", "OPENAI_"))} | {
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}  # fmt: skip
CREDENTIALS = NO_AWS | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
ENV = CREDENTIALS | {"AWS_REGION": "us-east-1"}


def chat(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    """Run a command with this environment and none of the shell's AWS settings."""
    return CliRunner().invoke(app, list(arguments), env=ENV if env is None else env)


def error_message(result: Result) -> str:
    """The error message of a failed command: a single line, not a traceback."""
    assert result.exit_code == 1, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr.strip()


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def stage(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Options that select a deployed stage `dev`, which holds data of ann."""
    table, bucket = aws.table(), aws.bucket()
    asyncio.run(populate(DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3), ANN))
    cdk_json = tmp_path / "cdk.json"
    stages = {"dev": {"region": "us-east-1"}, "next": {"region": "us-east-1"}}
    cdk_json.write_text(json.dumps({"context": {"stage": "dev", "stages": stages}}))
    with cloudformation_api({data_stack_name("dev"): {"Table": table, "Bucket": bucket}}) as url:
        monkeypatch.setitem(ENV, "AWS_ENDPOINT_URL_CLOUDFORMATION", url)
        yield ["--stage", "dev", "--cdk-json", str(cdk_json)]


# Users


def test_user_id_prints_the_id_of_a_user() -> None:
    assert chat("user-id", "--issuer", ISSUER, "--subject", "ann").stdout == f"{ANN}\n"
    assert chat("user-id", "--issuer", ISSUER, "--subject", "ann", "--assistant", "sales").stdout == f"{ANN}.sales\n"


def test_the_command_line_and_the_server_use_the_same_issuer_for_backend_tokens() -> None:
    assert users.BACKEND == backend_tokens.NAMESPACE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Name the user"),
        (("--subject", "ann"), "--issuer is missing"),
        (("--issuer", ISSUER), "--subject is missing"),
        (("--issuer", ISSUER, "--subject", ""), "--subject is empty"),
        (("--issuer", " ", "--subject", "ann"), "--issuer is empty"),
        (("an-id", "--issuer", ISSUER, "--subject", "ann"), "Name the user once"),
    ],
)
def test_a_user_must_be_named_exactly_once(options: tuple[str, ...], message: str) -> None:
    for command in ("export", "erase"):
        assert message in error_message(chat("--table", "any", command, *options))


def test_a_user_of_a_stage_can_be_exported_and_erased(stage: list[str]) -> None:
    user_options = ["--issuer", ISSUER, "--subject", "ann"]
    exported = chat("export", *user_options, *stage)
    assert exported.exit_code == 0, exported.output
    assert len(exported.stdout.splitlines()) == 15
    assert {json.loads(line)["user"] for line in exported.stdout.splitlines()} == {ANN}
    assert chat("doctor", *stage).exit_code == 0
    assert "Removed 2 threads" in chat("erase", *user_options, *stage, "--yes").stderr
    assert chat("sweep", *stage).exit_code == 0
    second = chat("erase", *user_options, *stage, "--yes")
    assert (second.exit_code, "had nothing in table" in second.stderr) == (0, True)


@pytest.mark.parametrize(
    ("options", "owner"),
    [
        (["--issuer", ISSUER], user_of(ISSUER, "ada").id),
        (["--issuer", ISSUER, "--subject", "ann"], ANN),
        (["--issuer", ISSUER, "--map", "{map}"], user_of(ISSUER, "customer-7").id),
        (["--map", "{map}"], "customer-7"),
    ],
    ids=["their-ids", "one-user", "map-of-subjects", "map-of-ids"],
)
def test_hosted_threads_go_to_the_users_that_the_options_name(
    aws: Aws, tmp_path: Path, options: list[str], owner: str
) -> None:
    (tmp_path / "map.csv").write_text("ada,customer-7\n")
    table, raw = aws.table(), tmp_path / "raw.jsonl"
    options = [option.format(map=tmp_path / "map.csv") for option in options]
    items = {"cthr_1": [item("m1", "cthr_1", "task", created_at=9, heading="h", summary=None, task_type="custom")]}
    with hosted_api([thread("cthr_1", created_at=1)], items, page=10) as url:
        env = ENV | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "secret"}
        done = chat("--table", table, "import-hosted", str(raw), *options, env=env)
    assert done.exit_code == 0, done.output
    assert len(chat("--table", table, "export", owner).stdout.splitlines()) == 2


def test_a_user_without_a_line_in_the_map_is_named(aws: Aws, tmp_path: Path) -> None:
    raw, users_csv = tmp_path / "raw.jsonl", tmp_path / "map.csv"
    raw.write_text(json.dumps(thread("cthr_1", created_at=1)) + "\n")
    users_csv.write_text("bob,customer-7\n")
    options = ["import-hosted", str(raw), "--issuer", ISSUER, "--map", str(users_csv)]
    assert "has no line for user ada" in error_message(chat("--table", aws.table(), *options))


# Stores


@pytest.mark.parametrize("command", [["export", "u"], ["erase", "u", "--yes"], ["sweep"], ["doctor"]])
def test_local_without_make_dev_is_reported_in_one_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`make dev` is not running here" in error_message(chat(*command, "--local"))


def test_a_file_left_by_a_killed_make_dev_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place.LOCAL_AWS.parent.mkdir(parents=True)
    place.LOCAL_AWS.write_text(json.dumps({"pid": 2**22 + 1}))
    assert "`make dev` is not running here" in error_message(chat("sweep", "--local"))
    for damaged in ("{", "[]", json.dumps({"pid": os.getpid()})):
        place.LOCAL_AWS.write_text(damaged)
        assert "cannot be read" in error_message(chat("sweep", "--local"))


async def test_local_finds_the_store_of_a_running_make_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = place.LOCAL_AWS
    async with local_aws(file.parent):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        done = await asyncio.to_thread(chat, "doctor", "--local", env=NO_AWS)
        assert (done.exit_code, "0 rows checked" in done.stderr) == (0, True), done.output
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["sweep"], "--stage NAME, --local"),
        (["sweep", "--stage", "dev", "--local"], "either --stage or --local"),
        (["--table", "t", "sweep", "--local"], "named twice"),
        (["--store", "postgres", "sweep", "--local"], "leave it out for PostgreSQL"),
    ],
)
def test_a_store_must_be_named_exactly_once(options: list[str], message: str) -> None:
    assert message in error_message(chat(*options))


def test_a_stage_that_is_not_deployed_is_reported_in_one_sentence(stage: list[str]) -> None:
    message = error_message(chat("sweep", "--stage", "next", *stage[2:]))
    assert "Stage next is not deployed in us-east-1: there is no stack chatkit-next-data" in message
    assert "has no stage 'prod'" in error_message(chat("sweep", "--stage", "prod", *stage[2:]))


# Errors


def test_a_missing_table_is_named(aws: Aws) -> None:
    assert "There is no table typo" in error_message(chat("--table", "typo", "export", "u"))


def test_a_missing_region_or_missing_credentials_are_reported_in_one_sentence() -> None:
    assert "No AWS region is set" in error_message(chat("--table", "t", "sweep", env=CREDENTIALS))
    env = NO_AWS | {"AWS_REGION": "us-east-1"}
    assert "There are no AWS credentials" in error_message(chat("--table", "t", "sweep", env=env))


def test_an_unreachable_endpoint_is_named() -> None:
    options = ["--table", "t", "--endpoint-url", "http://127.0.0.1:1", "sweep"]
    assert "http://127.0.0.1:1" in error_message(chat(*options))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:1"}, "http://127.0.0.1 cannot be reached"),
    ],
)
def test_a_missing_openai_key_or_an_unreachable_api_is_reported_in_one_sentence(
    env: dict[str, Any], message: str, tmp_path: Path
) -> None:
    raw = tmp_path / "raw.jsonl"
    assert message in error_message(chat("--table", "t", "import-hosted", str(raw), env=ENV | env))
    assert not raw.exists()


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("import-hosted", b'{"object": "chatkit.thr', "Line 1 of"),
        ("import-hosted", b'{"object": "chatkit.thread"}\n', "Line 1 is damaged"),
        ("import-hosted", b"[]\n", "Line 1 of"),
        ("import-hosted", b"\xff\xfe\n", "is not a UTF-8 text file"),
        ("import", b"\xff\xfe\n", "is not a UTF-8 text file"),
        ("import", b'{"kind": "item", "user": "u", "id": "i"}\n', "Record i is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(
    aws: Aws, tmp_path: Path, command: str, content: bytes, message: str
) -> None:
    file = tmp_path / "damaged.jsonl"
    file.write_bytes(content)
    assert message in error_message(chat("--table", aws.table(), command, str(file)))


def test_a_file_that_cannot_be_written_is_named(aws: Aws, tmp_path: Path) -> None:
    output = tmp_path / "no" / "folder.jsonl"
    assert f"{output}: No such file" in error_message(
        chat("--table", aws.table(), "export", "u", "--output", str(output))
    )
