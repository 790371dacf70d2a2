"""Objects that no row names go after a day, files that nobody can bind any more after theirs, all others never."""

from typing import Any

import pytest

from lambda_src.attachments.linked_store import LinkedStore
from lambda_src.attachments.media import FileLimits
from lambda_src.attachments.s3 import S3AttachmentStore
from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store.bounds import UNBOUND_S
from lambda_src.store.calls import Calls
from tests.store.dying import KilledError
from tests.store.local import Local, populate
from tests.store.model import Inline
from tests.store.sweeping import finish, never

ADA = context_of("ada")


def files_of(local: Local) -> S3AttachmentStore:
    """Files in the bucket of this process."""
    client: Any = local.objects
    return S3AttachmentStore(client, "bucket", calls=Calls(Inline()), limits=FileLimits(), clock=lambda: local.now)


def killed(**_: Any) -> dict[str, Any]:
    """The process dies here."""
    raise KilledError


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
