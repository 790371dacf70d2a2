"""`chat inbox`: the matters of one assistant, their columns and filters."""

import asyncio
import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from lambda_src.cli.commands import app
from lambda_src.dev.store_contract.samples import context_of, thread_of
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.inbox import Kind, Matter
from tests.store.local import START
from tests.store.tables import Aws

Run = Callable[..., Result]


@pytest.fixture
def chat_inbox(aws: Aws) -> Run:
    """Runs the command on a table with an open and a closed matter, and one of another assistant."""
    name = aws.table()
    store = DynamoDBStore(aws.dynamodb, name, clock=lambda: START)
    inbox = store.ledger.inbox()

    async def fill() -> None:
        await store.save_thread(thread_of(), context_of("ada"))
        matters: tuple[tuple[Kind, str, str], ...] = (
            ("thumbs-down", "", "msg_1"),
            ("failed-turn", "", "LookupError"),
            ("thumbs-down", "sales", "msg_2"),
        )
        for kind, assistant, cause in matters:
            await inbox.open_matter(Matter(kind, assistant, "ada", "thr_1", START, cause))
        await inbox.close_matter(Matter("failed-turn", "", "ada", "thr_1", START, "LookupError"), operator="olga")

    asyncio.run(fill())

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--table", name, "inbox", *arguments])

    return run


def test_open_matters_are_listed_with_ids_and_times(chat_inbox: Run) -> None:
    result = chat_inbox()
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "kind         state  opened                changed               user  thread  cause  operator",
        "thumbs-down  open   2027-01-15T08:00:00Z  2027-01-15T08:00:00Z  ada   thr_1   msg_1  -",
    ]


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["--state", "any"], ["failed-turn", "thumbs-down"]),
        (["--state", "closed"], ["failed-turn"]),
        (["--kind", "failed-turn", "--state", "any"], ["failed-turn"]),
        (["--assistant", "sales"], ["thumbs-down"]),
    ],
)
def test_the_options_choose_matters(chat_inbox: Run, arguments: list[str], kinds: list[str]) -> None:
    rows = json.loads(chat_inbox("--format", "json", *arguments).stdout)
    assert [row["kind"] for row in rows] == kinds


def test_an_empty_inbox_says_so(chat_inbox: Run) -> None:
    result = chat_inbox("--kind", "handoff")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing in the inbox" in result.stderr
