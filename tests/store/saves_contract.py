"""Threads that two processes save at once, on any store with a clock of the test's. Knows no engine."""

from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import LockedStatus

from lambda_src.context import Turn
from lambda_src.dev.store_contract.samples import context_of, thread_ids, thread_of
from tests.store.unbound_contract import Clock

ADA = context_of("ada")
IN_A_TURN = replace(ADA, turn=Turn("turn-of-0123456789"))


class SavesContract:
    """Subclass it with a fixture `make`: (clock, retention_s) -> another process's store on the same rows."""

    @pytest.fixture
    def make(self) -> Any:
        """Override."""
        raise NotImplementedError

    async def test_a_turn_does_not_overwrite_what_a_user_has_renamed_since(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of(title=None)
        await store.save_thread(thread, IN_A_TURN)
        theirs = await other.load_thread("thr_1", ADA)
        theirs.title = "By hand"
        await other.save_thread(theirs, ADA)
        thread.title, thread.status = "By machine", LockedStatus()
        await store.save_thread(thread, IN_A_TURN)
        assert thread.title == "By hand", "the object of the turn has it too"
        assert await other.load_thread("thr_1", ADA) == thread_of(title="By hand", status=LockedStatus())
        thread.title = "A better one"  # it knows the user's title by now: an agent may be asked to change it
        await store.save_thread(thread, IN_A_TURN)
        assert (await other.load_thread("thr_1", ADA)).title == "A better one"

    async def test_a_user_may_rename_what_a_turn_has_named_since(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of(title=None)
        await store.save_thread(thread, IN_A_TURN)
        theirs = await other.load_thread("thr_1", ADA)
        thread.title = "By machine"
        await store.save_thread(thread, IN_A_TURN)
        theirs.title = "By hand"
        await other.save_thread(theirs, ADA)
        assert (await store.load_thread("thr_1", ADA)).title == "By hand"

    async def test_an_object_does_not_bring_an_erased_thread_back(self, make: Any) -> None:
        clock = Clock()
        store, other = make(clock, 0), make(clock, 0)
        thread = thread_of()
        await store.save_thread(thread, ADA)
        async for _ in other.erase_user(ADA):
            pass
        await other.sweep(stop=lambda: False)
        clock.later(3600)
        await other.sweep(stop=lambda: False)
        thread.title = "a title made in the meantime"
        with pytest.raises(NotFoundError, match=r"^Thread thr_1 not found$"):
            await store.save_thread(thread, ADA)
        assert await thread_ids(other, ADA) == []
