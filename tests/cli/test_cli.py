"""The `chat` command line: export, import, erase, sweep, doctor and migrate, on moto and on a real PostgreSQL."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from lambda_src.cli.commands import app
from lambda_src.cli.retirement import today
from lambda_src.dev.store_contract.samples import context_of, item_ids, message_of, thread_of
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.fakes.hosted_chatkit_api import hosted_api, item, thread
from tests.fakes.secret_apis import models_api
from tests.store.local import populate
from tests.store.postgres import postgres
from tests.store.tables import Aws

ADA = context_of("ada")
Chat = Callable[..., Result]


@pytest.fixture
def table(aws: Aws) -> str:
    """A new table."""
    return aws.table()


@pytest.fixture
def bucket(aws: Aws) -> str:
    """A new bucket."""
    return aws.bucket()


@pytest.fixture
def store(aws: Aws, table: str, bucket: str) -> DynamoDBStore:
    """A store that holds data of ada and bob."""
    store = DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3)

    async def fill() -> None:
        await populate(store, "ada")
        await populate(store, "bob")

    asyncio.run(fill())
    return store


@pytest.fixture
def chat(table: str, bucket: str) -> Chat:
    """Runs a command on the table and the bucket."""

    def run(*arguments: str, env: dict[str, str] | None = None, user_says: str | None = None) -> Result:
        options = ("--table", table, "--bucket", bucket)
        return CliRunner().invoke(app, [*options, *arguments], env=env, input=user_says)

    return run


def records_in(path: Path) -> list[dict[str, Any]]:
    """The records in a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_command_has_help() -> None:
    commands = ["migrate", "export", "erase", "import", "import-hosted", "sweep", "doctor"]
    overview = CliRunner().invoke(app, ["--help"])
    for command in commands:
        assert command in overview.output
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_without_a_table_the_message_names_the_missing_option() -> None:
    result = CliRunner().invoke(app, ["doctor"], env={"CHAT_TABLE": ""})
    assert result.exit_code == 1
    assert "--table" in result.stderr


def test_an_unknown_store_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["--store", "oracle", "doctor"]).exit_code == 2


def test_an_export_writes_one_line_per_record_to_standard_output(chat: Chat, store: DynamoDBStore) -> None:
    result = chat("export", "ada")
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"thread": 2, "item": 8, "feedback": 2, "attachment": 3}


def test_exporting_after_an_import_gives_the_same_bytes(chat: Chat, store: DynamoDBStore, tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    assert chat("export", "ada", "--output", str(first)).exit_code == 0
    assert chat("erase", "ada", "--yes").exit_code == 0
    assert "15 records would be imported" in chat("import", str(first), "--dry-run").stderr
    assert chat("export", "ada").stdout == ""
    assert "15 records imported, 0 were there" in chat("import", str(first)).stderr
    assert chat("export", "ada", "--output", str(second)).exit_code == 0
    assert second.read_bytes() == first.read_bytes()


def test_an_import_that_failed_is_finished_by_running_it_again(
    chat: Chat, store: DynamoDBStore, tmp_path: Path
) -> None:
    complete, half = tmp_path / "whole.jsonl", tmp_path / "half.jsonl"
    chat("export", "ada", "--output", str(complete))
    lines = complete.read_text().splitlines(keepends=True)
    half.write_text("".join(lines[:6]) + lines[6][:10])
    chat("erase", "ada", "--yes")
    failed = chat("import", str(half))
    assert (failed.exit_code, "Line 7" in failed.stderr) == (1, True)
    assert chat("import", str(complete)).exit_code == 0
    assert chat("export", "ada").stdout == complete.read_text()


def test_an_import_can_be_mapped_to_another_user(chat: Chat, store: DynamoDBStore, tmp_path: Path) -> None:
    file, users = tmp_path / "ada.jsonl", tmp_path / "users.csv"
    chat("export", "ada", "--output", str(file))
    users.write_text("ada,carol\n")
    assert chat("import", str(file), "--map", str(users)).exit_code == 0
    assert chat("export", "carol").stdout == file.read_text().replace('"user":"ada"', '"user":"carol"')


def test_importing_a_different_value_for_an_existing_id_is_a_conflict(
    chat: Chat, store: DynamoDBStore, tmp_path: Path
) -> None:
    file = tmp_path / "ada.jsonl"
    chat("export", "ada", "--output", str(file))
    file.write_text(file.read_text().replace("hello", "hallo"))
    result = chat("import", str(file))
    assert (result.exit_code, "msg_0" in result.stderr) == (1, True)


def test_attachments_are_exported_as_links_or_files(
    aws: Aws, chat: Chat, store: DynamoDBStore, bucket: str, tmp_path: Path
) -> None:
    key = keys.attachment_objects("ada", "atc_free") + "a.txt"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=b"bytes")
    linked = [json.loads(line) for line in chat("export", "ada", "--links-for", "60").stdout.splitlines()]
    (link,) = next(record["links"] for record in linked if record["id"] == "atc_free")
    assert "X-Amz-Expires=60" in link
    written = [json.loads(line) for line in chat("export", "ada", "--files-to", str(tmp_path)).stdout.splitlines()]
    (name,) = next(record["files"] for record in written if record["id"] == "atc_free")
    assert (tmp_path / name).read_bytes() == b"bytes"


