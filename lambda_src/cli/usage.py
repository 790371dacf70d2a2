"""`chat usage`: what a stage used by assistant, model, release and day, as a table, CSV or JSON, with what it cost."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lambda_src.cli.console import one_sentence, progress, report, run_it, writing
from lambda_src.cli.places import IsLocal, StageName, placed
from lambda_src.cli.secrets import command as secret
from lambda_src.cli.tables import Format, print_rows
from lambda_src.errors import RequestError

if TYPE_CHECKING:
    from lambda_src.cli.options import Place
    from lambda_src.store.usage import Source, Usage

DIMENSIONS = ("assistant", "model", "release", "day")
EPOCH = date(1970, 1, 1)
MAX_DAYS = 400  # how long usage is kept
PER_USD = 1_000_000  # prices are for a million tokens


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    tokens_in: float
    cached: float
    tokens_out: float

    def of(self, usage: "Usage") -> float:
        """What the usage cost."""
        uncached = usage.tokens_in - usage.tokens_cached
        cost = uncached * self.tokens_in + usage.tokens_cached * self.cached + usage.tokens_out * self.tokens_out
        return cost / PER_USD


def usage(
    context: typer.Context,
    by: Annotated[
        str, typer.Option(help=f"Columns to group by, separated by commas: {', '.join(DIMENSIONS)}.")
    ] = "assistant,model",
    since: Annotated[str, typer.Option(help="Days to look back, such as 30d, or a date such as 2026-11-01.")] = "30d",
    output_format: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.table,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=IN,CACHED,OUT",
            help="Dollars for a million tokens of a model: in, cached, out. Adds the column usd; repeat it per model.",
        ),
    ] = None,
    stage: StageName = None,
    local: IsLocal = False,
    cdk_json: secret.CdkJson = secret.CDK_JSON,
    output: Annotated[Path | None, typer.Option(help="The file to write (default: standard output).")] = None,
) -> None:
    """Show tokens, turns and thumbs by assistant, model, release and day, where the stage counts its usage."""
    where: Place = context.obj
    with one_sentence(where):
        today = datetime.now(UTC).date()
        columns, first = columns_of(by), first_day_of(since, today)
        prices = dict(price_of(text) for text in price or ())
        where = placed(where, stage=stage, local=local, cdk_json=cdk_json)
    sums = run_it(_read(where, first, today), where)
    if not sums:
        report(f"{where} has no usage since {first}. Is CHAT_USAGE set (`usage` under `settings` in cdk.json)?")
    rows = rows_of(sums, columns, prices)
    with one_sentence(where), writing(output) as file:
        print_rows(rows, output_format, file, summed=True)
    unpriced = sorted({source.model for source in sums if source.model and price_for(source.model, prices) is None})
    if prices and unpriced:
        report(f"No price for {', '.join(unpriced)}: add --price for it. The column usd leaves it out.")


async def _read(where: "Place", first: date, last: date) -> "dict[Source, Usage]":
    from lambda_src.cli.stores import table_store
    from lambda_src.store.dynamodb.counters import TableCounters
    from lambda_src.store.dynamodb.usage import TableUsage
    from lambda_src.store.usage import used

    if where.store != "dynamodb":
        raise RequestError("Usage is counted on the DynamoDB table only: leave out --store (CHAT_STORE).")
    table = table_store(where).table
    sums: dict[Source, Usage] = {}
    with progress("days read") as step:
        days = used(
            TableUsage(table), TableCounters(table), first_day=(first - EPOCH).days, last_day=(last - EPOCH).days
        )
        async for of_day in days:
            sums |= of_day
            step()
    return sums


def columns_of(by: str) -> list[str]:
    """The columns that --by names. RequestError for an unknown one."""
    columns = list(dict.fromkeys(name.strip() for name in by.split(",")))
    for name in columns:
        if name not in DIMENSIONS:
            raise RequestError(f"--by takes {', '.join(DIMENSIONS)}, separated by commas, and not {name!r}.")
    return columns


def first_day_of(since: str, today: date) -> date:
    """The first day that --since includes: 1d is today. RequestError if it is neither days nor a date."""
    if (match := re.fullmatch(r"(\d{1,4})d", since, re.ASCII)) is not None:
        first = today - timedelta(days=int(match[1]) - 1)
    else:
        try:
            first = date.fromisoformat(since)
        except ValueError:
            raise RequestError(
                f"--since takes days such as 30d, or a date such as 2026-11-01, not {since!r}."
            ) from None
    if first > today:
        raise RequestError(f"--since is {first}, which is later than today, {today} (UTC).")
    return max(first, today - timedelta(days=MAX_DAYS))


def price_of(text: str) -> tuple[str, Price]:
    """A model and its price. RequestError if the option is malformed."""
    model, separator, numbers = text.rpartition("=")
    try:
        tokens_in, cached, tokens_out = (float(number) for number in numbers.split(","))
        if not separator or not model or min(tokens_in, cached, tokens_out) < 0:
            raise ValueError
    except ValueError:
        raise RequestError(
            f"--price takes a model and three prices, such as gpt-6-luna=0.10,0.01,0.50, not {text!r}."
        ) from None
    return model, Price(tokens_in, cached, tokens_out)


def price_for(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model; a price for `gpt-6-luna` is also that of `gpt-6-luna-2026-11-01`."""
    names = [name for name in prices if model == name or model.startswith(f"{name}-")]
    return prices[max(names, key=len)] if names else None


def rows_of(
    sums: "Mapping[Source, Usage]", columns: Sequence[str], prices: Mapping[str, Price]
) -> list[dict[str, Any]]:
    """One row for each combination of the columns: these, the sums, and `usd` if there are prices.

    `usd` is None for a row without any priced model.
    """
    from lambda_src.store.usage import Usage

    grouped: dict[tuple[str, ...], Usage] = {}
    costs: dict[tuple[str, ...], float] = {}
    for source, used in sums.items():
        day = str(EPOCH + timedelta(days=source.day))
        key = tuple(day if column == "day" else str(getattr(source, column)) for column in columns)
        grouped[key] = grouped.get(key, Usage()) + used
        if (price := price_for(source.model, prices)) is not None:
            costs[key] = costs.get(key, 0.0) + price.of(used)
    rows = []
    for key in sorted(grouped):
        numbers = {name: number for name, number in asdict(grouped[key]).items() if name != "refused"}
        cost = {"usd": round(costs[key], 6) if key in costs else None} if prices else {}
        rows.append(dict(zip(columns, key, strict=True)) | numbers | cost)
    return rows
