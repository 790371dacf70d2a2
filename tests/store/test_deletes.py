"""Deletes: gone for the user after one write, gone from table and bucket after a sweep that may die anywhere."""

from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.attachments.linked_store import LinkedStore
from lambda_src.attachments.media import FileLimits
from lambda_src.attachments.s3 import S3AttachmentStore
from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.bounds import UNBOUND_S
from lambda_src.store.calls import Calls
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.sweep import LATE_WRITES_S
from tests.store.dying import KilledError, dying_after
from tests.store.local import Local, populate
from tests.store.model import Inline

ADA = context_of("ada")


def never() -> bool:
    """A sweep that nobody stops."""
    return False


async def finish(local: Local, store: DynamoDBStore) -> None:
    """Both passes of a sweep: at once, and when no late write can come."""
    await store.sweep(stop=never)
    local.later(LATE_WRITES_S)
    await store.sweep(stop=never)


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


async def test_a_sweep_that_dies_at_any_request_is_finished_by_the_next() -> None:
    """Each run dies one request later than the one before, until one does not die at all."""
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
    """Whether a sweep of two passes died after so many requests to table and bucket."""
    dying = dying_after(local, requests)
    try:
        await finish(dying, dying.store())
    except KilledError:
        return True
    return False


async def test_a_sweep_stops_when_it_is_told_to_and_goes_on_later() -> None:
    local = Local()
    store = local.store()
    await populate(store, threads=1, items=3_000)
    await store.delete_thread("thr_0", ADA)
    looks = iter([False, False, False])
    await store.sweep(stop=lambda: next(looks, True))
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


async def test_objects_that_no_row_names_are_removed_after_a_day_and_others_never() -> None:
    local = Local()
    store = local.store()
    await populate(store)
    local.objects.put_object(Key="offload/ada/thr_0/msg_large/orphan", Body=b"x", Metadata={"pk": "a", "sk": "b"})
    local.objects.put_object(Key="offload/ada/thr_0/msg_large/foreign", Body=b"x", Metadata={})
    assert await store.sweep_orphans(hour=None, stop=never) == 0
    local.later(25 * 3600)
    removed = [await store.sweep_orphans(hour=hour, stop=never) for hour in range(24)]
    assert sum(removed) == 1
    assert not [key for key in local.objects.kept if key.endswith("/orphan")]
    assert len(local.objects.kept) == 3
    assert await item_ids(store, "thr_0", ADA) == ["msg_large", "msg_0", "msg_1", "msg_2"]


# Files without a row


def files_of(local: Local) -> S3AttachmentStore:
    """Files in the bucket of this process."""
    client: Any = local.objects
    return S3AttachmentStore(client, "bucket", calls=Calls(Inline()), limits=FileLimits(), clock=lambda: local.now)


async def test_a_file_whose_row_could_not_be_bound_goes_when_nobody_can_bind_it_any_more() -> None:
    local = Local()
    store = local.store()
    linked = LinkedStore(store, files_of(local))
    await store.save_thread(thread_of(), ADA)
    await linked.save_attachment(file_of(), ADA)
    local.objects.put_object(Key="pending/ada/atc_1", Body=b"x")
    put, local.engine.put_item = local.engine.put_item, killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        await linked.save_attachment(file_of(thread_id="thr_1"), ADA)
    local.engine.put_item = put  # type: ignore[method-assign]  # a new process
    local.later(25 * 3600)
    assert await store.sweep_orphans(hour=None, stop=never) == 0, "the message may still come"
    assert "kept/ada/atc_1/file" in local.objects.kept
    local.later(UNBOUND_S)
    assert sum([await store.sweep_orphans(hour=hour, stop=never) for hour in range(24)]) == 1
    assert list(local.objects.kept) == ["pending/ada/atc_1"]


async def test_a_picture_that_comes_after_its_thread_was_cleared_goes_after_a_day() -> None:
    local = Local()
    store, files = local.store(), files_of(local)
    await store.save_thread(thread_of(), ADA)
    await store.save_attachment(file_of(thread_id="thr_1"), ADA)
    await store.delete_thread("thr_1", ADA)
    await finish(local, store)
    await files.keep_image("atc_1", b"\x89PNG\r\n\x1a\n", ADA)
    assert await store.sweep_orphans(hour=None, stop=never) == 0
    local.later(25 * 3600)
    assert await store.sweep_orphans(hour=None, stop=never) == 1
    assert local.objects.kept == {}


async def test_a_file_that_a_message_names_stays_and_so_does_one_whose_owner_cannot_be_told() -> None:
    local = Local()
    store, files = local.store(), files_of(local)
    odd = context_of("an odd/user")  # a hash stands in the key in its place
    for user in (ADA, odd):
        await store.save_thread(thread_of(), user)
        await store.save_attachment(file_of(thread_id="thr_1"), user)
        await files.keep_image("atc_1", b"x", user)
    await files.keep_image("atc_gone", b"x", odd)
    local.later(400 * 24 * 3600)
    assert await store.sweep_orphans(hour=None, stop=never) == 0
    assert len(local.objects.kept) == 3