@pytest.mark.parametrize("option", [("--links-for", "60"), ("--files-to", "files")])
def test_exporting_attachments_without_a_bucket_prints_one_sentence(option: tuple[str, str]) -> None:
    env = {"CHAT_TABLE": "threads", "CHAT_BUCKET": None}
    result = CliRunner().invoke(app, ["export", "ada", *option], env=env)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip() == (
        "No bucket of table threads is named: use --bucket (CHAT_BUCKET), --stage or --local."
    )


@pytest.mark.parametrize("seconds", ["-1", "604801", "soon"])
def test_a_link_lifetime_that_s3_does_not_allow_is_a_usage_error(seconds: str) -> None:
    assert CliRunner().invoke(app, ["export", "ada", "--links-for", seconds]).exit_code == 2


def test_erase_asks_first_then_reports_what_it_removed_and_leaves_nothing(
    aws: Aws, chat: Chat, store: DynamoDBStore, table: str, bucket: str
) -> None:
    assert chat("erase", "ada", user_says="n\n").exit_code == 1
    assert len(chat("export", "ada").stdout.splitlines()) == 15
    result = chat("erase", "ada", user_says="y\n")
    assert "Removed 2 threads, 8 items, 3 attachments, 2 objects." in result.stderr
    assert all("deleted_at" in row for row in aws.rows(table) if "USER#ada" in str(row))
    assert not [key for key in aws.objects(bucket) if "/ada/" in key]
    assert len(chat("export", "bob").stdout.splitlines()) == 15


def test_sweep_finishes_an_interrupted_delete(
    aws: Aws, chat: Chat, store: DynamoDBStore, table: str, bucket: str
) -> None:
    asyncio.run(store.delete_thread("thr_0", ADA))
    assert "4 items, 1 attachments, 1 objects" in chat("sweep").stderr
    assert not [row for row in aws.rows(table) if "USER#ada#THREAD#thr_0" in str(row) and "ITEM#" in str(row)]


@pytest.mark.parametrize(("days", "code"), [(30, 0), (-1, 1)])
def test_doctor_warns_about_models_that_are_shut_down_soon(chat: Chat, tmp_path: Path, days: int, code: int) -> None:
    day = str(today() + timedelta(days=days))
    cdk_json = tmp_path / "cdk.json"
    with models_api(good="sk-test", listed=[{"id": "mine", "shutdown_date": day}]) as url:
        stage = {"region": "us-east-1", "models": ["mine"], "settings": {"model_base_url": url}}
        cdk_json.write_text(json.dumps({"context": {"stages": {"dev": stage}}}))
        boto3.client("ssm", region_name="us-east-1").put_parameter(
            Name="/chatkit/dev/model-key", Value="sk-test", Type="SecureString"
        )
        result = chat("doctor", "--stage", "dev", "--cdk-json", str(cdk_json))
    assert (result.exit_code, f"mine on {day}" in result.stdout) == (code, True)


def test_doctor_lists_unreadable_and_orphaned_items(aws: Aws, chat: Chat, store: DynamoDBStore, table: str) -> None:
    assert chat("doctor").exit_code == 0
    key = {"pk": {"S": keys.thread_partition("ada", "thr_0")}, "sk": {"S": keys.item_sort("msg_1")}}
    aws.dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET payload = :p",
        ExpressionAttributeValues={":p": {"B": b"{}"}},
    )
    asyncio.run(store.add_thread_item("thr_lost", message_of(), ADA))
    result = chat("doctor")
    assert result.exit_code == 1
    assert sorted(result.stdout.splitlines()) == [
        "item without a thread\tada\tthr_lost\tmsg_1",
        "unreadable\tada\tthr_0\tmsg_1",
    ]


