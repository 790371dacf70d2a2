"""Cost and rows of turns on DynamoDB: requests counted at botocore, and billed units."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_src.dev.store_contract.samples import message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.aws_calls import Calls, ConditionFailedError
from lambda_src.store.bounds import LATE_WRITES_S
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.table import Table
from lambda_src.store.dynamodb.turns import quotas
from lambda_src.store.ports import JournalBatch, QuotaLimits, TurnLedger
from tests.store.engine.engine import Engine
from tests.store.engine.strict import row_size
from tests.store.engine.wire import Wire
from tests.store.ledger_case import ADA, LEASE_MS, Clock
from tests.store.metered import Metered
from tests.store.model import Inline
from tests.store.tables import Aws

ONE_RUNNING = QuotaLimits(per_minute=0, per_day=0, running=1)
NO_LIMITS = QuotaLimits(per_minute=0, per_day=0, running=0)
TURN_ID = "x" * 64  # the longest that a client may choose
KB = 1024

Step = Callable[[TurnLedger], Awaitable[object]]


async def _read(ledger: TurnLedger) -> list[JournalBatch]:
    return [batch async for batch in ledger.read_journal("thr_1", TURN_ID, first=0, context=ADA)]


def _append(number: int, data: bytes) -> Step:
    return lambda ledger: ledger.append_journal("thr_1", TURN_ID, JournalBatch(number, data), ttl_s=60, context=ADA)


TURN: dict[str, tuple[Step, str]] = {
    "claim": (
        lambda ledger: ledger.claim_request(TURN_ID, TURN_ID, body_hash=b"h" * 32, ttl_s=60, context=ADA),
        "UpdateItem",
    ),
    "spend": (lambda ledger: ledger.spend_quota(TURN_ID, ONE_RUNNING, context=ADA), "UpdateItem"),
    "take": (lambda ledger: ledger.take_lease("thr_1", TURN_ID, lease_ms=LEASE_MS, context=ADA), "UpdateItem"),
    "bind": (
        lambda ledger: ledger.bind_request(TURN_ID, TURN_ID, thread_id="thr_1", ttl_s=60, context=ADA),
        "UpdateItem",
    ),
    "stop of a bound key": (
        lambda ledger: ledger.stop_request(TURN_ID, TURN_ID, turn_id=TURN_ID, ttl_s=60, context=ADA),
        "UpdateItem",
    ),
    "look up": (lambda ledger: ledger.load_request(TURN_ID, context=ADA), "GetItem"),
    "renew": (lambda ledger: ledger.renew_lease("thr_1", TURN_ID, lease_ms=LEASE_MS, context=ADA), "UpdateItem"),
    "append": (_append(0, b"data: {}\n\n" * 200), "UpdateItem"),
    "append again": (_append(0, b"data: {}\n\n" * 200), "UpdateItem"),
    "read": (_read, "Query"),
    "load": (lambda ledger: ledger.load_turn("thr_1", context=ADA), "GetItem"),
    "stop": (lambda ledger: ledger.ask_to_stop("thr_1", TURN_ID, context=ADA), "UpdateItem"),
    "renew, stopped": (
        lambda ledger: ledger.renew_lease("thr_1", TURN_ID, lease_ms=LEASE_MS, context=ADA),
        "UpdateItem",
    ),
    "supersede": (lambda ledger: ledger.take_lease("thr_1", "other", lease_ms=LEASE_MS, context=ADA), "UpdateItem"),
    "renew, superseded": (
        lambda ledger: ledger.renew_lease("thr_1", TURN_ID, lease_ms=LEASE_MS, context=ADA),
        "UpdateItem",
    ),
    "end": (lambda ledger: ledger.end_lease("thr_1", "other", context=ADA), "UpdateItem"),
    "claimed twice": (
        lambda ledger: ledger.claim_request(TURN_ID, "b", body_hash=b"h", ttl_s=60, context=ADA),
        "UpdateItem",
    ),
    "refused": (lambda ledger: ledger.spend_quota("other", ONE_RUNNING, context=ADA), "UpdateItem"),
    "end of quota": (lambda ledger: ledger.end_quota(TURN_ID, context=ADA), "UpdateItem"),
    "refuse": (lambda ledger: ledger.refuse_request(TURN_ID, TURN_ID, "no " * 60, context=ADA), "UpdateItem"),
    "end of a key": (lambda ledger: ledger.end_request(TURN_ID, TURN_ID, ttl_s=5, context=ADA), "UpdateItem"),
    "release": (lambda ledger: ledger.release_request(TURN_ID, TURN_ID, context=ADA), "UpdateItem"),
}


async def test_every_method_is_one_request(aws: Aws, table: str, one_thread: Executor) -> None:
    ledger = DynamoDBStore(aws.dynamodb, table, executor=one_thread).ledger
    for name, (step, operation) in TURN.items():
        with Wire().on(aws.dynamodb) as wire:
            await step(ledger)
        assert wire.operations == [operation], name


def engine_and_ledger(clock: Clock) -> tuple[Engine, TurnLedger]:
    """Return a strict engine and a ledger on it."""
    engine: Any = Engine()
    return engine, DynamoDBStore(engine, "table", clock=clock, executor=Inline()).ledger


async def test_no_row_of_a_turn_costs_more_than_one_unit_or_stays_forever_or_is_listed() -> None:
    engine, ledger = engine_and_ledger(Clock())
    for step, _ in TURN.values():
        await step(ledger)
        for row in engine.rows.values():
            assert row_size(row) <= KB
            assert keys.TTL_ATTRIBUTE in row
            assert keys.ORDER_KEY not in row
    assert sorted(key[1] for key in engine.rows) == [
        keys.events_sort(TURN_ID, 0), keys.QUOTA, keys.request_sort(TURN_ID), keys.TURN
    ]  # fmt: skip


async def test_a_journal_costs_a_request_for_each_megabyte() -> None:
    engine, ledger = engine_and_ledger(Clock())
    for number in range(20):
        await _append(number, incompressible(140_000 + number).encode())(ledger)
    engine.requests.clear()
    assert len(await _read(ledger)) == 20
    assert engine.requests == ["Query"] * 3


async def test_following_a_journal_reads_only_new_rows() -> None:
    """The thread's items and other rows sort after the journal: a query without an end would bill them all."""
    engine: Any = Metered()
    store = DynamoDBStore(engine, "table", clock=Clock(), executor=Inline())
    await store.add_thread_item("thr_1", message_of(), ADA)
    for number in range(3):
        await _append(number, b"data: {}\n\n")(store.ledger)
    engine.reset()
    assert len([batch async for batch in store.ledger.read_journal("thr_1", TURN_ID, first=2, context=ADA)]) == 1
    assert (engine.rows_read, engine.reads) == (1, 1)


