"""Deletes: invisible to the user after one write, removed by a sweep that may be killed at any request."""

import asyncio
from contextlib import suppress

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import context_of, item_ids, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.bounds import LATE_WRITES_S
from tests.store.dying import KilledError, dying_after
from tests.store.interleaved import HeldExecutor, interleave, schedules
from tests.store.local import Local, populate
from tests.store.sweeping import finish, never

ADA = context_of("ada")


async def test_a_thread_of_10_000_items_is_gone_after_one_write_and_cleared_by_the_sweep() -> None:
    local = Local()
    store = local.store()
    await populate(store, threads=1, items=10_000)
    local.engine.requests.clear()
    await store.delete_thread("thr_0", ADA)
    assert local.engine.requests == ["TransactWriteItems"]
    assert await item_ids(store, "thr_0", ADA) == []
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc_0", ADA)
    erased = await store.sweep(stop=never)
    assert (erased.items, erased.attachments, erased.objects) == (10_001, 1, 1)
    assert local.objects.kept == {}
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)
    assert [key[1] for key in local.engine.rows] == ["ATTACHMENT#atc_free"]


async def test_a_sweep_that_is_killed_at_any_request_is_finished_by_the_next() -> None:
    """Each run is killed one request later than the one before, until one is not killed at all."""
    deaths = 0
    while True:
        local = Local()
        await populate(local.store(), threads=1, items=60)
        await local.store().delete_thread("thr_0", ADA)
        died = await _dies_after(local, deaths)
        await finish(local, local.store())
        assert [key[1] for key in local.engine.rows] == ["ATTACHMENT#atc_free"]
        assert local.objects.kept == {}
        if not died:
            return
        deaths += 1


async def _dies_after(local: Local, requests: int) -> bool:
    """Run a sweep of two passes; return whether it was killed after `requests` requests to table and bucket."""
    dying = dying_after(local, requests)
    try:
        await finish(dying, dying.store())
    except KilledError:
        return True
    return False


async def test_a_sweep_stops_when_asked_to_and_continues_later() -> None:
    local = Local()
    store = local.store()
    await populate(store, threads=1, items=3_000)
    await store.delete_thread("thr_0", ADA)
    checks = iter([False, False, False])
    await store.sweep(stop=lambda: next(checks, True))
    assert any(key[1].startswith("ITEM#") for key in local.engine.rows)
    await finish(local, store)
    assert [key[1] for key in local.engine.rows] == ["ATTACHMENT#atc_free"]


async def test_an_item_that_a_late_run_adds_is_never_seen_and_does_not_outlive_the_sweep() -> None:
    local = Local()
    store, late = local.store(), local.store()
    await store.save_thread(thread_of(), ADA)
    await store.delete_thread("thr_1", ADA)
    await store.sweep(stop=never)
    await late.add_thread_item("thr_1", message_of(), ADA)
    for order in ("asc", "desc"):
        assert await item_ids(store, "thr_1", ADA, order=order) == []
    with pytest.raises(NotFoundError):
        await store.load_item("thr_1", "msg_1", ADA)
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)
    assert local.engine.rows == {}


async def test_a_deleted_item_leaves_a_row_without_content_that_expires_in_a_day() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(text=incompressible(200_000)), ADA)
    await store.delete_thread_item("thr_1", "msg_1", ADA)
    (row,) = (row for key, row in local.engine.rows.items() if key[1] == keys.item_sort("msg_1"))
    assert set(row) == {keys.PARTITION_KEY, keys.SORT_KEY, keys.TTL_ATTRIBUTE, "was_order"}
    assert int(row[keys.TTL_ATTRIBUTE]["N"]) == local.now // 10**9 + 86_400
    assert local.objects.kept == {}


async def test_a_cursor_that_was_deleted_over_a_day_ago_is_unknown() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(), ADA)
    await store.delete_thread_item("thr_1", "msg_1", ADA)
    assert (await store.load_thread_items("thr_1", "msg_1", 1, "asc", ADA)).data == []
    local.later(86_400)
    with pytest.raises(NotFoundError):
        await store.load_thread_items("thr_1", "msg_1", 1, "asc", ADA)


