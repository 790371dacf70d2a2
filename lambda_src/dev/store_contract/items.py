"""The contract about items: added once, saved in place, deleted. Knows no store."""

import asyncio
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import (
    AnyContext,
    AnyStore,
    ContractCase,
    answer_of,
    item_ids,
    item_of,
    message_of,
    thread_of,
)


class ItemContract(ContractCase):
    """add_thread_item, save_item, load_item, delete_thread_item."""

    async def test_an_added_item_is_loaded_as_it_was(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        await store.add_thread_item(thread_id="thr_1", item=message_of(), context=ada)
        assert await store.load_item(thread_id="thr_1", item_id="msg_1", context=ada) == message_of()

    async def test_a_missing_item_is_not_found(
        self, store: AnyStore, ada: AnyContext, thread: str, bob: AnyContext
    ) -> None:
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await store.save_thread(thread_of("thr_2"), context=ada)
        for thread_id, item_id, who in (
            ("thr_1", "msg_2", ada),
            ("thr_2", "msg_1", ada),
            ("thr_missing", "msg_1", ada),
            ("thr_1", "msg_1", bob),
        ):
            with pytest.raises(NotFoundError):
                await store.load_item(thread_id, item_id, context=who)

    async def test_the_same_id_may_exist_in_two_threads(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        await store.save_thread(thread_of("thr_2"), context=ada)
        await store.add_thread_item("thr_1", message_of(text="one"), context=ada)
        await store.add_thread_item("thr_2", message_of(text="two", thread_id="thr_2"), context=ada)
        await store.delete_thread_item("thr_2", "msg_1", context=ada)
        assert await store.load_item("thr_1", "msg_1", context=ada) == message_of(text="one")

    async def test_items_are_listed_in_order_of_arrival(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        wanted = ["msg_c", "msg_a", "msg_b", "msg_0"]
        for item_id in wanted:
            await store.add_thread_item("thr_1", message_of(item_id), context=ada)
        assert await item_ids(store, "thr_1", ada) == wanted
        assert await item_ids(store, "thr_1", ada, order="desc") == wanted[::-1]

    async def test_adding_the_same_item_again_does_nothing_and_keeps_its_place(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        for item in (message_of("msg_1"), message_of("msg_2"), message_of("msg_1")):
            await store.add_thread_item("thr_1", item, context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_1", "msg_2"]

    async def test_adding_a_different_item_with_a_taken_id_fails_and_the_first_stays(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        await store.add_thread_item("thr_1", message_of(text="first"), context=ada)
        with pytest.raises(Exception, match="id"):
            await store.add_thread_item("thr_1", message_of(text="second"), context=ada)
        assert await store.load_item("thr_1", "msg_1", context=ada) == message_of(text="first")

    async def test_an_open_workflow_is_replaced_in_place(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        """stream_agent_response adds it at the end of a run, and the next run's done event adds it again."""
        unfinished = item_of("workflow", "wf_1", workflow={"type": "reasoning", "tasks": []})
        done = item_of("workflow", "wf_1")
        for item in (unfinished, message_of(), unfinished, done):
            await store.add_thread_item("thr_1", item, context=ada)
        assert await item_ids(store, "thr_1", ada) == ["wf_1", "msg_1"]
        assert await store.load_item("thr_1", "wf_1", context=ada) == done

    async def test_a_finished_workflow_is_not_replaced(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        done = item_of("workflow", "wf_1")
        await store.add_thread_item("thr_1", done, context=ada)
        with pytest.raises(Exception, match="id"):
            await store.add_thread_item(
                "thr_1", item_of("workflow", "wf_1", workflow={"type": "custom", "tasks": []}), context=ada
            )
        assert await store.load_item("thr_1", "wf_1", context=ada) == done

    async def test_an_open_workflow_is_not_replaced_by_anything_else(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        unfinished = item_of("workflow", "wf_1", workflow={"type": "reasoning", "tasks": []})
        await store.add_thread_item("thr_1", unfinished, context=ada)
        with pytest.raises(Exception, match="id"):
            await store.add_thread_item("thr_1", message_of("wf_1"), context=ada)
        assert await store.load_item("thr_1", "wf_1", context=ada) == unfinished

    async def test_saving_replaces_an_item_in_place_whatever_its_created_at(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        for item_id in ("msg_1", "msg_2", "msg_3"):
            await store.add_thread_item("thr_1", message_of(item_id), context=ada)
        later = answer_of("msg_2", "edited").model_copy(
            update={"created_at": message_of().created_at.replace(year=2030)}
        )
        await store.save_item(thread_id="thr_1", item=later, context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_1", "msg_2", "msg_3"]
        assert await store.load_item("thr_1", "msg_2", context=ada) == later

    async def test_an_item_saved_after_the_next_ones_were_deleted_keeps_its_place(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        """Editing a message does this: its old answer is deleted, then its new text is saved."""
        for item_id in ("msg_1", "msg_2", "msg_3"):
            await store.add_thread_item("thr_1", message_of(item_id), context=ada)
        await store.delete_thread_item("thr_1", "msg_3", context=ada)
        await store.save_item("thr_1", message_of("msg_2", "edited"), context=ada)
        await store.add_thread_item("thr_1", message_of("msg_4"), context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_1", "msg_2", "msg_4"]

    async def test_saving_a_new_item_adds_it(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        await store.add_thread_item("thr_1", message_of("msg_2"), context=ada)
        await store.save_item("thr_1", message_of("msg_1"), context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_2", "msg_1"]

    async def test_a_deleted_item_is_gone(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await store.delete_thread_item(thread_id="thr_1", item_id="msg_1", context=ada)
        with pytest.raises(NotFoundError):
            await store.load_item("thr_1", "msg_1", context=ada)
        assert await item_ids(store, "thr_1", ada) == []

    async def test_deleting_a_missing_item_does_nothing(
        self, store: AnyStore, ada: AnyContext, thread: str, bob: AnyContext
    ) -> None:
        await store.add_thread_item("thr_1", message_of(), context=ada)
        await store.delete_thread_item("thr_1", "msg_missing", context=ada)
        await store.delete_thread_item("thr_missing", "msg_1", context=ada)
        await store.delete_thread_item("thr_1", "msg_1", context=bob)
        assert await item_ids(store, "thr_1", ada) == ["msg_1"]

    @pytest.mark.parametrize("again", ["add_thread_item", "save_item"])
    async def test_an_item_with_the_id_of_a_deleted_item_counts_as_new(
        self, store: AnyStore, ada: AnyContext, thread: str, again: str
    ) -> None:
        for item_id in ("msg_1", "msg_2"):
            await store.add_thread_item("thr_1", message_of(item_id), context=ada)
        await store.delete_thread_item("thr_1", "msg_1", context=ada)
        await getattr(store, again)("thr_1", message_of("msg_1", "anew"), context=ada)
        assert await item_ids(store, "thr_1", ada) == ["msg_2", "msg_1"]
        assert await store.load_item("thr_1", "msg_1", context=ada) == message_of("msg_1", "anew")

    async def test_a_loaded_item_is_a_copy(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        item = item_of("hidden_context_item", content={"a": [1]})
        await store.add_thread_item("thr_1", item, context=ada)
        loaded: Any = await store.load_item("thr_1", "msg_1", context=ada)
        loaded.content["a"].append(2)
        listed: Any = (await store.load_thread_items("thr_1", None, 1, "asc", context=ada)).data[0]
        listed.content["a"].append(3)
        assert await store.load_item("thr_1", "msg_1", context=ada) == item

    async def test_if_many_add_the_same_id_at_once_one_wins(
        self, store: AnyStore, ada: AnyContext, thread: str
    ) -> None:
        tries = [message_of(text=f"{number}") for number in range(8)]
        outcomes = await asyncio.gather(
            *(store.add_thread_item("thr_1", item, context=ada) for item in tries), return_exceptions=True
        )
        winners = [item for item, outcome in zip(tries, outcomes, strict=True) if outcome is None]
        assert winners == [await store.load_item("thr_1", "msg_1", context=ada)]

    async def test_items_added_at_once_are_all_kept(self, store: AnyStore, ada: AnyContext, thread: str) -> None:
        wanted = {f"msg_{number}" for number in range(20)}
        await asyncio.gather(*(store.add_thread_item("thr_1", message_of(i), context=ada) for i in wanted))
        ids = await item_ids(store, "thr_1", ada, limit=3)
        assert (len(ids), set(ids)) == (20, wanted)