async def test_a_quota_row_stays_small_however_its_turns_end() -> None:
    """Rare turns, half of which crash: one extra request in about forty turns removes the leftovers."""
    clock = Clock()
    engine, ledger = engine_and_ledger(clock)
    turns = 500
    for number in range(turns):
        clock.later(ms=3_600_000)
        await ledger.spend_quota(f"turn-{number}-{TURN_ID}"[:64], NO_LIMITS, context=ADA)
        if number % 2:
            await ledger.end_quota(f"turn-{number}-{TURN_ID}"[:64], context=ADA)
        (row,) = engine.rows.values()
        assert row_size(row) <= 4 * KB
    extra = len(engine.requests) - turns - turns // 2
    assert 0 < extra <= turns * 3 // quotas.MAX_EXPIRED


async def test_a_turn_is_counted_even_if_its_cleanup_fails() -> None:
    class Throttled(Engine):
        """An engine that throttles the cleanup."""

        def update_item(self, **params: Any) -> dict[str, Any]:
            """Refuse updates that only clean up."""
            if " REMOVE #past_0" in params["UpdateExpression"]:
                self.requests.append("refused")
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "UpdateItem")
            return super().update_item(**params)

    clock = Clock()
    engine: Any = Throttled()
    ledger = DynamoDBStore(engine, "table", clock=clock, executor=Inline()).ledger
    for number in range(quotas.MAX_EXPIRED * 2):
        clock.later(ms=60_000)
        assert await ledger.spend_quota(f"turn-{number}", NO_LIMITS, context=ADA) is None
        await ledger.end_quota(f"turn-{number}", context=ADA)
    assert "refused" in engine.requests