@pytest.mark.parametrize("pending", [1, 10, 100, 1_000])
async def test_a_delete_costs_the_same_however_many_deleted_threads_wait(pending: int) -> None:
    local = Local()
    store = local.store()
    for number in range(pending - 1):
        who = context_of(f"user_{number}")
        await store.save_thread(thread_of(), who)
        await store.delete_thread("thr_1", who)
    await populate(store, threads=1)
    local.engine.requests.clear()
    local.objects.requests.clear()
    await store.delete_thread("thr_0", ADA)
    await store.sweep_thread("thr_0", ADA, stop=never)
    assert local.engine.requests == [
        "TransactWriteItems",
        "Query",  # is there anything to clear?
        "Query",
        "BatchWriteItem",
        "Query",  # its attachments
        "BatchWriteItem",
        "UpdateItem",  # it is cleared
    ]
    assert local.objects.requests == [
        "ListObjectsV2",  # its attachment's bytes
        "ListObjectsV2",  # its attachment's description
        "ListObjectsV2",  # its items' payloads
        "DeleteObjects",
    ]


async def test_a_cleared_thread_costs_the_hourly_sweep_nothing_until_its_final_pass() -> None:
    local = Local()
    store = local.store()
    for number in range(20):
        await store.save_thread(thread_of(f"thr_{number}"), ADA)
        await store.delete_thread(f"thr_{number}", ADA)
        await store.sweep_thread(f"thr_{number}", ADA, stop=never)
    local.engine.requests.clear()
    await store.sweep(stop=never)
    assert local.engine.requests == ["Query"] * keys.SWEEP_SHARDS
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)
    assert local.engine.rows == {}


async def test_deleting_an_unknown_thread_takes_two_requests() -> None:
    local = Local()
    store = local.store()
    await store.delete_thread("thr_unknown", ADA)
    await store.sweep_thread("thr_unknown", ADA, stop=never)
    assert local.engine.requests == ["TransactWriteItems", "Query"]
    assert local.engine.rows == {}


async def test_sweeping_a_living_thread_removes_nothing() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(), ADA)
    await store.ledger.take_lease("thr_1", "trn_1", lease_ms=1000, context=ADA)
    await store.sweep_thread("thr_1", ADA, stop=never)
    assert await item_ids(store, "thr_1", ADA) == ["msg_1"]


async def test_a_thread_with_the_longest_ids_can_be_deleted() -> None:
    local = Local()
    store = local.store()
    for user_id in ("u" * 512, "#" * 512, "ü" * 256):
        who = context_of(user_id)
        await store.save_thread(thread_of("t" * 512), who)
        await store.add_thread_item("t" * 512, message_of("i" * 512), who)
        await store.delete_thread("t" * 512, who)
        assert await item_ids(store, "t" * 512, who) == []
        await store.sweep_thread("t" * 512, who, stop=never)
    await finish(local, store)
    assert local.engine.rows == {}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_delete_between_a_cursor_and_its_page_leaves_no_entry_without_an_item(order: str) -> None:
    async def once(schedule: list[int]) -> list[int]:
        local, reading, deleting = Local(), HeldExecutor(), HeldExecutor()
        await populate(local.store(), threads=1)
        first = await local.store().load_thread_items("thr_0", None, 2, order, ADA)
        reader, other = local.store(executor=reading), local.store(executor=deleting)

        async def load_page() -> None:
            with suppress(NotFoundError):
                page = (await reader.load_thread_items("thr_0", first.after, 10, order, ADA)).data
                assert len(page) in (0, 2)

        return await interleave(schedule, (reading, load_page), (deleting, lambda: other.delete_thread("thr_0", ADA)))

    assert sum(1 for _ in schedules(lambda schedule: asyncio.run(once(schedule)), limit=100)) >= 3
