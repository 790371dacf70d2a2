"""What has expired is gone for every reader at once; without retention nothing of a thread expires."""

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import context_of, item_ids, message_of
from lambda_src.store import keys
from tests.store.local import Local, populate

ADA = context_of("ada")


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
