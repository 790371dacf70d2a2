"""Contract tests for saving threads from two processes, deleted ids and expiry, on any store with a test clock."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import LockedStatus

from lambda_src.context import Turn
from lambda_src.dev.store_contract.samples import (
    context_of,
    file_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.errors import ConflictError
from lambda_src.store.bounds import LATE_WRITES_S
from tests.store.unbound_contract import Clock

DAY_S = 86_400
ADA = context_of("ada")
IN_A_TURN = replace(ADA, turn=Turn("turn-of-0123456789"))


class SavesContract:
    """Subclass this with a fixture `make`: (clock, retention_s) -> another process's store on the same rows."""

    @pytest.fixture
    def make(self) -> Any:
        """Override."""
        raise NotImplementedError

    async def test_a_turn_does_not_overwrite_a_users_newer_title(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of(title=None)
        await store.save_thread(thread, IN_A_TURN)
        renamed = await other.load_thread("thr_1", ADA)
        renamed.title = "By hand"
        await other.save_thread(renamed, ADA)
        thread.title, thread.status = "By machine", LockedStatus()
        await store.save_thread(thread, IN_A_TURN)
        assert thread.title == "By hand", "the turn's object must get the user's title"
        assert await other.load_thread("thr_1", ADA) == thread_of(title="By hand", status=LockedStatus())
        thread.title = "A better one"  # the turn has seen the user's title, and an agent may be asked to change it
        await store.save_thread(thread, IN_A_TURN)
        assert (await other.load_thread("thr_1", ADA)).title == "A better one"

    async def test_a_turn_cannot_create_a_thread_over_another_one(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        await store.save_thread(thread_of(title="first"), IN_A_TURN)
        await other.save_thread(thread_of(title="first"), IN_A_TURN)  # the same thread again, after a lost answer
        with pytest.raises(ConflictError, match="Another thread has this id"):
            await other.save_thread(thread_of(title="second"), IN_A_TURN)
        assert (await store.load_thread("thr_1", ADA)).title == "first"

    async def test_a_user_may_overwrite_a_turns_newer_title(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of(title=None)
        await store.save_thread(thread, IN_A_TURN)
        renamed = await other.load_thread("thr_1", ADA)
        thread.title = "By machine"
        await store.save_thread(thread, IN_A_TURN)
        renamed.title = "By hand"
        await other.save_thread(renamed, ADA)
        assert (await store.load_thread("thr_1", ADA)).title == "By hand"

    async def test_saving_an_old_object_does_not_restore_an_erased_thread(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of()
        await store.save_thread(thread, ADA)
        async for _ in other.erase_user(ADA):
            pass
        await other.sweep(stop=lambda: False)
        clock.later(3600)
        await other.sweep(stop=lambda: False)
        thread.title = "a new title"
        with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
            await store.save_thread(thread, ADA)
        assert await thread_ids(other, ADA) == []

    async def test_a_deleted_id_is_refused_until_the_sweep_after_the_last_possible_late_write(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        await store.save_thread(thread_of(title="old"), ADA)
        await store.add_thread_item("thr_1", message_of(), ADA)
        loaded = await store.load_thread("thr_1", ADA)
        await other.delete_thread("thr_1", ADA)
        clock.later(LATE_WRITES_S - 1)
        await other.sweep(stop=lambda: False)
        with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
            await store.save_thread(thread_of(), ADA)
        await store.add_thread_item("thr_1", message_of("msg_2"), IN_A_TURN)
        await store.save_attachment(file_of(thread_id="thr_1"), IN_A_TURN)
        clock.later(1)
        await other.sweep(stop=lambda: False)
        loaded.title = "a new title"
        with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
            await store.save_thread(loaded, ADA)
        await store.save_thread(thread_of(), ADA)
        assert await other.load_thread("thr_1", ADA) == thread_of()
        assert await item_ids(other, "thr_1", ADA) == []
        with pytest.raises(NotFoundError):
            await other.load_attachment("atc_1", ADA)

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_a_page_of_a_deleted_thread_contains_no_tombstones(self, make: Any, order: str) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        await store.save_thread(thread_of(), ADA)
        for number in range(4):
            await store.add_thread_item("thr_1", message_of(f"msg_{number}"), ADA)
        first = await store.load_thread_items("thr_1", None, 2, order, ADA)
        await other.delete_thread("thr_1", ADA)
        with suppress(NotFoundError):
            assert (await store.load_thread_items("thr_1", first.after, 2, order, ADA)).data == []

    async def test_everything_about_an_expired_item_expires_together(self, make: Any) -> None:
        clock = Clock()
        store = make(clock, 30 * DAY_S)
        await store.save_thread(thread_of(), ADA)
        for number in range(6):  # on days 0, 5, ..., 25
            await store.add_thread_item("thr_1", message_of(f"msg_{number}"), ADA)
            await store.save_attachment(file_of(f"atc_{number}", thread_id="thr_1"), ADA)
            await store.add_feedback("thr_1", [f"msg_{number}"], "positive", ADA)
            clock.later(5 * DAY_S if number < 5 else 0)
        clock.later(5 * DAY_S)
        other = make(clock, 30 * DAY_S)
        assert await other.load_thread("thr_1", ADA) == thread_of()
        assert await thread_ids(other, ADA) == ["thr_1"]
        assert await item_ids(other, "thr_1", ADA) == [f"msg_{number}" for number in range(1, 6)]
        kinds = Counter([record["kind"] async for record in other.export_user(ADA)])
        assert kinds == {"thread": 1, "item": 5, "attachment": 5, "feedback": 5}, (
            "items, attachments and feedback must expire together"
        )
        clock.later(25 * DAY_S - 1)
        assert await item_ids(other, "thr_1", ADA) == ["msg_5"]
        assert await thread_ids(other, ADA) == ["thr_1"]
        clock.later(1)
        assert await thread_ids(other, ADA) == []
        assert [record async for record in other.export_user(ADA)] == []
        loaded = thread_of()
        with pytest.raises(NotFoundError):
            await other.load_thread(loaded.id, ADA)