def killed(**_: Any) -> dict[str, Any]:
    """The process dies here."""
    raise KilledError


async def test_expired_rows_are_filtered_when_they_are_read() -> None:
    local = Local()
    store = local.store(retention_s=3600)
    await populate(store)
    local.later(3599)
    assert len((await store.load_threads(10, None, "asc", ADA)).data) == 2
    local.later(1)
    assert (await store.load_threads(10, None, "asc", ADA)).data == []
    assert await item_ids(store, "thr_0", ADA) == []
    for load in (
        store.load_thread("thr_0", ADA),
        store.load_item("thr_0", "msg_0", ADA),
        store.load_attachment("atc_0", ADA),
    ):
        with pytest.raises(NotFoundError):
            await load
    await store.add_thread_item("thr_0", message_of("msg_0", "anew"), ADA)
    assert await item_ids(store, "thr_0", ADA) == ["msg_0"]


async def test_without_retention_nothing_expires_but_a_file_that_no_message_names() -> None:
    local = Local()
    await populate(local.store())
    expiring = [row for row in local.engine.rows.values() if keys.TTL_ATTRIBUTE in row]
    assert [row[keys.SORT_KEY]["S"] for row in expiring] == [keys.attachment_sort("atc_free")]


async def test_an_erased_user_leaves_nothing_and_takes_nobody_along() -> None:
    local = Local()
    store = local.store()
    await populate(store, "ada", threads=3)
    await store.delete_thread("thr_2", ADA)
    await populate(store, "bob")
    local.objects.put_object(Key="pending/ada/x", Body=b"x", Metadata={})
    local.objects.put_object(Key="kept/ada/atc_0/file", Body=b"x", Metadata={})
    bob = context_of("bob")
    before = [record async for record in store.export_user(bob)]
    steps = [erased async for erased in store.erase_user(ADA)]
    assert sum(step.threads for step in steps) == 2, "the third was deleted before"
    assert sum(step.items for step in steps) == 12
    left = [row for row in local.engine.rows.values() if "USER#ada" in str(row)]
    assert all("deleted_at" in row for row in left), "what says that they are gone, and nothing else"
    assert not {name for row in left for name in row if name == "payload" or name.startswith("field_")}
    await finish(local, store)
    assert not [row for row in local.engine.rows.values() if "USER#ada" in str(row)]
    assert not [key for key in local.objects.kept if "/ada/" in key]
    assert [record async for record in store.export_user(bob)] == before


async def test_an_erasure_that_dies_at_any_request_is_finished_by_the_next() -> None:
    deaths = 0
    while True:
        local = Local()
        await populate(local.store())
        dying = dying_after(local, deaths)
        try:
            async for _ in dying.store().erase_user(ADA):
                pass
        except KilledError:
            deaths += 1
        else:
            return
        async for _ in local.store().erase_user(ADA):
            pass
        await finish(local, local.store())
        assert (local.engine.rows, local.objects.kept) == ({}, {})


@pytest.mark.parametrize("erased", [True, False])
async def test_what_was_just_removed_can_be_imported_again(erased: bool) -> None:
    local = Local()
    store = local.store()
    await populate(store, threads=1)
    exported = [record async for record in store.export_user(ADA)]
    if erased:
        async for _ in store.erase_user(ADA):
            pass
    else:
        await store.delete_thread("thr_0", ADA)
        await store.delete_attachment("atc_free", ADA)
    assert all([await store.import_record(record, ADA) for record in exported])
    assert [record async for record in store.export_user(ADA)] == exported
    await finish(local, store)
    assert [record async for record in store.export_user(ADA)] == exported


async def test_an_export_imported_elsewhere_exports_the_same() -> None:
    first, second = Local(), Local()
    await populate(first.store())
    exported = [record async for record in first.store().export_user(ADA)]
    store = second.store()
    assert [await store.import_record(record, ADA) for record in exported] == [True] * len(exported)
    assert [record async for record in store.export_user(ADA)] == exported
    again = [await store.import_record(record, ADA) for record in exported if record["kind"] != "feedback"]
    assert not any(again)


async def test_an_object_whose_row_has_too_long_a_key_for_metadata_is_kept_and_goes_with_its_thread() -> None:
    local = Local()
    store = local.store()
    long = "ü" * 256
    await store.save_thread(thread_of(long), ADA)
    await store.add_thread_item(long, message_of(long, incompressible(200_000), thread_id=long), ADA)
    ((_, metadata, _),) = local.objects.kept.values()
    assert metadata == {}
    local.later(25 * 3600)
    assert await store.sweep_orphans(hour=None, stop=never) == 0
    await store.delete_thread(long, ADA)
    await finish(local, store)
    assert local.objects.kept == {}
