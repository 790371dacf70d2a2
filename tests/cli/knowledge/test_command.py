"""`chat knowledge`: syncs a folder of documents to an OpenAI vector store, against a fake API on loopback."""

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner, Result

from lambda_src.cli.commands import app
from lambda_src.cli.knowledge import vector_store
from lambda_src.cli.knowledge.documents import read_folder
from tests.fakes.vector_store_api import KEY, Answer, Dead, VectorStoreApi, vector_store_api

ROOT = Path(__file__).parents[3]
Knowledge = Callable[..., Result]
Write = Callable[[dict[str, str]], None]


@pytest.fixture
def api() -> Iterator[VectorStoreApi]:
    with vector_store_api() as api:
        yield api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def cdk_json(tmp_path: Path) -> Path:
    file = tmp_path / "cdk.json"
    file.write_text('{"context": {"stage": "dev", "stages": {"dev": {}, "prod": {"environment": {"A": "b"}}}}}\n')
    return file


@pytest.fixture
def write(folder: Path) -> Write:
    """Replaces the contents of the folder with these documents."""

    def replace_with(documents: dict[str, str]) -> None:
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            file.unlink()
        for path, text in documents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")

    return replace_with


@pytest.fixture
def run(api: VectorStoreApi, folder: Path, cdk_json: Path, monkeypatch: pytest.MonkeyPatch) -> Knowledge:
    """Runs the command on the folder."""
    monkeypatch.setattr(vector_store, "BATCH", 3)  # so that a few documents are several batches

    def run_command(*options: str, env: dict[str, str | None] | None = None, user_says: str | None = None) -> Result:
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": api.url, "NO_PROXY": "*"} | (env or {})
        arguments = ["knowledge", str(folder), "--cdk-json", str(cdk_json), *options]
        return CliRunner().invoke(app, arguments, env=environ, input=user_says)

    return run_command


def store_of(cdk_json: Path, stage: str = "dev") -> str:
    """The vector store ID that cdk.json has for the stage."""
    store: str = json.loads(cdk_json.read_text())["context"]["stages"][stage]["environment"]["KNOWLEDGE_STORE"]
    return store


def writes(api: VectorStoreApi) -> list[tuple[str, str]]:
    """The requests that were not reads."""
    return [(method, path) for method, path in api.requests if method != "GET"]


SEVEN = {f"page-{number}.md": f"# Page {number}" for number in range(7)}


