"""A turn answers its own message: what was written after it belongs to a newer turn, and the model is not shown it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageItem,
    ThreadItem,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsRetryAfterItemReq,
    UserMessageItem,
)

from lambda_src.chat.server import ChatServer
from lambda_src.chat.validation import Checks
from lambda_src.context import RequestContext, User
from lambda_src.errors import ConflictError
from lambda_src.models.demo_model import DemoModel
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import dispatcher_with, message
from tests.turns.test_read_ahead import texts
from tests.turns.turn_fixture import THREAD, Replaced, as_user, thread_at
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")


class SlowModel(DemoModel):
    """The demo model at its usual pace; `shown` is what each run was shown."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(sleep=time.sleep)
        self.shown: list[list[str]] = []

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """The demo model's answer."""
        self.shown.append(texts(kwargs["input"] if "input" in kwargs else args[1]))
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Tab:
    """A browser tab of Ann's, at a process of its own over rows that are shared."""

    def __init__(self, store: Any, time: VirtualTime, model: SlowModel, *, new_threads: Any = None) -> None:
        self.store = store
        self.agent = dispatcher_with(model=model)
        self.server = ChatServer(self.store, self.agent, feedback=self.store, new_threads=new_threads)
        self.turns = Turns(
            TurnServices(self.store.ledger, AnswerStore(self.store), sleep=time.sleep, clock=time.now_ms)
        )

    async def say(self, text: str) -> list[bytes]:
        """A message; the events of its answer."""
        return await self.answered(
            ThreadsAddUserMessageReq.model_validate({"params": {"thread_id": THREAD, "input": message(text)}})
        )

    async def regenerate(self, item_id: str) -> list[bytes]:
        """The answer to an older message anew."""
        return await self.answered(
            ThreadsRetryAfterItemReq.model_validate({"params": {"thread_id": THREAD, "item_id": item_id}})
        )

    async def answered(
        self,
        request: ThreadsAddUserMessageReq | ThreadsRetryAfterItemReq | ThreadsCreateReq,
        *,
        named: str | None = None,
    ) -> list[bytes]:
        """The events of a request's turn."""
        thread_id = None if isinstance(request, ThreadsCreateReq) else THREAD
        asked = TurnRequest(request.type, thread_id=thread_id, body=request.model_dump_json().encode(), named=named)
        context = RequestContext(user=User("ann"), request_id="r", turn=asked.turn("ann"))

        async def check() -> None:
            await Checks(self.store).check(request, context)

        async def begin() -> AsyncIterator[bytes]:
            return await self.server.events(request, context)

        turn = await self.turns.open(asked, check, begin, context=context)
        events = [event async for event in turn]
        await turn.finished()
        return events


class Room:
    """Ann's thread in two tabs."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.rows = MemoryStore(clock=self.time.now_ns)
        self.model = SlowModel(self.time)
        self.one, self.two = (
            Tab(MemoryStore(beside=self.rows, clock=self.time.now_ns), self.time, self.model) for _ in range(2)
        )

    async def items(self) -> list[ThreadItem]:
        """What the thread holds, hidden items too."""
        return (await self.rows.load_thread_items(THREAD, None, 100, "asc", ANN)).data

    async def shown(self) -> list[str]:
        """Who said what, a user's messages by their text."""
        return [
            item.content[0].text if isinstance(item, UserMessageItem) else "answer"
            for item in await self.items()
            if isinstance(item, UserMessageItem | AssistantMessageItem)
        ]


@pytest.fixture
async def room() -> Room:
    room = Room()
    await room.rows.save_thread(thread_at(THREAD), ANN)
    for tab in (room.one, room.two):
        await tab.agent.ensure_initialized()
    return room


@pytest.mark.parametrize("later_s", [0.3, 0.8, 1.3])
async def test_a_message_during_the_pause_of_regenerate_is_answered_once_and_by_its_own_turn(
    room: Room, later_s: float
) -> None:
    first = room.time.begun(room.one.say("m1"))
    await room.time.advance(2)
    (asked,) = [item.id for item in await room.items()]
    again = room.time.begun(room.two.regenerate(asked))
    await room.time.advance(later_s)
    second = room.time.begun(room.one.say("m2"))
    await room.time.advance(60)
    assert await room.shown() == ["m1", "answer", "m2", "answer"]
    with pytest.raises(ConflictError, match="another message took its place"):
        await again
    assert b"thread.item.done" in (await second)[-1]
    assert [shown[-1] for shown in room.model.shown] == ["m1", "m2"]
    assert first.done()


@pytest.mark.parametrize("is_regenerated", [False, True])
async def test_the_model_is_not_shown_what_came_after_the_turns_own_message(room: Room, is_regenerated: bool) -> None:
    """Two messages within milliseconds: the older turn reads the thread when the newer message is stored already."""
    await room.time.begun(after(room, room.one.say("m0")))
    (asked, *_) = [item.id for item in await room.items()]
    store, two = room.one.store, room.two

    async def load_thread_items(*args: Any, **kwargs: Any) -> Any:
        if any(item.id != asked and isinstance(item, UserMessageItem) for item in await room.items()) or is_regenerated:
            room.one.server._runs._store = store
            room.time.begun(two.say("m2"))
            await room.time.rest()
        return await store.load_thread_items(*args, **kwargs)

    room.one.server._runs._store = Replaced(store, load_thread_items=load_thread_items)  # type: ignore[assignment] # one
    older = room.time.begun(room.one.regenerate(asked) if is_regenerated else room.one.say("m1"))
    await room.time.advance(60)
    assert older.done()
    own = next(shown for shown in room.model.shown[1:] if "m2" not in shown)
    assert own[-1] == ("m0" if is_regenerated else "m1")
    assert sum("m2" in shown for shown in room.model.shown) == 1


async def test_a_message_that_is_gone_from_the_thread_is_not_answered_from_others(room: Room) -> None:
    """Its page no longer holds it, as many items came after it: what is shown still ends with it."""
    room.one.server._runs._settings = Settings(history_items=2)
    await room.time.begun(after(room, room.one.say("m0")))
    (asked, *_) = [item.id for item in await room.items()]
    store = room.one.store

    async def load_thread_items(*args: Any, **kwargs: Any) -> Any:
        if room.one.server._runs._store is not store:
            room.one.server._runs._store = store
            for number in range(3):
                await room.time.begun(after(room, room.two.say(f"newer {number}")))
        return await store.load_thread_items(*args, **kwargs)

    room.one.server._runs._store = Replaced(store, load_thread_items=load_thread_items)  # type: ignore[assignment] # one
    context = RequestContext(user=User("ann"), request_id="r")
    message_item = await store.load_item(THREAD, asked, context)
    shown = await room.one.server._runs._newest_first(thread_at(THREAD), context, message_item)
    assert [item.id for item in shown] == [asked]
    await store.delete_thread(THREAD, context)
    with pytest.raises(NotFoundError):
        await room.one.server._runs._newest_first(thread_at(THREAD), context, message_item)


async def after(room: Room, work: Any) -> None:
    """`work`, with as much time as it takes."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await room.time.advance(1)
    await task
