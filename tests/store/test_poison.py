"""Rows that no longer validate become placeholders: the page continues, they are counted, and their bytes stay."""

import asyncio
import io
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import context_of, message_of, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.errors import ConflictError, UnavailableError
from lambda_src.store import codec, keys
from tests.store.local import Local

ADA = context_of("ada")
ITEM_COUNT = 10


def unknown_type(row: dict[str, Any]) -> None:
    row["payload"] = {"B": b'{"type":"hologram","id":"msg_5"}'}


def missing_field(row: dict[str, Any]) -> None:
    row["payload"] = {"B": b'{"type":"user_message","id":"msg_5"}'}


def no_json(row: dict[str, Any]) -> None:
    row["payload"] = {"B": b"\xff\x00"}


def newer_schema(row: dict[str, Any]) -> None:
    row["schema"] = {"N": str(codec.SCHEMA_VERSION + 1)}


def no_schema(row: dict[str, Any]) -> None:
    del row["schema"]


def truncated_gzip(row: dict[str, Any]) -> None:
    whole = codec.pack(b"x" * 5000)
    row |= {"payload": {"B": whole.data[:-9]}, "encoding": {"S": whole.encoding}}


def no_gzip(row: dict[str, Any]) -> None:
    row["encoding"] = {"S": "gzip"}


def unknown_encoding(row: dict[str, Any]) -> None:
    row["encoding"] = {"S": "zstd"}


def vanished_object(row: dict[str, Any]) -> None:
    del row["payload"]
    row["object"] = {"S": "offload/ada/thr_1/msg_5/gone"}


def no_payload(row: dict[str, Any]) -> None:
    del row["payload"]


DAMAGES = [
    unknown_type, missing_field, no_json, newer_schema, no_schema, truncated_gzip, no_gzip, unknown_encoding,
    vanished_object, no_payload,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_item_becomes_a_placeholder_and_the_page_continues(damage: Any) -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    for number in range(ITEM_COUNT):
        await store.add_thread_item("thr_1", message_of(f"msg_{number}"), ADA)
    row = local.engine.rows[keys.thread_partition("ada", "thr_1"), keys.item_sort("msg_5")]
    damage(row)
    before = deepcopy(row)
    page = await store.load_thread_items("thr_1", None, ITEM_COUNT, "asc", ADA)
    assert [item.id for item in page.data] == [f"msg_{number}" for number in range(ITEM_COUNT)]
    assert [item.type for item in page.data].count("task") == 1
    assert (await store.load_item("thr_1", "msg_5", ADA)).type == "task"
    assert local.counted == ["unreadable_row"] * 2
    assert row == before


async def test_200_damaged_items_fail_no_page() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    for number in range(200):
        await store.add_thread_item("thr_1", message_of(f"msg_{number:03d}"), ADA)
        DAMAGES[number % len(DAMAGES)](
            local.engine.rows[keys.thread_partition("ada", "thr_1"), keys.item_sort(f"msg_{number:03d}")]
        )
    after = None
    for _ in range(20):
        page = await store.load_thread_items("thr_1", after, 10, "asc", ADA)
        assert len(page.data) == 10
        after = page.after
    assert after is None
    assert local.counted == ["unreadable_row"] * 200


async def test_a_damaged_thread_is_listed_and_its_items_are_read() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(), ADA)
    local.engine.rows[keys.user_partition("ada"), keys.thread_sort("thr_1")]["field_status"] = {"S": '{"type":"new"}'}
    assert [thread.id for thread in (await store.load_threads(1, None, "asc", ADA)).data] == ["thr_1"]
    assert (await store.load_thread_items("thr_1", None, 1, "asc", ADA)).data == [message_of()]
    assert local.counted == ["unreadable_row"]


