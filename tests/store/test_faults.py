"""Every fault at every request of the store, one at a time: nothing acknowledged is lost, nothing is duplicated."""

import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.context import RequestContext
from lambda_src.dev.store_contract.samples import (
    answer_of,
    context_of,
    file_of,
    item_ids,
    item_of,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.errors import ChatError
from lambda_src.store import bounds
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.engine.engine import Engine
from tests.store.engine.wire import FAULTS, Fault, Wire, no_waiting
from tests.store.new_threads_contract import beginning, claim
from tests.store.tables import Aws

ADA, BOB = context_of("ada"), context_of("bob")
LARGE = message_of("msg_large", incompressible(300_000))
OPEN = item_of("workflow", "wf_1", workflow={"type": "reasoning", "tasks": []})
DONE = item_of("workflow", "wf_1")
BEFORE = ["msg_0", "msg_1", "msg_2", "wf_1", "msg_big"]
ADDED_MAX_S = 5.0

Operation = Callable[[DynamoDBStore], Awaitable[object]]


@dataclass(frozen=True)
class Case:
    """An operation, and the ids of the items in the owner's thread once it was acknowledged."""

    run: Operation
    after: list[str]
    owner: RequestContext = ADA
    later_s: int = 0  # time since the thread was written
    thread_id: str = "thr_1"


async def _rename(store: DynamoDBStore) -> None:
    thread = await store.load_thread("thr_1", ADA)
    thread.title = "renamed"
    await store.save_thread(thread, ADA)


async def _sweep(store: DynamoDBStore) -> None:
    await store.delete_thread("thr_1", ADA)
    await store.sweep(stop=lambda: False)


async def _sweep_thread(store: DynamoDBStore) -> None:
    await store.delete_thread("thr_1", ADA)
    await store.sweep_thread("thr_1", ADA, stop=lambda: False)


async def _sweep_orphans(store: DynamoDBStore) -> None:
    await store.sweep_orphans(everything=False, stop=lambda: False)


async def _hand_over(store: DynamoDBStore) -> None:
    await store.claim_guest("ada", BOB)
    assert await store.hand_over("thr_1", "ada", BOB, copy_file=_nothing)
    await store.end_claim("ada", BOB)


async def _begin_thread(store: DynamoDBStore) -> None:
    await claim(store)
    assert await store.begin_thread(thread_of("thr_2"), message_of("msg_1", thread_id="thr_2"), beginning())


async def _nothing(_: str) -> None:
    """Copy nothing: there are no bytes."""


async def _import(store: DynamoDBStore) -> None:
    async for record in store.export_user(ADA):
        await store.import_record(record, BOB)


async def _erase(store: DynamoDBStore) -> None:
    async for _ in store.erase_user(ADA):
        pass


CASES: dict[str, Case] = {
    "load_thread": Case(lambda s: s.load_thread("thr_1", ADA), BEFORE),
    "save_thread": Case(lambda s: s.save_thread(thread_of("thr_1", title="renamed"), ADA), BEFORE),
    "load and save_thread": Case(_rename, BEFORE),
    "begin_thread": Case(_begin_thread, ["msg_1"], thread_id="thr_2"),
    "load_threads": Case(lambda s: s.load_threads(10, "thr_1", "asc", ADA), BEFORE),
    "delete_thread": Case(lambda s: s.delete_thread("thr_1", ADA), []),
    "delete_thread and sweep": Case(_sweep, []),
    "delete_thread and sweep_thread": Case(_sweep_thread, []),
    "sweep_orphans": Case(_sweep_orphans, BEFORE, later_s=25 * 3600),
    "load_thread_items": Case(lambda s: s.load_thread_items("thr_1", "msg_0", 10, "asc", ADA), BEFORE),
    "load_item": Case(lambda s: s.load_item("thr_1", "msg_big", ADA), BEFORE),
    "add_thread_item": Case(lambda s: s.add_thread_item("thr_1", message_of("msg_9"), ADA), [*BEFORE, "msg_9"]),
    "add_thread_item large": Case(lambda s: s.add_thread_item("thr_1", LARGE, ADA), [*BEFORE, "msg_large"]),
    "add_thread_item workflow": Case(lambda s: s.add_thread_item("thr_1", DONE, ADA), BEFORE),
    "save_item": Case(lambda s: s.save_item("thr_1", answer_of("msg_1", "edited"), ADA), BEFORE),
    "save_item over a large one": Case(lambda s: s.save_item("thr_1", message_of("msg_big", "small"), ADA), BEFORE),
    "delete_thread_item": Case(lambda s: s.delete_thread_item("thr_1", "msg_big", ADA), BEFORE[:-1]),
    "save_attachment": Case(lambda s: s.save_attachment(file_of("atc_2"), ADA), BEFORE),
    "load_attachment": Case(lambda s: s.load_attachment("atc_1", ADA), BEFORE),
    "delete_attachment": Case(lambda s: s.delete_attachment("atc_1", ADA), BEFORE),
    "hand_over": Case(_hand_over, BEFORE, BOB),
    "hand_over, seen by the guest": Case(_hand_over, []),
    "export_user and import_record": Case(_import, BEFORE, BOB),
    "erase_user": Case(_erase, []),
    "add_feedback": Case(lambda s: s.add_feedback("thr_1", ["msg_1", "msg_2"], "positive", ADA), BEFORE),
}


def direct_store(aws: Aws, engine: Engine, bucket: str, executor: Executor) -> DynamoDBStore:
    """Return a store that bypasses the wire, for use before and after the faults."""
    client: Any = engine
    return DynamoDBStore(client, "table", bucket=bucket, s3=aws.s3, executor=executor)


async def seed(store: DynamoDBStore) -> None:
    """Add a thread with three messages, an open workflow, an offloaded message and an attachment."""
    await store.save_thread(thread_of(), ADA)
    for number in range(3):
        await store.add_thread_item("thr_1", message_of(f"msg_{number}"), ADA)
    await store.add_thread_item("thr_1", OPEN, ADA)
    await store.add_thread_item("thr_1", message_of("msg_big", incompressible(200_000)), ADA)
    await store.save_attachment(file_of(thread_id="thr_1"), ADA)


async def run_with_faults(
    aws: Aws,
    executor: Executor,
    case: Case,
    faults: dict[int, Fault],
    patch: pytest.MonkeyPatch,
    *,
    bucket: str | None = None,
) -> tuple[Wire, bool, DynamoDBStore]:
    """Run the case with `faults`; return the wire, whether it was acknowledged, and a store to inspect the result."""
    engine = Engine()
    bucket = bucket or aws.bucket()
    plain = direct_store(aws, engine, bucket, executor)
    await seed(plain)
    store = DynamoDBStore(
        aws.dynamodb,
        "table",
        bucket=bucket,
        s3=aws.s3,
        executor=executor,
        clock=lambda: time.time_ns() + case.later_s * 1_000_000_000,
    )
    wire = Wire(faults=faults, engine=engine)
    acknowledged = True
    with no_waiting(wire, patch.setattr), wire.on(aws.dynamodb, aws.s3):
        try:
            await case.run(store)
        except ChatError:
            acknowledged = False
    return wire, acknowledged, plain


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_any_request_loses_and_duplicates_nothing(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault
) -> None:
    case = CASES[name]
    plain, acknowledged, store = await run_with_faults(aws, one_thread, case, {}, monkeypatch)
    assert acknowledged
    assert await item_ids(store, case.thread_id, case.owner, limit=2) == case.after
    for number in range(len(plain.requests)):
        wire, acknowledged, store = await run_with_faults(aws, one_thread, case, {number: fault}, monkeypatch)
        assert wire.waited_s <= ADDED_MAX_S
        after = await item_ids(store, case.thread_id, case.owner, limit=2)
        assert acknowledged, f"one fault is survived: {fault} at request {number} of {plain.operations}"
        assert after == case.after


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_any_request_of_a_sweep_leaves_no_object_behind_and_removes_no_other(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    orphan = "offload/ada/thr_1/msg_big/orphan"
    for name, kept in (("delete_thread and sweep_thread", 0), ("sweep_orphans", 1)):
        plain, _, _ = await run_with_faults(aws, one_thread, CASES[name], {}, monkeypatch)
        for number in range(len(plain.requests)):
            bucket = aws.bucket()
            aws.s3.put_object(Bucket=bucket, Key=orphan, Body=b"x")
            await run_with_faults(aws, one_thread, CASES[name], {number: fault}, monkeypatch, bucket=bucket)
            objects = [entry["Key"] for entry in aws.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
            assert orphan not in objects, f"{name}: {fault} at request {number}"
            assert len(objects) == kept


async def test_a_service_that_stays_down_raises_a_chat_error(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in ("throttle", "500", "reset", "timeout"):
        every: dict[int, Fault] = dict.fromkeys(range(100), fault)
        for case in CASES.values():
            _, acknowledged, store = await run_with_faults(aws, one_thread, case, every, monkeypatch)
            assert not acknowledged
            assert await item_ids(store, "thr_1", ADA) == BEFORE


async def test_a_write_without_an_answer_is_recognised_when_retried(
    aws: Aws, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four attempts are applied, but their answers are lost; the caller tries again: one item."""
    lost: dict[int, Fault] = dict.fromkeys(range(4), "lost")
    _, acknowledged, store = await run_with_faults(aws, one_thread, CASES["add_thread_item"], lost, monkeypatch)
    assert not acknowledged
    await store.add_thread_item("thr_1", message_of("msg_9"), ADA)
    assert await item_ids(store, "thr_1", ADA) == [*BEFORE, "msg_9"]


async def test_a_call_that_hangs_ends_within_the_budget(
    aws: Aws, table: str, one_thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget also limits what botocore's time-outs do not: here an executor whose one thread is busy."""
    monkeypatch.setattr(bounds, "OPERATION_BUDGET_S", 0.01)
    store = DynamoDBStore(aws.dynamodb, table, executor=one_thread)
    released = threading.Event()
    one_thread.submit(released.wait)
    try:
        with pytest.raises(ChatError, match="did not respond"):
            await store.load_thread("thr_1", ADA)
    finally:
        released.set()
    monkeypatch.undo()
    with pytest.raises(NotFoundError):
        await store.load_thread("thr_1", ADA)
    assert await thread_ids(store, ADA) == []