def test_a_folder_becomes_a_vector_store_whose_id_is_saved_for_the_stage(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    documents = {
        "returns.md": "30 days",
        "guides/sizes.md": "S to XL",
        "guides/Rückgabe 1.txt": "30 Tage",
        "a.PDF": "%",
    }
    write(documents)
    result = run("--stage", "prod")
    assert result.exit_code == 0, result.output
    store = store_of(cdk_json, "prod")
    assert api.texts(store) == documents
    assert json.loads(cdk_json.read_text())["context"]["stages"]["prod"]["environment"]["A"] == "b"
    assert {file["purpose"] for file in api.files.values()} == {"assistants"}
    assert "4 added, 0 updated, 0 removed, 0 unchanged" in result.stderr
    assert store in result.stderr


def test_only_changes_are_uploaded_again(run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path) -> None:
    write(SEVEN)
    assert run().exit_code == 0
    api.requests.clear()
    assert "7 unchanged" in run().stderr
    assert writes(api) == []
    documents = {**SEVEN, "page-1.md": "changed", "new.md": "new"}
    del documents["page-2.md"]
    write(documents)
    result = run()
    assert "1 added, 1 updated, 1 removed, 5 unchanged" in result.stderr
    assert api.texts(store_of(cdk_json)) == documents
    assert len(api.files) == len(documents), "replaced and removed files must be deleted"
    assert sum(request == ("POST", "/files") for request in writes(api)) == 2


def test_a_dry_run_lists_the_changes_without_making_them(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    before = cdk_json.read_text()
    write({"a.md": "a", "b.md": "b", "c.md": "c"})
    first = run("--dry-run", env={"OPENAI_API_KEY": None})
    assert (first.exit_code, first.stdout) == (0, "add\ta.md\nadd\tb.md\nadd\tc.md\n")
    assert (api.requests, cdk_json.read_text()) == ([], before)
    run()
    api.requests.clear()
    write({"a.md": "changed", "b.md": "b", "d.md": "d"})
    second = run("--dry-run")
    assert second.stdout == "add\td.md\nupdate\ta.md\nremove\tc.md\n"
    assert writes(api) == []


def test_links_are_stored_with_the_documents_and_can_change_without_an_upload(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write({"guides/my sizes.md": "S"})
    assert run("--link", "https://docs.example.com/{path}").exit_code == 0
    [row] = api.stores[store_of(cdk_json)].values()
    assert row["attributes"]["url"] == "https://docs.example.com/guides/my%20sizes.md"
    api.requests.clear()
    assert "1 with another link" in run("--link", "https://docs.example.com/{page}.html").stderr
    assert row["attributes"]["url"] == "https://docs.example.com/guides/my%20sizes.html"
    assert not [path for method, path in writes(api) if path == "/files"]


@pytest.mark.parametrize("link", ["docs.example.com/{path}", "https://docs.example.com/", "javascript:{path}"])
def test_a_link_template_that_is_not_a_document_url_is_refused(run: Knowledge, write: Write, link: str) -> None:
    write({"a.md": "a"})
    result = run("--link", link)
    assert (result.exit_code, "is not a link to a document" in result.stderr) == (1, True)


def test_unsupported_files_are_skipped_with_a_message_and_the_rest_are_uploaded(
    run: Knowledge, write: Write, api: VectorStoreApi, folder: Path, cdk_json: Path
) -> None:
    write({
        "a.md": "a", "logo.png": "x", "b.PNG": "x", "LICENSE": "x", "empty.md": "", ".env": "SECRET=1",
        ".git/config.md": "x", "bad\u202ename.md": "x",
    })  # fmt: skip
    (folder / "link.md").symlink_to("/etc/hostname")
    result = run()
    assert result.exit_code == 0, result.output
    assert api.texts(store_of(cdk_json)) == {"a.md": "a"}
    assert "types: .png (2), no ending (1)." in result.stderr
    assert "empty.md is left out: it is empty." in result.stderr
    assert "link.md is left out: it is a symbolic link." in result.stderr
    assert "'bad\\u202ename.md' is left out" in result.stderr
    assert ".env" not in result.stderr


@pytest.mark.parametrize(
    ("name", "reason"), [("broken.pdf", "OpenAI cannot read it"), ("refused.doc", "OpenAI does not read this type")]
)
def test_a_document_that_openai_refuses_is_named_and_the_others_are_uploaded(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path, name: str, reason: str
) -> None:
    write({**SEVEN, name: "x"})
    result = run()
    assert result.exit_code == 1
    assert f"{name} is not taken: {reason}" in result.stderr
    assert "secret words" not in result.output
    assert api.texts(store_of(cdk_json)) == SEVEN
    assert len(api.files) == len(SEVEN), "the refused file must be deleted"


def test_a_refused_upload_is_retried_by_the_next_run(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    refusals = [413]

    def refuse(method: str, path: str) -> Answer | None:
        return (refusals.pop(), {"error": {}}) if refusals and (method, path) == ("POST", "/files") else None

    api.before = refuse
    write(SEVEN)
    assert run().exit_code == 1
    assert len(api.texts(store_of(cdk_json))) == 6
    assert run().exit_code == 0
    assert api.texts(store_of(cdk_json)) == SEVEN


def test_the_old_version_of_a_document_stays_until_the_new_one_is_accepted(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write({"broken.md": "old", "b.md": "b"})
    api.before = lambda method, path: None
    store = api.new_id("vs")
    api.stores[store] = {}
    api.add(store, "good.md", b"old", {"path": "broken.md", "sha256": "0" * 64})
    cdk_json.write_text(
        json.dumps({"context": {"stage": "dev", "stages": {"dev": {"environment": {"KNOWLEDGE_STORE": store}}}}})
    )
    assert run().exit_code == 1
    assert api.texts(store) == {"broken.md": "old", "b.md": "b"}


def test_files_that_other_programs_added_are_left_alone(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write({"a.md": "a"})
    run()
    store = store_of(cdk_json)
    foreign_files = [api.add(store, "a.md", b"theirs", None), api.add(store, "x.md", b"theirs", {"path": "a.md"})]
    api.files["file_free"] = {"id": "file_free", "filename": "a.md", "content": b"", "purpose": "assistants"}
    write({"b.md": "b"})
    assert run("--yes").exit_code == 0
    assert {*foreign_files, "file_free"} <= api.files.keys()
    assert set(foreign_files) <= api.stores[store].keys()
    assert len(api.files) == 4


@pytest.mark.parametrize("page", [1, 2, 100])
def test_long_lists_are_read_page_by_page(run: Knowledge, write: Write, api: VectorStoreApi, page: int) -> None:
    api.page = page
    write(SEVEN)
    assert "7 added" in run().stderr
    assert "7 unchanged" in run().stderr


def test_requests_are_retried_after_a_rate_limit(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    api.before = lambda method, path: (429, {"error": {}}) if len(api.requests) % 3 == 0 else None
    write(SEVEN)
    assert run().exit_code == 0
    assert api.texts(store_of(cdk_json)) == SEVEN


def test_the_number_of_concurrent_requests_is_limited(run: Knowledge, write: Write, api: VectorStoreApi) -> None:
    write({f"{number}.md": str(number) for number in range(20)})
    assert run().exit_code == 0
    assert 1 <= api.most_busy <= vector_store.PARALLEL


class FailingConnection:
    """Breaks the connection at request number `at`, before or after it is processed, and at every later request."""

    def __init__(self, at: int, *, after_processing: bool) -> None:
        self._left, self._after_processing, self.broken = at, after_processing, False

    def before(self, method: str, path: str) -> Answer | None:
        if self.broken:
            raise Dead
        self._left -= 1
        if self._left == 0:
            self.broken = True
            if not self._after_processing:
                raise Dead
        return None

    def after(self, method: str, path: str) -> None:
        if self.broken:
            raise Dead


async def test_a_run_that_was_interrupted_at_any_request_is_finished_by_the_next(
    write: Write, api: VectorStoreApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_store, "BATCH", 2)
    old = {"a.md": "a", "b.md": "b", "c.md": "c"}
    new = {"a.md": "a", "b.md": "changed", "d.md": "d", "e.md": "e"}
    client = openai.AsyncOpenAI(api_key=KEY, base_url=api.url, max_retries=0)
    store = await vector_store.VectorStore.created(client, "docs")

    async def update() -> None:
        documents, _ = read_folder(folder)
        contents = await store.contents()
        assert not await store.apply(vector_store.plan_of(documents, contents.kept), contents, step=lambda: None)

    write(old)
    await update()
    before_update = copy.deepcopy((api.files, api.stores, api.batches))
    write(new)
    broken, at = True, 0
    while broken:
        at += 1
        for after_processing in (False, True):
            api.files, api.stores, api.batches = copy.deepcopy(before_update)
            connection = FailingConnection(at, after_processing=after_processing)
            api.before, api.after = connection.before, connection.after
            with contextlib.suppress(openai.APIConnectionError):
                await update()
            api.before, api.after = lambda method, path: None, lambda method, path: None
            await update()
            assert api.texts(store.id) == new, (at, after_processing)
            assert api.files.keys() == api.stores[store.id].keys(), "every upload must be in the store"
            broken = connection.broken
    assert at > 12
    await client.close()


def test_a_first_run_that_was_killed_is_finished_by_the_next(
    run: Knowledge, write: Write, api: VectorStoreApi, folder: Path, cdk_json: Path
) -> None:
    write(SEVEN)
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": api.url, "NO_PROXY": "*"}
    command = [sys.executable, "-m", "lambda_src.cli", "knowledge", str(folder), "--cdk-json", str(cdk_json)]
    uploads: list[str] = []

    def kill(method: str, path: str) -> None:
        uploads.append(path)
        if uploads.count("/files") == 3:
            process.kill()

    api.after = kill
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    assert process.wait() == -signal.SIGKILL
    api.after = lambda method, path: None
    store = store_of(cdk_json)
    assert len(api.files) >= 3
    assert run().exit_code == 0
    assert store_of(cdk_json) == store
    assert api.texts(store) == SEVEN
    assert len(api.files) == len(SEVEN)


def test_documents_that_an_earlier_run_left_in_progress_are_waited_for(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write({"a.md": "a"})
    run()
    [row] = api.stores[store_of(cdk_json)].values()
    row["status"] = "in_progress"
    assert "1 unchanged" in run().stderr
    assert row["status"] == "completed"


def test_documents_that_take_too_long_to_process_are_reported_in_one_sentence(
    run: Knowledge, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_store, "PROCESSING_S", 0)
    write({"a.md": "a"})
    result = run()
    assert (result.exit_code, "still processing" in result.stderr) == (1, True)


def test_removing_most_documents_needs_confirmation(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write(SEVEN)
    run()
    write({"page-0.md": "# Page 0"})
    no = run(user_says="n\n")
    assert (no.exit_code, "Remove 6 of 7 documents?" in no.stderr) == (1, True)
    assert run(user_says="").exit_code == 1, "without an answer nothing may be removed"
    assert api.texts(store_of(cdk_json)) == SEVEN
    assert run(user_says="y\n").exit_code == 0
    assert list(api.texts(store_of(cdk_json))) == ["page-0.md"]


def error_message(result: Result) -> str:
    """The error message of a failed command, which must not be a traceback."""
    assert result.exit_code == 1, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.stderr


def test_user_errors_are_one_sentence_each(
    run: Knowledge, write: Write, folder: Path, cdk_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_store, "RETRIES", 0)
    assert "has no documents" in error_message(run())
    write({"a.md": "a"})
    assert "has no stage 'nope'" in error_message(run("--stage", "nope"))
    assert "OPENAI_API_KEY is not set" in error_message(run(env={"OPENAI_API_KEY": None}))
    assert "OpenAI refuses OPENAI_API_KEY (401)" in error_message(run(env={"OPENAI_API_KEY": "sk-wrong"}))
    assert "cannot be reached" in error_message(run(env={"OPENAI_BASE_URL": "http://127.0.0.1:9"}))
    assert "KNOWLEDGE_STORE" not in cdk_json.read_text()
    folder.rename(folder.with_name("other"))
    assert "is not a folder" in error_message(run())


def test_a_deleted_vector_store_is_reported_in_one_sentence(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path
) -> None:
    write({"a.md": "a"})
    run()
    api.stores.clear()
    assert "has no vector store" in error_message(run())


def test_if_cdk_json_cannot_be_written_the_message_says_what_to_add(
    run: Knowledge, write: Write, api: VectorStoreApi, cdk_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    write({"a.md": "a"})
    message = error_message(run())
    [store] = api.stores
    assert f'(Permission denied): add "KNOWLEDGE_STORE": "{store}"' in message
