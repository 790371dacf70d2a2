"""The contract about threads: saved, renamed, locked, deleted. Knows no store."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from chatkit.store import NotFoundError
from chatkit.types import LockedStatus, Page, Thread

from lambda_src.dev.store_contract.samples import (
    ANYTHING,
    TIMES,
    WHEN,
    AnyContext,
    AnyStore,
    ContractCase,
    answer_of,
    file_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.store.ports import UserData


class ThreadContract(ContractCase):
    """load_thread, save_thread, delete_thread, generate_thread_id."""

    async def test_a_saved_thread_is_loaded_as_it_was(self, store: AnyStore, ada: AnyContext) -> None:
        thread = thread_of(
            title="T", status=LockedStatus(reason="r"), allowed_image_domains=["e.org"], metadata=ANYTHING
        )
        await store.save_thread(thread=thread, context=ada)
        assert await store.load_thread(thread_id=thread.id, context=ada) == thread

    @pytest.mark.parametrize("created_at", TIMES.values(), ids=TIMES)
    async def test_created_at_is_loaded_as_it_was_saved(
        self, store: AnyStore, ada: AnyContext, created_at: datetime
    ) -> None:
        await store.save_thread(thread_of(created_at=created_at), context=ada)
        loaded = (await store.load_thread("thr_1", context=ada)).created_at
        assert (loaded, loaded.utcoffset()) == (created_at, created_at.utcoffset())

    async def test_a_missing_thread_is_not_found(self, store: AnyStore, ada: AnyContext) -> None:
        with pytest.raises(NotFoundError, match=r"^Thread thr_missing not found$"):
            await store.load_thread("thr_missing", context=ada)

    async def test_a_foreign_thread_is_missing(self, store: AnyStore, ada: AnyContext, bob: AnyContext) -> None:
        await store.save_thread(thread_of(), context=ada)
        with pytest.raises(NotFoundError) as foreign:
            await store.load_thread("thr_1", context=bob)
        with pytest.raises(NotFoundError) as missing:
            await store.load_thread("thr_2", context=bob)
        assert str(foreign.value).replace("thr_1", "thr_2") == str(missing.value)
        assert await thread_ids(store, bob) == []

    async def test_two_users_may_have_threads_with_the_same_id(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext
    ) -> None:
        await store.save_thread(thread_of(title="ada's"), context=ada)
        await store.save_thread(thread_of(title="bob's"), context=bob)
        await store.delete_thread("thr_1", context=bob)
        assert (await store.load_thread("thr_1", context=ada)).title == "ada's"

    async def test_saving_again_replaces_every_field(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_thread(thread_of(title="old", metadata={"a": 1}), context=ada)
        await store.save_thread(thread_of(title=None, metadata={}), context=ada)
        assert await store.load_thread("thr_1", context=ada) == thread_of()

    async def test_a_full_thread_is_saved_without_its_items(self, store: AnyStore, ada: AnyContext) -> None:
        items: Page[Any] = Page(data=[message_of()])
        await store.save_thread(Thread(id="thr_1", created_at=WHEN, items=items), context=ada)
        loaded = await store.load_thread("thr_1", context=ada)
        assert type(loaded) is type(thread_of())
        assert await item_ids(store, "thr_1", ada) == []

    async def test_a_loaded_thread_is_a_copy(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_thread(thread_of(metadata={"a": [1]}), context=ada)
        (await store.load_thread("thr_1", context=ada)).metadata["a"].append(2)
        assert (await store.load_thread("thr_1", context=ada)).metadata == {"a": [1]}

    async def test_a_thread_changed_after_saving_is_not_changed_in_the_store(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        thread = thread_of(metadata={"a": 1})
        await store.save_thread(thread, context=ada)
        thread.metadata["a"] = 2
        assert (await store.load_thread("thr_1", context=ada)).metadata == {"a": 1}

    async def test_two_writers_of_different_fields_both_win(self, store: AnyStore, ada: AnyContext) -> None:
        """A rename in another tab survives a run that changes the status of the object it loaded before."""
        await store.save_thread(thread_of(title="old"), context=ada)
        mine = await store.load_thread("thr_1", context=ada)
        theirs = await store.load_thread("thr_1", context=ada)
        theirs.title = "renamed"
        await store.save_thread(theirs, context=ada)
        mine.status = LockedStatus()
        await store.save_thread(mine, context=ada)
        assert await store.load_thread("thr_1", context=ada) == thread_of(title="renamed", status=LockedStatus())

    async def test_an_object_that_was_saved_may_be_changed_and_saved_again(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        thread = thread_of()
        await store.save_thread(thread, context=ada)
        thread.title = "first"
        await store.save_thread(thread, context=ada)
        thread.title = None
        await store.save_thread(thread, context=ada)
        assert await store.load_thread("thr_1", context=ada) == thread_of()

    async def test_a_rename_is_kept_when_a_stale_object_is_saved_without_a_change(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        await store.save_thread(thread_of(title="old"), context=ada)
        stale = await store.load_thread("thr_1", context=ada)
        renamed = await store.load_thread("thr_1", context=ada)
        renamed.title = "renamed"
        await store.save_thread(renamed, context=ada)
        await store.save_thread(stale, context=ada)
        assert (await store.load_thread("thr_1", context=ada)).title == "renamed"

    async def test_one_object_saved_for_two_users_is_kept_for_both(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext
    ) -> None:
        thread = thread_of(title="t")
        await store.save_thread(thread, context=ada)
        await store.save_thread(thread, context=bob)
        assert await store.load_thread("thr_1", context=bob) == thread

    async def test_a_deleted_thread_is_gone_with_everything_in_it(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_thread(thread_of(), context=ada)
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await store.save_attachment(file_of("atc_in", thread_id="thr_1"), context=ada)
        await store.save_attachment(file_of("atc_out"), context=ada)
        await store.delete_thread(thread_id="thr_1", context=ada)
        for load in (
            store.load_thread("thr_1", context=ada),
            store.load_item("thr_1", "msg_1", context=ada),
            store.load_attachment("atc_in", context=ada),
        ):
            with pytest.raises(NotFoundError):
                await load
        assert await thread_ids(store, ada) == []
        assert await item_ids(store, "thr_1", ada) == []
        assert await item_ids(store, "thr_1", ada, order="desc") == []
        assert await store.load_attachment("atc_out", context=ada) == file_of("atc_out")

    async def test_deleting_a_missing_thread_does_nothing(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext
    ) -> None:
        await store.delete_thread("thr_missing", context=ada)
        await store.save_thread(thread_of(), context=ada)
        await store.delete_thread("thr_1", context=bob)
        assert await thread_ids(store, ada) == ["thr_1"]
        await store.delete_thread("thr_1", context=ada)
        await store.delete_thread("thr_1", context=ada)

    async def test_a_run_in_progress_does_not_bring_a_deleted_thread_back(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        await store.save_thread(thread_of(), context=ada)
        run = await store.load_thread("thr_1", context=ada)
        await store.delete_thread("thr_1", context=ada)
        run.title = "a title made in the meantime"
        with pytest.raises(NotFoundError):
            await store.save_thread(run, context=ada)
        assert await thread_ids(store, ada) == []

    async def test_an_object_that_was_only_saved_does_not_bring_its_deleted_thread_back(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        thread = thread_of()
        await store.save_thread(thread, context=ada)
        await store.delete_thread("thr_1", context=ada)
        thread.title = "a title made in the meantime"
        with pytest.raises(NotFoundError):
            await store.save_thread(thread, context=ada)
        assert await thread_ids(store, ada) == []

    async def test_an_object_that_the_store_has_never_seen_does_not_bring_a_deleted_thread_back(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        """ChatKit's server saves a new thread and then continues with another object of the same id."""
        await store.save_thread(thread_of(), context=ada)
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await store.delete_thread("thr_1", context=ada)
        items: Page[Any] = Page()
        for unseen in (thread_of(title="new"), Thread(id="thr_1", created_at=WHEN, items=items, title="new")):
            with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
                await store.save_thread(unseen, context=ada)
        await store.add_thread_item("thr_1", answer_of("msg_2", "late"), context=ada)
        assert await thread_ids(store, ada) == []
        assert await item_ids(store, "thr_1", ada) == []

    async def test_threads_are_listed_by_creation_then_id(self, store: AnyStore, ada: AnyContext) -> None:
        later = WHEN + timedelta(microseconds=1)
        for thread_id, created_at in (("thr_c", WHEN), ("thr_a", later), ("thr_b", WHEN), ("thr_ä", WHEN)):
            await store.save_thread(thread_of(thread_id, created_at=created_at), context=ada)
        by_creation = ["thr_b", "thr_c", "thr_ä", "thr_a"]
        assert await thread_ids(store, ada) == by_creation
        assert await thread_ids(store, ada, order="desc") == by_creation[::-1]

    async def test_threads_of_all_time_zones_are_listed_by_creation(self, store: AnyStore, ada: AnyContext) -> None:
        expected = sorted(TIMES, key=lambda name: (TIMES[name].replace(tzinfo=TIMES[name].tzinfo or WHEN.tzinfo), name))
        for name, created_at in TIMES.items():
            await store.save_thread(thread_of(name, created_at=created_at), context=ada)
        assert await thread_ids(store, ada) == expected

    async def test_saving_a_thread_keeps_its_place(self, store: AnyStore, ada: AnyContext) -> None:
        for number in range(3):
            await store.save_thread(
                thread_of(f"thr_{number}", created_at=WHEN + timedelta(seconds=number)), context=ada
            )
        await store.save_thread(thread_of("thr_0", created_at=WHEN + timedelta(days=1)), context=ada)
        assert await thread_ids(store, ada) == ["thr_0", "thr_1", "thr_2"]

    async def test_generated_ids_are_unique(self, store: AnyStore, ada: AnyContext) -> None:
        thread = thread_of()
        minted = [store.generate_thread_id(ada) for _ in range(100)]
        minted += [store.generate_item_id("message", thread, ada) for _ in range(100)]
        minted += [store.generate_item_id("workflow", thread, ada) for _ in range(100)]
        assert len(set(minted)) == 300

    async def test_many_threads_may_be_saved_at_once(self, store: AnyStore, ada: AnyContext) -> None:
        wanted = [f"thr_{number:02d}" for number in range(30)]
        await asyncio.gather(*(store.save_thread(thread_of(thread_id), context=ada) for thread_id in wanted))
        assert await thread_ids(store, ada, limit=7) == wanted


