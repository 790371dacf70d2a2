"""Regenerate in a long thread: the stream opens at once, and newer items are removed in batches."""

from typing import Any

import pytest
from chatkit.errors import CustomStreamError
from chatkit.store import NotFoundError
from chatkit.types import StreamOptionsEvent, ThreadsRetryAfterItemReq

from lambda_src.chat.server import REMOVE_BATCH, ChatServer
from lambda_src.dev.store_contract.samples import context_of, item_ids, message_of, thread_of
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import dispatcher_with
from tests.turns.turn_fixture import Patched
from tests.turns.virtual_time import VirtualTime

ANN = context_of("ann")
DELETE_S = 0.01


class SlowDeletes:
    """A store whose deletes take time; records deleted ids and the number of concurrent deletes."""

    def __init__(self, store: MemoryStore, time: VirtualTime) -> None:
        self._store, self._time = store, time
        self.deleted: list[str] = []
        self.running = self.most_concurrent = 0

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        self.running += 1
        self.most_concurrent = max(self.most_concurrent, self.running)
        await self._time.sleep(DELETE_S)
        await self._store.delete_thread_item(thread_id, item_id, context)
        self.deleted.append(item_id)
        self.running -= 1


class Regeneration:
    """A chat server on a store with slow deletes."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.store = MemoryStore()
        self.deletes = SlowDeletes(self.store, self.time)
        replaced: Any = Patched(self.store, delete_thread_item=self.deletes.delete_thread_item)
        self.server = ChatServer(replaced, dispatcher_with(), feedback=self.store)

    async def begin(self, items: int) -> None:
        await self.store.save_thread(thread_of(), ANN)
        for number in range(items):
            await self.store.add_thread_item("thr_1", message_of(f"msg_{number}"), ANN)

    def events(self, item_id: str) -> Any:
        params = {"thread_id": "thr_1", "item_id": item_id}
        return self.server._process_streaming_impl(ThreadsRetryAfterItemReq.model_validate({"params": params}), ANN)


async def test_the_stream_opens_before_items_are_removed_in_batches_newest_first() -> None:
    regeneration = Regeneration()
    await regeneration.begin(201)
    events = regeneration.events("msg_100")
    assert isinstance(await anext(events), StreamOptionsEvent)
    assert regeneration.deletes.deleted == []
    rest = regeneration.time.start(all_of(events))
    await regeneration.time.advance(DELETE_S * (100 / REMOVE_BATCH + 1))
    assert regeneration.deletes.most_concurrent == REMOVE_BATCH
    assert regeneration.deletes.deleted == [f"msg_{number}" for number in range(200, 100, -1)]
    await regeneration.time.advance(60)
    assert [event.type for event in await rest][-1] in ("thread.item.done", "thread.updated")
    ids = await item_ids(regeneration.store, "thr_1", ANN, limit=100)
    assert len(ids) == 102
    assert ids[100] == "msg_100"


async def all_of(events: Any) -> list[Any]:
    return [event async for event in events]


async def test_regenerating_a_deleted_message_removes_nothing() -> None:
    regeneration = Regeneration()
    await regeneration.begin(3)
    message = await regeneration.store.load_item("thr_1", "msg_0", ANN)
    await regeneration.store.delete_thread_item("thr_1", "msg_0", ANN)
    with pytest.raises(NotFoundError):
        await all_of(regeneration.events("msg_0"))
    with pytest.raises(CustomStreamError, match="no longer in the conversation"):
        await regeneration.server._remove_after(message, ANN)  # type: ignore[arg-type] # message_of returns user messages
    assert await item_ids(regeneration.store, "thr_1", ANN) == ["msg_1", "msg_2"]
