"""The contract for stores with retention, and for stores that survive unreadable rows. Knows no store."""

from collections.abc import Awaitable, Callable

import pytest
from chatkit.store import NotFoundError
from chatkit.types import ThreadItem

from lambda_src.dev.store_contract.samples import (
    AnyContext,
    AnyStore,
    ContractCase,
    file_of,
    item_ids,
    item_of,
    message_of,
    thread_ids,
    thread_of,
)

DAY_S = 86_400
OPEN_WORKFLOW = item_of("workflow", "msg_1", workflow={"type": "custom", "tasks": []})


class ManualClock:
    """A clock in nanoseconds since 1970 that advances only by `later`."""

    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        return self.now_ns

    def later(self, seconds: int) -> None:
        """Let time pass."""
        self.now_ns += seconds * 10**9


class RetentionContract(ContractCase):
    """Retention. The fixture `retaining` is a function (clock, retention in seconds) -> a store on the same rows."""

    @pytest.fixture
    def retaining(self) -> Callable[[ManualClock, int], AnyStore]:
        """A function that makes a store from a clock and a retention in seconds. Override it."""
        raise NotImplementedError("Override the `retaining` fixture in your subclass of this contract.")

    async def test_a_thread_lives_as_long_as_its_newest_item(
        self, retaining: Callable[[ManualClock, int], AnyStore], ada: AnyContext
    ) -> None:
        clock = ManualClock()
        store = retaining(clock, 30 * DAY_S)
        await store.save_thread(thread_of(), context=ada)
        for number in range(6):  # on days 0, 5, ..., 25
            await store.add_thread_item("thr_1", message_of(f"msg_{number}"), context=ada)
            await store.save_attachment(file_of(f"atc_{number}", thread_id="thr_1"), context=ada)
            clock.later(5 * DAY_S)
        assert await store.load_thread("thr_1", context=ada) == thread_of()
        assert await thread_ids(store, ada) == ["thr_1"]
        assert await item_ids(store, "thr_1", ada) == [f"msg_{number}" for number in range(1, 6)]
        with pytest.raises(NotFoundError):
            await store.load_attachment("atc_0", context=ada)
        clock.later(25 * DAY_S)
        assert await thread_ids(store, ada) == []
        for load in (store.load_thread("thr_1", context=ada), store.load_attachment("atc_5", context=ada)):
            with pytest.raises(NotFoundError):
                await load

    @pytest.mark.parametrize("first", [message_of(), OPEN_WORKFLOW], ids=["message", "open workflow"])
    @pytest.mark.parametrize("write", ["add_thread_item", "save_item"])
    async def test_an_expired_item_that_is_written_again_arrives_anew(
        self, retaining: Callable[[ManualClock, int], AnyStore], ada: AnyContext, first: ThreadItem, write: str
    ) -> None:
        clock = ManualClock()
        store = retaining(clock, 3600)
        await store.save_thread(thread_of(), context=ada)
        await store.add_thread_item("thr_1", first, context=ada)
        clock.later(3000)
        await store.add_thread_item("thr_1", message_of("msg_2"), context=ada)
        clock.later(700)
        await getattr(store, write)("thr_1", first, context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_2", "msg_1"]

    async def test_an_object_that_was_loaded_does_not_bring_an_expired_thread_back(
        self, retaining: Callable[[ManualClock, int], AnyStore], ada: AnyContext
    ) -> None:
        clock = ManualClock()
        store = retaining(clock, DAY_S)
        await store.save_thread(thread_of(), context=ada)
        thread = await store.load_thread("thr_1", context=ada)
        clock.later(DAY_S)
        thread.title = "renamed"
        with pytest.raises(NotFoundError):
            await store.save_thread(thread, context=ada)
        assert await thread_ids(store, ada) == []


class UnreadableContract(ContractCase):
    """Unreadable rows. The fixture `spoil` makes the row of Ada's thread unreadable, given its id."""

    @pytest.fixture
    def spoil(self, store: AnyStore) -> Callable[[str], Awaitable[None]]:
        """A function that makes the row of one of Ada's threads unreadable. Override it."""
        raise NotImplementedError("Override the `spoil` fixture in your subclass of this contract.")

    async def test_an_unreadable_thread_is_listed_and_not_overwritten(
        self, store: AnyStore, ada: AnyContext, spoil: Callable[[str], Awaitable[None]]
    ) -> None:
        await store.save_thread(thread_of(title="t"), context=ada)
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await spoil("thr_1")
        placeholder = await store.load_thread("thr_1", context=ada)
        assert await thread_ids(store, ada) == ["thr_1"]
        assert await item_ids(store, "thr_1", ada) == ["msg_1"]
        placeholder.title = "renamed"
        with pytest.raises(Exception, match="cannot read"):
            await store.save_thread(placeholder, context=ada)
        assert (await store.load_thread("thr_1", context=ada)).title != "renamed"
