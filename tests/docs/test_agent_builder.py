"""docs/how-to/agent-builder.md: its agents and tests run, its commands import threads, its front end is tested."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message
from typer.testing import CliRunner, Result

from infra.stacks.names import data_stack_name
from infra.stage.config import StageConfig
from lambda_src.auth import user_of
from lambda_src.cli.commands import app
from lambda_src.cli.transfer.hosted_chatkit import to_records
from lambda_src.cli.users import BACKEND
from lambda_src.context import RequestContext, User
from lambda_src.store.dynamodb import DynamoDBStore
from tests.apps.chat import message
from tests.apps.full import full_app_on_moto, items_of
from tests.docs.agent_project import agent_project
from tests.fakes.cloudformation_api import cloudformation_api
from tests.fakes.hosted_chatkit_api import hosted_api, item, thread
from tests.store.tables import Aws, moto_aws

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "agent-builder.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
JSON: list[str] = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
COMMANDS: list[str] = re.findall(r'^\$ make chat ARGS="(.+?)"$', TEXT, re.MULTILINE)
ANN, BOB = (user_of(BACKEND, subject).id for subject in ("ann", "bob"))

THREADS = [
    thread("cthr_1", created_at=1_700_000_000, user="ann"),
    thread("cthr_2", created_at=1_700_000_100, user="bob", status={"type": "locked", "reason": "r"}),
]
PICTURE = {"id": "file_1", "type": "image", "name": "shoe.png", "mime_type": "image/png"}
CITED = {"type": "file", "source": {"type": "file", "filename": "returns.pdf"}}
ITEMS = {
    "cthr_1": [
        item("m1", "cthr_1", "user_message", created_at=5, inference_options=None,
             content=[{"type": "input_text", "text": "Hello"}],
             attachments=[{**PICTURE, "preview_url": "https://files.example.com/1"}]),
        item("m2", "cthr_1", "assistant_message", created_at=6,
             content=[{"type": "output_text", "text": "30 days", "annotations": [CITED]}]),
    ],
    "cthr_2": [item("m3", "cthr_2", "widget", created_at=5, widget='{"type":"Card","children":[]}')],
}  # fmt: skip


def test_the_pages_tests_pass_with_its_agents(tmp_path: Path) -> None:
    root = agent_project(tmp_path / "project", FILES)
    command = [sys.executable, "-m", "pytest", "-q", "tests/agent"]
    completed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "2 passed" in completed.stdout, completed.stdout[-3000:] + completed.stderr[-1000:]


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def table(aws: Aws) -> str:
    return aws.table()


@pytest.fixture
def run(aws: Aws, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Result]]:
    """Run a command of the page, with stage `prod` deployed and the threads at OpenAI."""
    monkeypatch.chdir(tmp_path)
    stages = {"prod": {"region": "us-east-1"}}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"stage": "prod", "stages": stages}}))
    outputs = {data_stack_name("prod"): {"Table": table, "Bucket": aws.bucket()}}
    with cloudformation_api(outputs) as stacks, hosted_api(THREADS, ITEMS, page=10) as openai:
        env = {name: None for name in os.environ if name.startswith(("AWS_", "CHAT_"))} | {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_ENDPOINT_URL_CLOUDFORMATION": stacks,
            "OPENAI_BASE_URL": openai,
            "OPENAI_API_KEY": "secret",
        }
        yield lambda arguments: CliRunner().invoke(app, shlex.split(arguments), env=env)


def output_of(result: Result) -> str:
    """Return the output of a command that succeeded: stdout, or else stderr."""
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout or result.stderr


def threads_of(aws: Aws, table: str, user_id: str) -> list[Any]:
    """Return the threads that a user sees in the chat."""
    context = RequestContext(user=User(id=user_id), request_id="r")
    return asyncio.run(DynamoDBStore(aws.dynamodb, table).load_threads(10, None, "asc", context)).data


def test_the_pages_commands_import_the_threads(
    run: Callable[[str], Result], aws: Aws, table: str, tmp_path: Path
) -> None:
    keys, dry, imported, mapped, user_id, exported = COMMANDS[:6]
    [public_key] = json.loads(output_of(run(keys)))
    options = json.loads(JSON[1])
    assert options["auth"]["public_keys"][0].keys() == public_key.keys()
    options["auth"]["public_keys"] = [public_key]
    config = StageConfig.from_context({"stage": "prod", "stages": {"prod": options}})
    assert config.auth.audience == "chat"

    assert "5 records would be imported, 0 were there" in output_of(run(dry))
    assert len((tmp_path / "threads.jsonl").read_text().splitlines()) == 5
    assert threads_of(aws, table, ANN) == []
    assert "5 records imported, 0 were there" in output_of(run(imported))
    assert "0 records imported, 5 were there" in output_of(run(imported))
    assert [(row.id, row.title) for row in threads_of(aws, table, ANN)] == [("cthr_1", "about cthr_1")]

    assert output_of(run(user_id)) == f"{ANN}\n"
    records = [json.loads(line) for line in output_of(run(exported)).splitlines()]
    assert [(record["kind"], record["id"]) for record in records] == [
        ("thread", "cthr_1"), ("item", "m1"), ("item", "m2"),
    ]  # fmt: skip
    assert "shoe.png" in json.dumps(records[1])
    assert "returns.pdf" in json.dumps(records[2])

    (tmp_path / "users.csv").write_text("ann,customer-1\nbob,customer-2\n")
    assert "5 records imported" in output_of(run(mapped))
    assert len(threads_of(aws, table, user_of(BACKEND, "customer-2").id)) == 1


def test_a_repeated_import_keeps_what_users_changed(run: Callable[[str], Result], aws: Aws, table: str) -> None:
    imported = COMMANDS[2]
    output_of(run(imported))
    context = RequestContext(user=User(id=ANN), request_id="r")
    [mine] = threads_of(aws, table, ANN)
    asyncio.run(DynamoDBStore(aws.dynamodb, table).save_thread(mine.model_copy(update={"title": "Mine"}), context))
    assert "0 records imported, 5 were there" in output_of(run(imported))
    assert threads_of(aws, table, ANN)[0].title == "Mine"


def test_every_chat_command_on_the_page_is_tested_here() -> None:
    assert len(COMMANDS) == 6
    assert {arguments.split()[0] for arguments in COMMANDS} == {"keys", "import-hosted", "user-id", "export"}


def test_the_pages_stage_names_an_existing_store() -> None:
    auth = {"issuer": "https://login.example.org/", "audience": "chat"}
    config = StageConfig.from_context({"stage": "prod", "stages": {"prod": {"auth": auth, **json.loads(JSON[0])}}})
    assert dict(config.environment)["KNOWLEDGE_STORE"].startswith("vs_")


def test_the_pages_front_end_is_the_tested_one() -> None:
    [block] = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)
    tested = (ROOT / "docs" / "how-to" / "frontend.md").read_text(encoding="utf-8")
    tested_lines = {
        line.strip().removeprefix("export ").replace("api: ", "const api = ") for line in tested.splitlines()
    }
    lines = block.replace('"domain_pk_..."', '"local"').replace("};\n", "},\n").splitlines()
    assert [line for line in lines if line.strip() not in tested_lines and line.strip(",;") not in ("",)] == []


async def test_an_imported_thread_can_be_continued() -> None:
    """Its image is still at OpenAI: the model gets a note that it is missing, and answers anyway."""
    with full_app_on_moto() as full_app:
        for record in to_records([THREADS[0], *ITEMS["cthr_1"]]):
            plain = {name: value for name, value in record.items() if name != "user"}
            await full_app.store.import_record(plain, RequestContext(user=User(id="ann"), request_id="r"))
        model = ScriptedModel([[assistant_message("Yes.")]])
        chat = full_app.chat(model=model)
        answer = await chat("threads.add_user_message", thread_id="cthr_1", input=message("Also for shoes?"))
        thread_answer = await chat("threads.get_by_id", thread_id="cthr_1")
    assert not answer.of("error"), answer.events
    assert items_of(answer)[-1]["content"][0]["text"] == "Yes."
    model_input = json.dumps(model.calls[0].input)
    assert [words in model_input for words in ("Hello", "30 days", "shoe.png")] == [True, True, True]
    [old, cited, *_] = thread_answer.json["items"]["data"]
    assert old["attachments"][0]["name"] == "shoe.png"
    assert cited["content"][0]["annotations"][0]["source"]["filename"] == "returns.pdf"
