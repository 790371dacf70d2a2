"""Whose data a command works on, and where: --stage, --local, --issuer and --subject; and mistakes as one sentence."""

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
KEYS = NO_AWS | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
HERE = KEYS | {"AWS_REGION": "us-east-1"}


def chat(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    """Run a command with this environment, and with nothing of the shell's AWS settings."""
    return CliRunner().invoke(app, list(arguments), env=HERE if env is None else env)


def sentence(result: Result) -> str:
    """What a command that failed said: one sentence or two, no traceback."""
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
    """Options for a stage `dev`, deployed with what ann has."""
    table, bucket = aws.table(), aws.bucket()
    asyncio.run(populate(DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3), ANN))
    cdk_json = tmp_path / "cdk.json"
    stages = {"dev": {"region": "us-east-1"}, "next": {"region": "us-east-1"}}
    cdk_json.write_text(json.dumps({"context": {"stage": "dev", "stages": stages}}))
    with cloudformation_api({data_stack_name("dev"): {"Table": table, "Bucket": bucket}}) as url:
        monkeypatch.setitem(HERE, "AWS_ENDPOINT_URL_CLOUDFORMATION", url)
        yield ["--stage", "dev", "--cdk-json", str(cdk_json)]


# Who


def test_the_id_of_a_user_is_printed() -> None:
    assert chat("user-id", "--issuer", ISSUER, "--subject", "ann").stdout == f"{ANN}\n"
    assert chat("user-id", "--issuer", ISSUER, "--subject", "ann", "--assistant", "sales").stdout == f"{ANN}.sales\n"


def test_the_issuer_of_your_own_backend_is_the_one_that_the_server_uses() -> None:
    assert users.BACKEND == backend_tokens.NAMESPACE


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Name the user"),
        (("--subject", "ann"), "--issuer is missing"),
        (("--issuer", ISSUER), "--subject is missing"),
        (("--issuer", ISSUER, "--subject", ""), "--subject is empty"),
        (("--issuer", " ", "--subject", "ann"), "--issuer is empty"),
        (("an-id", "--issuer", ISSUER, "--subject", "ann"), "Name the user once"),
    ],
)
def test_a_user_that_is_not_named_or_named_twice_is_refused(options: tuple[str, ...], told: str) -> None:
    for command in ("export", "erase"):
        assert told in sentence(chat("--table", "any", command, *options))


def test_a_named_customer_is_exported_and_erased_in_a_stage(stage: list[str]) -> None:
    who = ["--issuer", ISSUER, "--subject", "ann"]
    exported = chat("export", *who, *stage)
    assert exported.exit_code == 0, exported.output
    assert len(exported.stdout.splitlines()) == 15
    assert {json.loads(line)["user"] for line in exported.stdout.splitlines()} == {ANN}
    assert chat("doctor", *stage).exit_code == 0
    assert "Removed 2 threads" in chat("erase", *who, *stage, "--yes").stderr
    assert chat("sweep", *stage).exit_code == 0
    nothing = chat("erase", *who, *stage, "--yes")
    assert (nothing.exit_code, "had nothing in table" in nothing.stderr) == (0, True)


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
        env = HERE | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "secret"}
        done = chat("--table", table, "import-hosted", str(raw), *options, env=env)
    assert done.exit_code == 0, done.output
    assert len(chat("--table", table, "export", owner).stdout.splitlines()) == 2


def test_a_user_without_a_line_in_the_map_is_named(aws: Aws, tmp_path: Path) -> None:
    raw, users_csv = tmp_path / "raw.jsonl", tmp_path / "map.csv"
    raw.write_text(json.dumps(thread("cthr_1", created_at=1)) + "\n")
    users_csv.write_text("bob,customer-7\n")
    options = ["import-hosted", str(raw), "--issuer", ISSUER, "--map", str(users_csv)]
    assert "has no line for user ada" in sentence(chat("--table", aws.table(), *options))


# Where


@pytest.mark.parametrize("command", [["export", "u"], ["erase", "u", "--yes"], ["sweep"], ["doctor"]])
def test_without_make_dev_local_is_a_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`make dev` is not running here" in sentence(chat(*command, "--local"))


def test_make_dev_that_was_killed_is_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place.LOCAL_AWS.parent.mkdir(parents=True)
    place.LOCAL_AWS.write_text(json.dumps({"pid": 2**22 + 1}))
    assert "`make dev` is not running here" in sentence(chat("sweep", "--local"))
    for damaged in ("{", "[]", json.dumps({"pid": os.getpid()})):
        place.LOCAL_AWS.write_text(damaged)
        assert "cannot be read" in sentence(chat("sweep", "--local"))


async def test_the_data_of_make_dev_are_found_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = place.LOCAL_AWS
    async with local_aws(file.parent):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        done = await asyncio.to_thread(chat, "doctor", "--local", env=NO_AWS)
        assert (done.exit_code, "0 rows checked" in done.stderr) == (0, True), done.output
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["sweep"], "--stage NAME, --local"),
        (["sweep", "--stage", "dev", "--local"], "either --stage or --local"),
        (["--table", "t", "sweep", "--local"], "named twice"),
        (["--store", "postgres", "sweep", "--local"], "leave it out for PostgreSQL"),
    ],
)
def test_a_place_that_is_not_named_or_named_twice_is_refused(options: list[str], told: str) -> None:
    assert told in sentence(chat(*options))


def test_a_stage_that_is_not_deployed_is_a_sentence(stage: list[str]) -> None:
    told = sentence(chat("sweep", "--stage", "next", *stage[2:]))
    assert "Stage next is not deployed in us-east-1: there is no stack chatkit-next-data" in told
    assert "has no stage 'prod'" in sentence(chat("sweep", "--stage", "prod", *stage[2:]))


# Mistakes


def test_a_wrong_table_is_named(aws: Aws) -> None:
    assert "There is no table typo" in sentence(chat("--table", "typo", "export", "u"))


def test_no_region_and_no_credentials_are_sentences() -> None:
    assert "No AWS region is set" in sentence(chat("--table", "t", "sweep", env=KEYS))
    env = NO_AWS | {"AWS_REGION": "us-east-1"}
    assert "There are no AWS credentials" in sentence(chat("--table", "t", "sweep", env=env))


def test_an_endpoint_that_nobody_serves_is_named() -> None:
    options = ["--table", "t", "--endpoint-url", "http://127.0.0.1:1", "sweep"]
    assert "http://127.0.0.1:1" in sentence(chat(*options))


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:1"}, "http://127.0.0.1 cannot be reached"),
    ],
)
def test_openai_without_a_key_or_out_of_reach_is_a_sentence(env: dict[str, Any], told: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    assert told in sentence(chat("--table", "t", "import-hosted", str(raw), env=HERE | env))
    assert not raw.exists()


@pytest.mark.parametrize(
    ("command", "content", "told"),
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
    aws: Aws, tmp_path: Path, command: str, content: bytes, told: str
) -> None:
    file = tmp_path / "damaged.jsonl"
    file.write_bytes(content)
    assert told in sentence(chat("--table", aws.table(), command, str(file)))


def test_a_file_that_cannot_be_written_is_named(aws: Aws, tmp_path: Path) -> None:
    output = tmp_path / "no" / "folder.jsonl"
    assert f"{output}: No such file" in sentence(chat("--table", aws.table(), "export", "u", "--output", str(output)))