HOSTED_THREADS = [
    thread("cthr_1", created_at=1_700_000_000),
    thread("cthr_2", created_at=1_700_000_100, user="bob", status={"type": "locked", "reason": "r"}, title=None),
    thread("cthr_3", created_at=1_700_000_200),
]
HOSTED_ITEMS = {
    "cthr_1": [
        item("m1", "cthr_1", "user_message", created_at=5, attachments=[], inference_options=None,
             content=[{"type": "input_text", "text": "Hello"}, {"type": "quoted_text", "text": "q"}]),
        item("m2", "cthr_1", "assistant_message", created_at=5, content=[
            {"type": "output_text", "text": "Hi", "annotations": [
                {"type": "file", "source": {"type": "file", "filename": "f.pdf"}},
                {"type": "url", "source": {"type": "url", "url": "https://e.org"}}]}]),
        item("m3", "cthr_1", "client_tool_call", created_at=5, call_id="c", name="n", arguments='{"a":1}',
             output='{"b":2}', status="completed"),
        item("m4", "cthr_1", "widget", created_at=5, widget='{"type":"Card","children":[]}'),
        item("m5", "cthr_1", "task", created_at=5, heading="h", summary="s", task_type="thought"),
        item("m6", "cthr_1", "task_group", created_at=5, tasks=[{"type": "custom", "heading": "h", "summary": None}]),
        item("m7", "cthr_1", "hologram", created_at=4),
    ],
    "cthr_2": [],
    "cthr_3": [item("m1", "cthr_3", "task", created_at=9, heading="h", summary=None, task_type="custom")],
}  # fmt: skip


@pytest.mark.parametrize("page", [1, 2, 100])
def test_hosted_threads_are_imported_with_ids_order_titles_and_times(
    aws: Aws, chat: Chat, table: str, tmp_path: Path, page: int
) -> None:
    raw = tmp_path / "raw.jsonl"
    with hosted_api(HOSTED_THREADS, HOSTED_ITEMS, page=page) as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "secret"}
        result = chat("import-hosted", str(raw), env=env)
    assert "11 records imported" in result.stderr, result.output
    assert [value["id"] for value in records_in(raw)] == [
        "cthr_1", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "cthr_2", "cthr_3", "m1",
    ]  # fmt: skip
    store = DynamoDBStore(aws.dynamodb, table)
    threads = asyncio.run(store.load_threads(10, None, "asc", ADA)).data
    assert [(t.id, t.title, int(t.created_at.timestamp())) for t in threads] == [
        ("cthr_1", "about cthr_1", 1_700_000_000),
        ("cthr_3", "about cthr_3", 1_700_000_200),
    ]
    page_of_items = asyncio.run(store.load_thread_items("cthr_1", None, 10, "asc", ADA)).data
    assert [i.id for i in page_of_items] == ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]
    assert [i.type for i in page_of_items] == [
        "user_message", "assistant_message", "client_tool_call", "widget", "task", "workflow", "task",
    ]  # fmt: skip
    replayed = chat("import-hosted", str(raw))
    assert "0 records imported, 11 were there" in replayed.stderr


def test_postgres_can_be_migrated_filled_and_emptied(
    aws: Aws, chat: Chat, store: DynamoDBStore, tmp_path: Path
) -> None:
    """An export from DynamoDB imports into PostgreSQL, and exports from there as the same bytes."""
    file = tmp_path / "ada.jsonl"
    chat("export", "ada", "--output", str(file))
    with postgres() as url:
        plain = url.replace("postgresql+asyncpg://", "postgresql://")

        def on_postgres(*arguments: str) -> Result:
            return CliRunner().invoke(app, ["--store", "postgres", "--database-url", plain, *arguments])

        assert "none -> 0002" in on_postgres("migrate").stderr
        assert "0002 -> 0002" in on_postgres("migrate").stderr
        assert "15 records imported" in on_postgres("import", str(file)).stderr
        assert on_postgres("export", "ada").stdout == file.read_text()
        assert on_postgres("doctor").exit_code == 0
        assert on_postgres("sweep").exit_code == 0
        assert "Removed 2 threads, 8 items, 3 attachments" in on_postgres("erase", "ada", "--yes").stderr
        assert on_postgres("export", "ada").stdout == ""


def test_an_unreachable_database_is_a_message_and_not_a_traceback() -> None:
    options = ["--store", "postgres", "--database-url", "postgresql://nobody@/nothing?host=/nowhere"]
    result = CliRunner().invoke(app, [*options, "export", "ada"])
    assert (result.exit_code, "could not be reached" in result.stderr) == (1, True)


def test_deleting_a_thread_that_was_never_saved_removes_its_items(aws: Aws, table: str) -> None:
    store = DynamoDBStore(aws.dynamodb, table)

    async def run() -> list[str]:
        await store.add_thread_item("thr_1", message_of(), ADA)
        await store.delete_thread("thr_1", ADA)
        await store.sweep_thread("thr_1", ADA, stop=lambda: False)
        await store.save_thread(thread_of(), ADA)
        return await item_ids(store, "thr_1", ADA)

    assert asyncio.run(run()) == []


def test_listing_the_commands_imports_no_heavy_package() -> None:
    heavy = "{'boto3', 'chatkit', 'cryptography', 'httpx2', 'openai', 'pydantic', 'rich.markdown', 'sqlalchemy'}"
    script = f"import sys, lambda_src.cli.commands; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