class ErasureContract(ContractCase):
    """erase_user(context), for a store that has it."""

    async def test_an_answer_in_progress_does_not_bring_an_erased_thread_back(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        await store.save_thread(thread_of(), context=ada)
        await store.add_thread_item("thr_1", message_of(), context=ada)
        loaded = await store.load_thread("thr_1", context=ada)
        loaded.title = "a late title"
        await erased_threads(store, ada)
        items: Page[Any] = Page()
        for late in (loaded, thread_of(title="new"), Thread(id="thr_1", created_at=WHEN, items=items)):
            with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
                await store.save_thread(late, context=ada)
        await store.add_thread_item("thr_1", answer_of("msg_2", "late"), context=ada)
        assert await thread_ids(store, ada) == []
        assert await item_ids(store, "thr_1", ada) == []

    async def test_an_erasure_counts_what_it_removes_only_once(self, store: AnyStore, ada: AnyContext) -> None:
        for thread_id in ("thr_1", "thr_2"):
            await store.save_thread(thread_of(thread_id), context=ada)
        await store.delete_thread("thr_2", context=ada)
        assert await erased_threads(store, ada) == 1
        assert await erased_threads(store, ada) == 0


async def erased_threads(store: AnyStore, context: AnyContext) -> int:
    """Erase the user, and return how many threads that removed."""
    erasure = cast("UserData", store).erase_user(context)
    return sum([step.threads async for step in erasure])
