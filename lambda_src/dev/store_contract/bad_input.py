"""The contract about invalid input: a documented error or a clamped value, never another user's data."""

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import (
    AnyContext,
    AnyStore,
    ContractCase,
    file_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)

ODD_IDS = [
    "a#b",
    "#",
    "##",
    "ITEM#x",
    "é👋",
    " ",
    "a/b/../c",
    "%",
    "\n",
    "'; drop table items; --",
    "x" * 512,
    "THREAD#thr_1",
]
IMPOSSIBLE_IDS = ["", "a\0b", "x" * 513, "x" * 10_000, "👋" * 129, "\ud800", "a\udfffb"]
IMPOSSIBLE = [repr(text[:12]) for text in IMPOSSIBLE_IDS]


class BadInputContract(ContractCase):
    """Limits, orders and ids from outside."""

    async def test_a_limit_is_clamped(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_thread(thread_of(), context=ada)
        for number in range(101):
            await store.add_thread_item("thr_1", message_of(f"msg_{number:03d}"), context=ada)
        for limit, rows in ((-5, 1), (0, 1), (1, 1), (100, 100), (101, 100), (10**9, 100)):
            page = await store.load_thread_items("thr_1", None, limit, "asc", context=ada)
            assert (len(page.data), page.has_more, page.after) == (rows, True, f"msg_{rows - 1:03d}")
            threads = await store.load_threads(limit, None, "asc", context=ada)
            assert len(threads.data) == 1

    async def test_an_unknown_order_is_refused(self, store: AnyStore, ada: AnyContext) -> None:
        for order in ("", "ASC", "random"):
            with pytest.raises(ValueError, match="order"):
                await store.load_threads(1, None, order, context=ada)
            with pytest.raises(ValueError, match="order"):
                await store.load_thread_items("thr_1", None, 1, order, context=ada)

    @pytest.mark.parametrize("odd", ODD_IDS, ids=[repr(text[:12]) for text in ODD_IDS])
    async def test_unusual_ids_work_like_any_other(self, store: AnyStore, ada: AnyContext, odd: str) -> None:
        await store.save_thread(thread_of(odd), context=ada)
        await store.add_thread_item(odd, message_of(odd, thread_id=odd), context=ada)
        await store.add_thread_item(odd, message_of("next", thread_id=odd), context=ada)
        await store.save_attachment(file_of(odd), context=ada)
        assert await thread_ids(store, ada) == [odd]
        assert await item_ids(store, odd, ada, limit=1) == [odd, "next"]
        assert await store.load_item(odd, odd, context=ada) == message_of(odd, thread_id=odd)
        assert await store.load_attachment(odd, context=ada) == file_of(odd)

    @pytest.mark.parametrize("bad", IMPOSSIBLE_IDS, ids=IMPOSSIBLE)
    async def test_an_invalid_id_is_missing_when_read(self, store: AnyStore, ada: AnyContext, bad: str) -> None:
        for load in (
            store.load_thread(bad, context=ada),
            store.load_item("thr_1", bad, context=ada),
            store.load_item(bad, "msg_1", context=ada),
            store.load_attachment(bad, context=ada),
            store.load_threads(1, bad, "asc", context=ada),
            store.load_thread_items("thr_1", bad, 1, "asc", context=ada),
        ):
            with pytest.raises(NotFoundError):
                await load
        assert (await store.load_thread_items(bad, None, 1, "asc", context=ada)).data == []

    @pytest.mark.parametrize("bad", IMPOSSIBLE_IDS, ids=IMPOSSIBLE)
    async def test_an_invalid_id_is_refused_when_written(self, store: AnyStore, ada: AnyContext, bad: str) -> None:
        for write in (
            store.save_thread(thread_of(bad), context=ada),
            store.add_thread_item(bad, message_of(), context=ada),
            store.add_thread_item("thr_1", message_of(bad), context=ada),
            store.save_item("thr_1", message_of(bad), context=ada),
            store.save_attachment(file_of(bad), context=ada),
        ):
            with pytest.raises(ValueError, match=r"."):
                await write

    @pytest.mark.parametrize("bad", IMPOSSIBLE_IDS, ids=IMPOSSIBLE)
    async def test_deleting_an_invalid_id_does_nothing(self, store: AnyStore, ada: AnyContext, bad: str) -> None:
        await store.delete_thread(bad, context=ada)
        await store.delete_thread_item("thr_1", bad, context=ada)
        await store.delete_attachment(bad, context=ada)

    async def test_users_whose_ids_look_like_keys_stay_separate(self, store: AnyStore) -> None:
        """`a` with thread `b#THREAD#c`, and `a#THREAD#b` with thread `c`, would share a careless key."""
        pairs = [("a", "b#THREAD#c"), ("a#THREAD#b", "c"), ("a#", "THREAD#b#THREAD#c"), ("a##", "b")]
        for user_id, thread_id in pairs:
            who = self.context(user_id)
            await store.save_thread(thread_of(thread_id), context=who)
            await store.add_thread_item(thread_id, message_of(text=user_id, thread_id=thread_id), context=who)
        for user_id, thread_id in pairs:
            who = self.context(user_id)
            assert await thread_ids(store, who) == [thread_id]
            assert await store.load_item(thread_id, "msg_1", context=who) == message_of(
                text=user_id, thread_id=thread_id
            )

    async def test_text_that_cannot_be_encoded_as_utf8_is_refused(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_thread(thread_of(), context=ada)
        with pytest.raises(ValueError, match="surrogate"):
            await store.add_thread_item("thr_1", message_of(text="\ud800"), context=ada)
        with pytest.raises(ValueError, match="surrogate"):
            await store.save_thread(thread_of("thr_2", title="\ud800"), context=ada)
        assert await item_ids(store, "thr_1", ada) == []
        assert await thread_ids(store, ada) == ["thr_1"]
