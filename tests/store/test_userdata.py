"""All data of a user: erased completely by runs that may be killed, exported, and imported unchanged."""

import pytest

from lambda_src.dev.store_contract.samples import context_of
from tests.store.dying import KilledError, dying_after
from tests.store.local import Local, populate
from tests.store.sweeping import finish

ADA = context_of("ada")


async def test_an_erased_user_leaves_nothing_and_affects_no_other_user() -> None:
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
    assert sum(step.threads for step in steps) == 2, "the third was already deleted"
    assert sum(step.items for step in steps) == 12
    left = [row for row in local.engine.rows.values() if "USER#ada" in str(row)]
    assert all("deleted_at" in row for row in left), "only tombstones are left"
    assert not {name for row in left for name in row if name == "payload" or name.startswith("field_")}
    await finish(local, store)
    assert not [row for row in local.engine.rows.values() if "USER#ada" in str(row)]
    assert not [key for key in local.objects.kept if "/ada/" in key]
    assert [record async for record in store.export_user(bob)] == before


async def test_an_erasure_that_is_killed_at_any_request_is_finished_by_the_next() -> None:
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
async def test_recently_removed_data_can_be_imported_again(erased: bool) -> None:
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