@pytest.mark.parametrize("damage", [{"field_status": {"S": '{"type":"new"}'}}, {"schema": {"N": "99"}}])
async def test_a_thread_that_cannot_be_read_cannot_be_renamed_and_its_row_stays(damage: Any) -> None:
    local = Local()
    store = local.store()
    original = thread_of(title="old")
    await store.save_thread(original, ADA)
    row = local.engine.rows[keys.user_partition("ada"), keys.thread_sort("thr_1")]
    row |= damage
    before = deepcopy(row)
    placeholder = await store.load_thread("thr_1", ADA)
    placeholder.title = original.title = "renamed"
    for thread in (placeholder, *([original, thread_of()] if "schema" in damage else [])):
        with pytest.raises(ConflictError, match="cannot be changed"):
            await store.save_thread(thread, ADA)
    assert local.engine.rows[keys.user_partition("ada"), keys.thread_sort("thr_1")] == before


async def test_a_truncated_body_is_read_again() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    item = message_of(text=incompressible(200_000))
    await store.add_thread_item("thr_1", item, ADA)
    original_get = local.objects.get_object
    is_broken = iter([True, False, True, True])

    class Broken(io.BytesIO):
        """A body whose connection breaks off."""

        def read(self, size: int | None = -1, /) -> bytes:
            """Raise the error of a truncated body."""
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    def get_object(**params: Any) -> Any:
        return {"Body": Broken()} if next(is_broken) else original_get(**params)

    local.objects.get_object = get_object  # type: ignore[method-assign]  # a bad connection
    assert await store.load_item("thr_1", "msg_1", ADA) == item
    with pytest.raises(UnavailableError):
        await store.load_item("thr_1", "msg_1", ADA)


async def test_a_kill_between_object_and_row_loses_nothing_acknowledged() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    first = message_of(text=incompressible(200_000))
    await store.add_thread_item("thr_1", first, ADA)
    update = local.engine.update_item

    def kill(**_: Any) -> Any:
        raise KeyboardInterrupt

    local.engine.update_item = kill  # type: ignore[method-assign]  # killed between object and row
    with pytest.raises(KeyboardInterrupt):
        await store.save_item("thr_1", message_of(text=incompressible(300_000)), ADA)
    local.engine.update_item = update  # type: ignore[method-assign]  # a new process
    assert len(local.objects.kept) == 2
    assert await store.load_item("thr_1", "msg_1", ADA) == first
    local.later(25 * 3600)
    assert await store.sweep_orphans(everything=True, stop=lambda: False) == 1
    assert await store.load_item("thr_1", "msg_1", ADA) == first


@pytest.mark.parametrize("size", [300_000, 10])
async def test_an_offloaded_item_that_is_replaced_during_a_read_is_read_again(size: int) -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    await store.add_thread_item("thr_1", message_of(text=incompressible(200_000)), ADA)
    replacement = message_of(text=incompressible(size))
    run_during_read(local, store.save_item("thr_1", replacement, ADA))
    page = await store.load_thread_items("thr_1", None, 10, "asc", ADA)
    assert page.data == [replacement]
    assert local.counted == []


async def test_an_offloaded_item_that_is_deleted_during_a_read_is_missing() -> None:
    local = Local()
    store = local.store()
    await store.save_thread(thread_of(), ADA)
    for number in range(3):
        await store.add_thread_item("thr_1", message_of(f"msg_{number}", incompressible(200_000)), ADA)
    run_during_read(local, store.delete_thread_item("thr_1", "msg_0", ADA))
    page = await store.load_thread_items("thr_1", None, 2, "asc", ADA)
    assert ([item.id for item in page.data], page.after) == (["msg_1"], "msg_1")
    run_during_read(local, store.delete_thread_item("thr_1", "msg_2", ADA))
    with pytest.raises(NotFoundError):
        await store.load_item("thr_1", "msg_2", ADA)


def run_during_read(local: Local, other: Coroutine[Any, Any, None]) -> None:
    """Run another request between the next read of a row and the read of its object."""
    original_get = local.objects.get_object

    def get_object(**params: Any) -> Any:
        local.objects.get_object = original_get  # type: ignore[method-assign]  # once
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, other).result()
        return original_get(**params)

    local.objects.get_object = get_object  # type: ignore[method-assign]  # as a slow bucket would
