"""`chat usage`: its options, the three formats, prices, and what it says when something is wrong."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from lambda_src.cli.commands import app
from lambda_src.cli.usage import Price, first_day_of, price_for, price_of
from lambda_src.errors import RequestError
from lambda_src.store.counters import Begun
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.counters import TableCounters
from lambda_src.store.dynamodb.usage import TableUsage
from lambda_src.store.usage import STAGE_TOKENS, Source, Usage
from tests.store.tables import Aws

LUNA, NOVA = "gpt-6-luna-2026-11-01", "nova"
TODAY = date(2026, 11, 29)
Run = Callable[..., Result]


def day(ago: int) -> int:
    """The number of a day before today."""
    return (datetime.now(UTC).date() - timedelta(days=ago) - date(1970, 1, 1)).days


@pytest.fixture
def chat_usage(aws: Aws) -> Run:
    """Runs the command on a table that has usage of two days, two assistants and two models."""
    name = aws.table()
    table = DynamoDBStore(aws.dynamodb, name).table

    async def fill() -> None:
        rows = TableUsage(table)
        luna = Usage(turns=3, tokens_in=2_000_000, tokens_cached=1_000_000, tokens_out=500_000, thumbs_up=1)
        await rows.add(Source(day(0), "", LUNA, "7"), luna, mark="1")
        await rows.add(Source(day(3), "sales", NOVA, "6"), Usage(turns=1, tokens_in=10, cut=1), mark="2")
        await rows.add(Source(day(40), "", LUNA, "1"), Usage(turns=9), mark="3")
        for _ in range(4):  # one of them never ended
            await TableCounters(table).add(STAGE_TOKENS, 1, ceiling=10**15, day=day(0), begun=Begun("", "7"))

    asyncio.run(fill())

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--table", name, "usage", *arguments])

    return run


def test_the_table_groups_by_assistant_and_model_and_ends_with_the_sum(chat_usage: Run) -> None:
    result = chat_usage()
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "assistant  model                  turns  dictations  tokens in  tokens cached  tokens out  unsettled  cut  "
        "failed  thumbs up  thumbs down",
        "-          -                          0           0          0              0           0          1    0  "
        "     0          0            0",
        "-          gpt-6-luna-2026-11-01      3           0  2,000,000      1,000,000     500,000          0    0  "
        "     0          1            0",
        "sales      nova                       1           0         10              0           0          0    1  "
        "     0          0            0",
        "total                                 4           0  2,000,010      1,000,000     500,000          1    1  "
        "     0          1            0",
    ]


def test_csv_has_a_row_for_each_combination_of_the_columns(chat_usage: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(chat_usage("--by", "day,release", "--format", "csv").stdout)))
    today, before = (str(date(1970, 1, 1) + timedelta(days=day(ago))) for ago in (0, 3))
    assert [(row["day"], row["release"], row["turns"], row["unsettled"]) for row in rows] == [
        (before, "6", "1", "0"),
        (today, "7", "3", "1"),
    ]


def test_a_price_adds_what_a_model_cost_and_names_the_models_without_one(chat_usage: Run) -> None:
    result = chat_usage("--by", "model", "--format", "json", "--price", "gpt-6-luna=0.10,0.01,0.50")
    costs = {row["model"]: row["usd"] for row in json.loads(result.stdout)}
    assert costs == {"": None, LUNA: 0.1 + 0.01 + 0.25, NOVA: None}
    assert "No price for nova" in result.stderr


def test_since_looks_further_back(chat_usage: Run) -> None:
    result = chat_usage("--by", "model", "--since", "60d", "--format", "json")
    assert next(row["turns"] for row in json.loads(result.stdout) if row["model"] == LUNA) == 12


def test_a_table_without_usage_says_how_it_is_counted(aws: Aws) -> None:
    result = CliRunner().invoke(app, ["--table", aws.table(), "usage"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "CHAT_USAGE" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "user"], "--by takes assistant, model, release, day"),
        (["--since", "a month"], "--since takes days such as 30d"),
        (["--since", "2099-01-01"], "later than today"),
        (["--price", "luna=1,2"], "--price takes a model and three prices"),
        (["--price", "luna=1,2,-3"], "--price takes a model and three prices"),
        (["--price", "1,2,3"], "--price takes a model and three prices"),
    ],
)
def test_an_invalid_option_is_one_sentence(chat_usage: Run, arguments: list[str], message: str) -> None:
    result = chat_usage(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_postgres_has_no_usage() -> None:
    result = CliRunner().invoke(app, ["--store", "postgres", "--database-url", "postgresql://x", "usage"])
    assert (result.exit_code, "DynamoDB table only" in result.stderr) == (1, True)


def test_days_are_counted_with_today() -> None:
    assert first_day_of("1d", TODAY) == TODAY
    assert first_day_of("30d", TODAY) == date(2026, 10, 31)
    assert first_day_of("2026-11-01", TODAY) == date(2026, 11, 1)
    assert first_day_of("9999d", TODAY) == TODAY - timedelta(days=400)
    with pytest.raises(RequestError):
        first_day_of("0d", TODAY)


def test_the_longest_name_decides_the_price_of_a_dated_model() -> None:
    prices = dict([price_of("gpt-6=1,1,1"), price_of("gpt-6-luna=2,2,2")])
    assert price_for(LUNA, prices) == Price(2, 2, 2)
    assert price_for("gpt-6-2026-01-01", prices) == Price(1, 1, 1)
    assert price_for("gpt-66", prices) is None
