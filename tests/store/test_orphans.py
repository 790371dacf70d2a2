"""Unreferenced objects are removed after a day, unbound files after two, all others never."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.s3_files import S3AttachmentStore
from lambda_src.chat.scheduled_events import CLOSING_TIME_MS
from lambda_src.context import Turn
from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.store import keys
from lambda_src.store.aws_calls import Calls
from lambda_src.store.bounds import UNBOUND_S
from lambda_src.store.dynamodb import DynamoDBStore
from lambda_src.store.dynamodb.table import Row
from tests.store.dying import KilledError
from tests.store.local import Local, populate
from tests.store.model import Inline
from tests.store.sweeping import finish, never

ADA = context_of("ada")
OLD = datetime(2020, 1, 1, tzinfo=UTC)


def files_of(local: Local) -> S3AttachmentStore:
    """Return an attachment store on the bucket of `local`."""
    client: Any = local.objects
    return S3AttachmentStore(client, "bucket", calls=Calls(Inline()), limits=FileLimits(), clock=lambda: local.now)


def kill(**_: Any) -> dict[str, Any]:
    """Raise KilledError, as if the process were killed here."""
    raise KilledError


async def test_unreferenced_objects_are_removed_after_a_day_and_others_never() -> None:
    local = Local()
    store = local.store()
    await populate(store)
    local.objects.put_object(Key="offload/ada/thr_0/msg_large/orphan", Body=b"x", Metadata={"pk": "a", "sk": "b"})
    local.objects.put_object(Key="offload/~odd/thr_0/msg_large/foreign", Body=b"x", Metadata={})
    assert await store.sweep_orphans(everything=True, stop=never) == 0
    local.later(25 * 3600)
    removed = [await store.sweep_orphans(everything=False, stop=never) for _ in range(24)]
    assert sum(removed) == 1
    assert not [key for key in local.objects.kept if key.endswith("/orphan")]
    assert len(local.objects.kept) == 3
    assert await item_ids(store, "thr_0", ADA) == ["msg_large", "msg_0", "msg_1", "msg_2"]


async def test_a_file_whose_row_was_not_bound_is_removed_once_nobody_can_bind_it() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.save_attachment(file_of(), ADA)
    local.objects.put_object(Key="pending/ada/atc_1", Body=b"x")
    put, local.engine.put_item = local.engine.put_item, kill  # type: ignore[method-assign]
    turn = Turn("turn-of-0123456789", uploads={"atc_1": "the upload that was checked"})
    bound, context = file_of(thread_id="thr_1"), replace(ADA, turn=turn)
    await files_of(local).bind(bound, context)
    with pytest.raises(KilledError):
        await store.save_attachment(bound, context)
    local.engine.put_item = put  # type: ignore[method-assign]  # a new process
    local.later(25 * 3600)
    assert await store.sweep_orphans(everything=True, stop=never) == 0, "the message may still come"
    assert "kept/ada/atc_1/file" in local.objects.kept
    local.later(UNBOUND_S)
    assert sum([await store.sweep_orphans(everything=False, stop=never) for _ in range(24)]) == 1
    assert list(local.objects.kept) == ["pending/ada/atc_1"]


async def test_an_image_added_after_its_thread_was_cleared_is_removed_after_a_day() -> None:
    local = Local()
    store, files = local.store(), files_of(local)
    await store.save_thread(thread_of(), ADA)
    await store.save_attachment(file_of(thread_id="thr_1"), ADA)
    await store.delete_thread("thr_1", ADA)
    await finish(local, store)
    await files.keep_image("atc_1", b"\x89PNG\r\n\x1a\n", ADA)
    assert await store.sweep_orphans(everything=True, stop=never) == 0
    local.later(25 * 3600)
    assert await store.sweep_orphans(everything=True, stop=never) == 1
    assert local.objects.kept == {}


async def test_a_file_of_a_message_stays_and_so_does_one_with_an_unknown_owner() -> None:
    local = Local()
    store, files = local.store(), files_of(local)
    odd = context_of("an odd/user")  # the key contains a hash instead
    for user in (ADA, odd):
        await store.save_thread(thread_of(), user)
        await store.save_attachment(file_of(thread_id="thr_1"), user)
        await files.keep_image("atc_1", b"x", user)
    await files.keep_image("atc_gone", b"x", odd)
    local.later(400 * 24 * 3600)
    assert await store.sweep_orphans(everything=True, stop=never) == 0
    assert len(local.objects.kept) == 3


async def test_an_object_whose_row_key_is_too_long_for_metadata_is_removed_with_its_thread() -> None:
    local = Local()
    store = local.store()
    long = "ü" * 256
    await store.save_thread(thread_of(long), ADA)
    await store.add_thread_item(long, message_of(long, incompressible(200_000), thread_id=long), ADA)
    ((_, metadata, _),) = local.objects.kept.values()
    assert metadata == {}
    local.later(25 * 3600)
    assert await store.sweep_orphans(everything=True, stop=never) == 0
    await store.delete_thread(long, ADA)
    await finish(local, store)
    assert local.objects.kept == {}


async def test_objects_of_plain_ids_are_judged_by_their_keys_alone() -> None:
    local = Local()
    store = local.store()
    await populate(store, threads=20)
    local.later(25 * 3600)
    local.objects.requests.clear()
    local.engine.requests.clear()
    assert await store.sweep_orphans(everything=True, stop=never) == 0
    assert local.objects.requests == ["ListObjectsV2", "ListObjectsV2"]
    assert local.engine.requests == ["BatchGetItem"]


async def test_a_pass_over_the_bucket_continues_where_it_stopped_and_starts_once_a_day() -> None:
    local = Local()
    store = local.store()
    for number in range(2_500):
        local.objects.put_object(Key=f"offload/ada/thr_1/msg_{number:04d}/0", Body=b"x")
    local.later(25 * 3600)
    stops = iter([False, False, True])  # the empty page of kept/, one of offload/
    assert await store.sweep_orphans(everything=False, stop=lambda: next(stops)) == 1_000
    assert await local.store().sweep_orphans(everything=False, stop=never) == 1_500
    local.objects.requests.clear()
    local.later(3600)
    assert await store.sweep_orphans(everything=False, stop=never) == 0
    assert local.objects.requests == []
    local.later(24 * 3600)
    await store.sweep_orphans(everything=False, stop=never)
    assert local.objects.requests == ["ListObjectsV2", "ListObjectsV2"]


class HugeBucket:
    """A table and a bucket with many offloaded items, all in order. It counts requests and their seconds.

    A tenth of a million objects at ten times the duration of a request take as long as a million.
    """

    OBJECTS = 100_000
    LIST_S, BATCH_S = 10 * 0.2, 10 * 0.04

    def __init__(self) -> None:
        self.progress: Row | None = None
        self.elapsed_s = 0.0
        self.list_count = self.batch_count = 0

    def list_objects_v2(self, *, Prefix: str, StartAfter: str = "", **more: Any) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """Handle ListObjectsV2."""
        self.list_count, self.elapsed_s = self.list_count + 1, self.elapsed_s + self.LIST_S
        if Prefix != keys.OFFLOAD_PREFIX:
            return {}
        after = more.get("ContinuationToken", StartAfter)
        first = int(after.split("/")[3]) + 1 if after else 0
        page = [{"Key": self._object(n), "LastModified": OLD} for n in range(first, min(first + 1000, self.OBJECTS))]
        is_more = first + 1000 < self.OBJECTS
        return {"Contents": page, "IsTruncated": is_more, "NextContinuationToken": page[-1]["Key"]}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - DynamoDB's own name
        """Handle BatchGetItem."""
        self.batch_count, self.elapsed_s = self.batch_count + 1, self.elapsed_s + self.BATCH_S
        rows = [key | {"object": {"S": self._object_of(key)}} for key in RequestItems["table"]["Keys"]]
        return {"Responses": {"table": rows}}

    def get_item(self, **_: Any) -> dict[str, Any]:
        """Handle GetItem, which asks for the progress of the pass."""
        return {} if self.progress is None else {"Item": self.progress}

    def put_item(self, *, Item: Row, **_: Any) -> dict[str, Any]:  # noqa: N803 - DynamoDB's own name
        """Handle PutItem, which saves the progress."""
        self.progress = Item
        return {}

    @staticmethod
    def _object(number: int) -> str:
        return f"offload/ada/thr_1/{number:07d}/{number:07d}"

    @staticmethod
    def _object_of(key: dict[str, Any]) -> str:
        item_id = key["sk"]["S"].removeprefix(keys.ITEM_PREFIX)
        return f"offload/ada/thr_1/{item_id}/{item_id}"


async def test_a_million_objects_are_swept_within_a_day_of_hourly_invocations_of_300_s() -> None:
    client: Any = HugeBucket()
    store = DynamoDBStore(client, "table", bucket="bucket", s3=client, executor=Inline())
    invocations = 0
    while client.progress is None or "is_done" not in client.progress:
        invocations += 1
        until_s = client.elapsed_s + 300 - CLOSING_TIME_MS / 1000
        assert await store.sweep_orphans(everything=False, stop=lambda: client.elapsed_s >= until_s) == 0  # noqa: B023 - called at once
    assert invocations <= 24
    assert client.batch_count == HugeBucket.OBJECTS // 100
    assert client.list_count <= HugeBucket.OBJECTS // 1000 + 2 * invocations
