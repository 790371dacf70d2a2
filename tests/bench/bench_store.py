"""Benchmark of the overhead that a store adds to plain calls of its database.

    .venv/bin/python -m tests.bench.bench_store [--quick] [--dynamodb-local]

writes its section of docs/reference/benchmarks.md. Each round makes the plain call and the store's call one after the
other, so that noise on the machine affects both; read the ratios, not the milliseconds.
"""

import argparse
import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import count
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from lambda_src.store import codec, keys
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.postgres import PostgresStore
from lambda_src.store.postgres import statements as sql
from lambda_src.store.postgres.payloads import payload_values
from lambda_src.store.postgres.schema import items
from tests.bench.report import write as write_section
from tests.store.dynamodb_local import dynamodb_local
from tests.store.ministack import ministack
from tests.store.postgres import migrated, postgres, sessions_of
from tests.store.tables import Aws

BEGIN, END = "<!-- bench-store: begin -->", "<!-- bench-store: end -->"
ADA = context_of("ada")
PAGE = 20
TEXT = "What a person types, some hundred characters of it, as most messages in a chat are. " * 4
Row = tuple[str, str, str]
Call = Callable[[], Awaitable[object]]
_numbers = count()


async def compared(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """The median milliseconds of each call; each round makes every call once."""
    times_ms: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + rounds // 10):
        for name, call in calls.items():
            began = time.perf_counter()
            await call()
            if number >= rounds // 10:  # the first tenth warms caches and connections
                times_ms[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in times_ms.items()}


async def filled(aws: Aws, sizes: dict[str, int]) -> tuple[DynamoDBStore, str]:
    """A store that holds a thread of each size."""
    table = aws.table()
    store = DynamoDBStore(aws.dynamodb, table)
    for thread_id, size in sizes.items():
        await store.save_thread(thread_of(thread_id), ADA)
        for first in range(0, size, PAGE):
            adding = (message_of(f"msg_{first + n:05d}", TEXT, thread_id=thread_id) for n in range(min(PAGE, size)))
            await asyncio.gather(*(store.add_thread_item(thread_id, item, ADA) for item in adding))
    return store, table


async def dynamodb(aws: Aws, engine: str, *, rounds: int, long: int) -> list[Row]:
    """DynamoDBStore compared with plain boto3 calls on the same engine. `long` is 0 if its queries slow down."""
    store, table = await filled(aws, {"thr_10": 10, "thr_20": PAGE, "thr_long": long})

    def bare_put() -> None:
        item_id = f"bare_{next(_numbers)}"
        row: Any = {
            "pk": {"S": keys.thread_partition("ada", "thr_bare")},
            "sk": {"S": keys.item_sort(item_id)},
            "order": {"S": keys.order_of(time.time_ns(), item_id)},
            "payload": {"B": codec.dump(message_of(item_id, TEXT))},
        }
        aws.dynamodb.put_item(TableName=table, Item=row)

    def bare_query() -> None:
        aws.dynamodb.query(
            TableName=table,
            IndexName=keys.ORDER_INDEX,
            ConsistentRead=True,
            ScanIndexForward=False,
            Limit=PAGE,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": keys.thread_partition("ada", "thr_20")}},
        )

    async def add() -> None:
        await store.add_thread_item("thr_bare", message_of(f"msg_{next(_numbers)}", TEXT), ADA)

    async def called(call: Callable[[], None]) -> None:
        call()

    def page(thread_id: str, limit: int) -> Call:
        return lambda: store.load_thread_items(thread_id, None, limit, "desc", ADA)

    put = await compared({"bare": lambda: called(bare_put), "store": add}, rounds)
    query = await compared({"bare": lambda: called(bare_query), "store": page("thr_20", PAGE)}, rounds)
    rows = [
        (f"{engine}: add_thread_item to put_item", ratio(put["store"], put["bare"]), "1.25x"),
        (f"{engine}: load_thread_items({PAGE}) to query", ratio(query["store"], query["bare"]), "1.25x"),
    ]
    if long:
        lengths = await compared({"short": page("thr_10", 10), "long": page("thr_long", 10)}, rounds)
        what = f"{engine}: a page of a thread of {long:,} items to one of 10"
        rows.append((what, ratio(lengths["long"], lengths["short"]), "1.1x"))
    return rows


async def on_postgres(url: str, *, rounds: int) -> list[Row]:
    """PostgresStore compared with the same statements through SQLAlchemy, and with plain asyncpg."""
    async with migrated(url) as engine:
        store = PostgresStore(sessions_of(engine))
        sessions = sessions_of(engine)
        await store.save_thread(thread_of(), ADA)
        for number in range(PAGE):
            await store.add_thread_item("thr_1", message_of(f"msg_{number}", TEXT), ADA)
        plain = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))

        def values() -> dict[str, Any]:
            item_id = f"bare_{next(_numbers)}"
            data = payload_values(codec.dump(message_of(item_id, TEXT)), expires_s=None)
            return {"user_id": "ada", "thread_id": "thr_bare", "id": item_id, "is_open": False, **data}

        async def core_add() -> None:
            async with sessions.begin() as session:
                free = sql.free_for(time.time_ns() // 10**9, workflow=False)
                statement = sql.write_item(values(), now_ns=time.time_ns(), only_over=free)
                (await session.execute(statement)).first()

        async def bare_add() -> None:
            row = {**values(), "place": time.time_ns()}
            places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            await plain.execute(f"INSERT INTO chat_items ({', '.join(row)}) VALUES ({places})", *row.values())

        async def core_page() -> None:
            async with sessions.begin() as session:
                living = sql.living_items("ada", "thr_1", time.time_ns() // 10**9)
                statement = sql.page(living, items, after=None, limit=PAGE + 1, descending=True)
                for row in (await session.execute(statement)).mappings().all()[:PAGE]:
                    codec.load_item(codec.unpack(codec.Packed(bytes(row["payload"]), row["encoding"])))

        async def bare_page() -> None:
            rows = await plain.fetch(
                "SELECT * FROM chat_items WHERE user_id = $1 AND thread_id = $2 ORDER BY place DESC, id DESC LIMIT 21",
                "ada",
                "thr_1",
            )
            for row in rows[:PAGE]:
                codec.load_item(codec.unpack(codec.Packed(row["payload"], row["encoding"])))

        async def add() -> None:
            await store.add_thread_item("thr_bare", message_of(f"msg_{next(_numbers)}", TEXT), ADA)

        async def page() -> None:
            await store.load_thread_items("thr_1", None, PAGE, "desc", ADA)

        adds = await compared({"asyncpg": bare_add, "core": core_add, "store": add}, rounds)
        pages = await compared({"asyncpg": bare_page, "core": core_page, "store": page}, rounds)
        await plain.close()
    return [
        ("PostgreSQL: add_thread_item to the same through SQLAlchemy", ratio(adds["store"], adds["core"]), "1.3x"),
        ("PostgreSQL: load_thread_items(20) to the same", ratio(pages["store"], pages["core"]), "1.3x"),
        ("PostgreSQL: add_thread_item to asyncpg alone", ratio(adds["store"], adds["asyncpg"]), "-"),
        ("PostgreSQL: load_thread_items(20) to asyncpg alone", ratio(pages["store"], pages["asyncpg"]), "-"),
    ]


def ratio(ours: float, bare: float) -> str:
    """The ratio of `ours` to `bare`, and both in milliseconds."""
    return f"{ours / bare:.2f}x ({ours:.2f} / {bare:.2f} ms)"


def report(rows: list[Row], command: str) -> str:
    """The section of docs/reference/benchmarks.md."""
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"
    intro = "Each row compares a method of a store with the plain database call that does the same (medians)."
    lines = [BEGIN, "## The stores", "", f"`{command}` on {machine}.", "", intro, ""]
    lines += ["| | measured | aimed at |", "|---|---|---|"]
    lines += [f"| {what} | {measured} | {limit} |" for what, measured, limit in rows]
    return "\n".join([*lines, END]) + "\n"


def main() -> None:
    """Measure, then print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, nothing written")
    parser.add_argument("--dynamodb-local", action="store_true", help="also on AWS's DynamoDB Local (Java, npm)")
    options = parser.parse_args()
    rounds, long = (30, 1_000) if options.quick else (300, 10_000)
    rows: list[Row] = []
    with ExitStack() as stack:
        engines = {"MiniStack": stack.enter_context(ministack())}
        if options.dynamodb_local:
            engines["DynamoDB Local"] = stack.enter_context(dynamodb_local())
        for name, aws in engines.items():
            rows += asyncio.run(dynamodb(aws, name, rounds=rounds, long=long if name == "DynamoDB Local" else 0))
        rows += asyncio.run(on_postgres(stack.enter_context(postgres()), rounds=rounds))
    command = ".venv/bin/python -m tests.bench.bench_store" + (" --dynamodb-local" if options.dynamodb_local else "")
    section = report(rows, command)
    sys.stdout.write(section)
    if not options.quick:
        write_section("bench-store", section)


if __name__ == "__main__":
    main()
