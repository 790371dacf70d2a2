"""Cost per store operation: requests counted at botocore, and DynamoDB capacity units: docs/reference/stores.md."""

import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from lambda_src.dev.store_contract.samples import context_of, file_of, message_of, thread_of
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.engine.wire import Wire
from tests.store.metered import Metered
from tests.store.model import Inline
from tests.store.new_threads_contract import beginning, claim
from tests.store.tables import Aws

ADA = context_of("ada")
Step = Callable[[DynamoDBStore], Awaitable[object]]

STEPS: dict[str, tuple[Step, list[str]]] = {
    "load_thread": (lambda s: s.load_thread("thr_1", ADA), ["GetItem"]),
    "save_thread": (lambda s: s.save_thread(thread_of("thr_new"), ADA), ["UpdateItem"]),
    "begin_thread": (
        lambda s: s.begin_thread(thread_of("thr_begun"), message_of(thread_id="thr_begun"), beginning()),
        ["TransactWriteItems"],
    ),
    "load_threads": (lambda s: s.load_threads(20, None, "desc", ADA), ["Query"]),
    "load_threads after": (lambda s: s.load_threads(20, "thr_1", "desc", ADA), ["GetItem", "Query"]),
    "delete_thread": (lambda s: s.delete_thread("thr_1", ADA), ["TransactWriteItems"]),
    "load_thread_items": (lambda s: s.load_thread_items("thr_1", None, 20, "desc", ADA), ["Query"]),
    "load_thread_items after": (
        lambda s: s.load_thread_items("thr_1", "msg_03", 20, "desc", ADA),
        ["BatchGetItem", "Query"],
    ),
    "load_item": (lambda s: s.load_item("thr_1", "msg_03", ADA), ["BatchGetItem"]),
    "add_thread_item": (lambda s: s.add_thread_item("thr_1", message_of("msg_new"), ADA), ["PutItem"]),
    "save_item": (lambda s: s.save_item("thr_1", message_of("msg_03", "edited"), ADA), ["UpdateItem"]),
    "delete_thread_item": (lambda s: s.delete_thread_item("thr_1", "msg_03", ADA), ["UpdateItem"]),
    "add_feedback": (
        lambda s: s.add_feedback("thr_1", ["msg_03"], "positive", ADA),
        ["BatchGetItem", "BatchWriteItem"],
    ),
    "save_attachment": (lambda s: s.save_attachment(file_of(), ADA), ["PutItem"]),
    "load_attachment": (lambda s: s.load_attachment("atc_free", ADA), ["GetItem"]),
    "load_attachment bound": (lambda s: s.load_attachment("atc_bound", ADA), ["GetItem", "GetItem"]),
    "delete_attachment": (lambda s: s.delete_attachment("atc_free", ADA), ["DeleteItem"]),
}


async def begin(store: DynamoDBStore) -> None:
    """Store a thread with seven items and two attachments, and claim the key of a request."""
    await store.save_thread(thread_of(), ADA)
    for number in range(7):
        await store.add_thread_item("thr_1", message_of(f"msg_{number:02d}"), ADA)
    await store.save_attachment(file_of("atc_free"), ADA)
    await store.save_attachment(file_of("atc_bound", thread_id="thr_1"), ADA)
    await claim(store)


@pytest.fixture
async def store(aws: Aws, table: str, bucket: str, one_thread: Executor) -> DynamoDBStore:
    """A store with a thread of seven items and two attachments."""
    store = DynamoDBStore(aws.dynamodb, table, bucket=bucket, s3=aws.s3, executor=one_thread)
    await begin(store)
    return store


@pytest.mark.parametrize("name", STEPS)
async def test_an_operation_makes_the_expected_requests(aws: Aws, store: DynamoDBStore, name: str) -> None:
    step, expected = STEPS[name]
    with Wire().on(aws.dynamodb, aws.s3) as wire:
        await step(store)
    assert wire.operations == expected


async def test_requests_and_capacity_are_documented() -> None:
    """The documented figures are for rows below 1 KB: docs/reference/stores.md, "What an operation costs"."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "stores.md").read_text()
    cell = r"^\| `([a-z_]+)`(?: \(([a-z]+)[^)]*\))? \| ([A-Za-z, ]+) \| (\d+) \| (\d+) \|"
    documented = {f"{name} {case}".strip(): tuple(costs) for name, case, *costs in re.findall(cell, text, re.M)}
    measured = {}
    for name, (step, expected) in STEPS.items():
        engine: Any = Metered()
        store = DynamoDBStore(engine, "table", executor=Inline())
        await begin(store)
        engine.reset()
        await step(store)
        assert engine.requests == expected
        measured[name] = (", ".join(expected), str(engine.reads), str(engine.writes))
    assert documented == measured


async def turn_costs(items: int, threads: int) -> tuple[list[str], int, int]:
    """Return requests, rows and read units of a turn and a page, in a thread of `items` next to `threads` others."""
    engine: Any = Metered()
    tick = iter(range(10**18, 10**18 + 10**9, 1000))
    store = DynamoDBStore(engine, "table", clock=lambda: next(tick))
    for number in range(threads):
        engine.rows[(keys.user_partition("ada"), f"THREAD#{number}")] = {
            keys.PARTITION_KEY: {"S": keys.user_partition("ada")},
            keys.SORT_KEY: {"S": f"THREAD#{number}"},
            keys.ORDER_KEY: {"S": keys.order_of(number, str(number))},
        }
    await store.save_thread(thread_of(), ADA)
    for number in range(items):
        await store.add_thread_item("thr_1", message_of(f"msg_{number:05d}"), ADA)
    engine.reset()
    await store.load_thread("thr_1", ADA)
    await store.add_thread_item("thr_1", message_of("msg_question"), ADA)
    await store.load_thread_items("thr_1", None, 20, "desc", ADA)
    await store.load_thread_items("thr_1", f"msg_{items // 2:05d}", 5, "asc", ADA)
    await store.load_threads(20, None, "desc", ADA)
    return engine.requests, engine.rows_read, engine.reads


async def test_turns_and_pages_cost_the_same_in_long_threads_and_with_many_threads() -> None:
    short = await turn_costs(items=24, threads=24)
    for size in (1_000, 10_000):
        assert await turn_costs(items=size, threads=size) == short


async def test_an_export_reads_each_row_once() -> None:
    engine: Any = Metered()
    store = DynamoDBStore(engine, "table", executor=Inline())
    await store.save_thread(thread_of(), ADA)
    for number in range(300):
        await store.add_thread_item("thr_1", message_of(f"msg_{number:03d}"), ADA)
    await store.add_feedback("thr_1", ["msg_000"], "positive", ADA)
    engine.reset()
    exported = [record async for record in store.export_user(ADA)]
    assert len(exported) == 302
    assert engine.rows_read == 302
