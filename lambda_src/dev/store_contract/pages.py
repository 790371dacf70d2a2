"""The contract about pages: no row is lost or repeated, at any page size, in both orders, with deletes in between."""

from contextlib import suppress

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import (
    AnyContext,
    AnyStore,
    ContractCase,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)

N = 7


class PageContract(ContractCase):
    """load_thread_items and load_threads."""

    @pytest.fixture
    async def ids(self, store: AnyStore, ada: AnyContext) -> list[str]:
        """A thread of seven items, all of one created_at, and seven threads of one created_at."""
        wanted = [f"msg_{number}" for number in range(N)]
        for number in range(N):
            await store.save_thread(thread_of(f"thr_{number}"), context=ada)
        for item_id in wanted:
            await store.add_thread_item("thr_1", message_of(item_id), context=ada)
        return wanted

    @pytest.mark.parametrize("limit", range(1, N + 2))
    async def test_every_page_size_shows_each_item_once(
        self, store: AnyStore, ada: AnyContext, ids: list[str], limit: int
    ) -> None:
        assert await item_ids(store, "thr_1", ada, limit=limit) == ids
        assert await item_ids(store, "thr_1", ada, limit=limit, order="desc") == ids[::-1]

    @pytest.mark.parametrize("limit", range(1, N + 2))
    async def test_every_page_size_shows_each_thread_once(
        self, store: AnyStore, ada: AnyContext, ids: list[str], limit: int
    ) -> None:
        wanted = [f"thr_{number}" for number in range(N)]
        assert await thread_ids(store, ada, limit=limit) == wanted
        assert await thread_ids(store, ada, limit=limit, order="desc") == wanted[::-1]

    async def test_a_full_last_page_says_that_it_is_the_last(
        self, store: AnyStore, ada: AnyContext, ids: list[str]
    ) -> None:
        page = await store.load_thread_items(thread_id="thr_1", after=None, limit=N, order="asc", context=ada)
        assert (len(page.data), page.has_more, page.after) == (N, False, None)

    async def test_the_cursor_is_the_id_of_the_last_row_and_exclusive(
        self, store: AnyStore, ada: AnyContext, ids: list[str]
    ) -> None:
        first = await store.load_thread_items("thr_1", None, 3, "asc", context=ada)
        assert (first.has_more, first.after) == (True, ids[2])
        second = await store.load_thread_items("thr_1", ids[2], 3, "asc", context=ada)
        assert [item.id for item in second.data] == ids[3:6]

    async def test_the_page_after_the_last_row_is_empty(self, store: AnyStore, ada: AnyContext, ids: list[str]) -> None:
        page = await store.load_thread_items("thr_1", ids[-1], 3, "asc", context=ada)
        assert (page.data, page.has_more, page.after) == ([], False, None)
        threads = await store.load_threads(limit=3, after=f"thr_{N - 1}", order="asc", context=ada)
        assert (threads.data, threads.has_more, threads.after) == ([], False, None)

    async def test_a_missing_or_foreign_thread_has_an_empty_page(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext, ids: list[str]
    ) -> None:
        for thread_id, who in (("thr_missing", ada), ("thr_1", bob)):
            page = await store.load_thread_items(thread_id, None, 3, "desc", context=who)
            assert (page.data, page.has_more, page.after) == ([], False, None)

    async def test_an_unknown_cursor_is_not_found(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext, ids: list[str]
    ) -> None:
        await store.add_thread_item("thr_2", message_of("msg_elsewhere", thread_id="thr_2"), context=ada)
        for cursor, who in (("msg_missing", ada), ("msg_elsewhere", ada), ("thr_1", ada), (ids[0], bob)):
            with pytest.raises(NotFoundError):
                await store.load_thread_items("thr_1", cursor, 3, "asc", context=who)
        for cursor, who in (("thr_missing", ada), (ids[0], ada), ("thr_1", bob)):
            with pytest.raises(NotFoundError):
                await store.load_threads(3, cursor, "asc", context=who)

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("deleted", range(N))
    async def test_rows_deleted_between_pages_do_not_affect_the_others(
        self, store: AnyStore, ada: AnyContext, ids: list[str], order: str, deleted: int
    ) -> None:
        seen = [item.id for item in (await store.load_thread_items("thr_1", None, 3, order, context=ada)).data]
        await store.delete_thread_item("thr_1", ids[deleted], context=ada)
        rest = await store.load_thread_items("thr_1", seen[-1], 100, order, context=ada)
        expected = ids if order == "asc" else ids[::-1]
        assert [item.id for item in rest.data] == [i for i in expected[3:] if i != ids[deleted]]

    async def test_a_deleted_thread_can_still_be_the_cursor(
        self, store: AnyStore, ada: AnyContext, ids: list[str]
    ) -> None:
        await store.delete_thread("thr_2", context=ada)
        page = await store.load_threads(limit=2, after="thr_2", order="asc", context=ada)
        assert [thread.id for thread in page.data] == ["thr_3", "thr_4"]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_the_next_page_of_a_thread_that_was_deleted_meanwhile_is_empty(
        self, store: AnyStore, ada: AnyContext, ids: list[str], order: str
    ) -> None:
        first = await store.load_thread_items("thr_1", None, 2, order, context=ada)
        await store.delete_thread("thr_1", context=ada)
        with suppress(NotFoundError):
            page = await store.load_thread_items("thr_1", first.after, 2, order, context=ada)
            assert (page.data, page.has_more, page.after) == ([], False, None)

    async def test_hidden_items_are_items_of_a_page(self, store: AnyStore, ada: AnyContext, ids: list[str]) -> None:
        """The server hides them from the client; the store's pages hold them like any other."""
        page = await store.load_thread_items("thr_1", None, N, "desc", context=ada)
        assert len(page.data) == N