async def test_crashed_turns_cost_the_next_turn_one_more_request() -> None:
    clock = Clock()
    engine, ledger = engine_and_ledger(clock)
    await ledger.spend_quota("crashed", ONE_RUNNING, context=ADA)
    clock.later(ms=1_000_000)
    engine.requests.clear()
    assert await ledger.spend_quota("one", ONE_RUNNING, context=ADA) is None
    assert engine.requests == ["UpdateItem", "UpdateItem"]


async def test_the_minute_of_a_machine_whose_clock_is_behind_is_not_removed() -> None:
    """Two machines on either side of the end of a minute: each counts in its own, and keeps the other's."""
    behind, ahead = Clock(), Clock()
    ahead.later(ms=60_000)
    engine: Any = Engine()
    limits = QuotaLimits(per_minute=1, per_day=0, running=1)
    behind_ledger, ahead_ledger = (
        DynamoDBStore(engine, "table", clock=clock, executor=Inline()).ledger for clock in (behind, ahead)
    )
    assert await behind_ledger.spend_quota("one", limits, context=ADA) is None
    await behind_ledger.end_quota("one", context=ADA)
    for number in range(60):
        await ahead_ledger.spend_quota(f"crashed-{number}", NO_LIMITS, context=ADA)
        ahead.later(ms=1)
    assert await behind_ledger.spend_quota("two", limits, context=ADA) is not None


async def test_exports_leave_out_the_rows_of_turns_and_erasures_remove_them() -> None:
    clock = Clock()
    engine: Any = Engine()
    store = DynamoDBStore(engine, "table", clock=clock, executor=Inline())
    await store.save_thread(thread_of(), ADA)
    for step, _ in TURN.values():
        await step(store.ledger)
    assert [record["kind"] async for record in store.export_user(ADA)] == ["thread"]
    async for _ in store.erase_user(ADA):
        pass
    assert all("deleted_at" in row for row in engine.rows.values())
    clock.later(ms=LATE_WRITES_S * 1000)
    await store.sweep(stop=lambda: False)
    assert engine.rows == {}


async def test_a_deleted_thread_has_no_journals() -> None:
    engine: Any = Engine()
    store = DynamoDBStore(engine, "table", clock=Clock(), executor=Inline())
    await store.save_thread(thread_of(), ADA)
    await _append(0, b"data: {}\n\n")(store.ledger)
    await store.delete_thread("thr_1", ADA)
    await store.sweep(stop=lambda: False)
    assert await _read(store.ledger) == []


@pytest.mark.parametrize("damage", [{"payload": {"B": b"\x1f\x8b no gzip"}}, {"encoding": {"S": "brotli"}}])
async def test_a_damaged_batch_is_counted_and_ends_the_journal(damage: dict[str, Any]) -> None:
    engine: Any = Engine()
    counted: list[str] = []
    store = DynamoDBStore(engine, "table", clock=Clock(), executor=Inline(), count=counted.append)
    for number in range(3):
        await _append(number, b"data: {}\n\n" * 200)(store.ledger)
    engine.rows[keys.thread_partition("ada", "thr_1"), keys.events_sort(TURN_ID, 1)] |= damage
    assert [batch.number for batch in await _read(store.ledger)] == [0]
    assert counted == ["unreadable_row"]


async def _old_row(client: Any, table: str) -> object:
    """Return the old turn id that a failed condition reports."""
    rows = Table(client, table, calls=Calls(Inline()))
    await rows.update(("p", "TURN"), "SET #turn_id = :a", values={":a": {"S": "old"}})
    with pytest.raises(ConditionFailedError) as failed:
        await rows.update(
            ("p", "TURN"), "SET #turn_id = :b", values={":b": {"S": "new"}}, condition="attribute_not_exists(#turn_id)"
        )
    return failed.value.old.get("turn_id")


async def test_every_engine_returns_the_row_that_failed_the_condition(aws: Aws, table: str, ministack_aws: Aws) -> None:
    """ReturnValuesOnConditionCheckFailure: it spares the ledger another read."""
    assert await _old_row(Engine(), "table") == {"S": "old"}
    assert await _old_row(aws.dynamodb, table) == {"S": "old"}
    assert await _old_row(ministack_aws.dynamodb, ministack_aws.table()) == {"S": "old"}
