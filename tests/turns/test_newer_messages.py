"""A turn answers its own message only: newer messages belong to newer turns, and its model does not receive them."""

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

from lambda_src.chat.edits import edited_item
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
from tests.turns.turn_fixture import THREAD, Patched, as_user, thread_at
from tests.turns.virtual_time import VirtualTime

ANN = as_user("ann")


class SlowModel(DemoModel):
    """The demo model at its usual pace; `inputs` are the texts that each run received."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(sleep=time.sleep)
        self.inputs: list[list[str]] = []

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Record the input and stream the demo model's answer."""
        self.inputs.append(texts(kwargs["input"] if "input" in kwargs else args[1]))
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Tab:
    """A browser tab of ann's with its own process on shared rows."""

    def __init__(self, store: Any, time: VirtualTime, model: SlowModel, *, new_threads: Any = None) -> None:
        self.store = store
        self.agent = dispatcher_with(model=model)
        self.server = ChatServer(self.store, self.agent, feedback=self.store, new_threads=new_threads)
        self.turns = Turns(
            TurnServices(self.store.ledger, AnswerStore(self.store), sleep=time.sleep, clock=time.now_ms)
        )

    async def say(self, text: str) -> list[bytes]:
        """Send a message; return the events of its answer."""
        return await self.answered(
            ThreadsAddUserMessageReq.model_validate({"params": {"thread_id": THREAD, "input": message(text)}})
        )

    async def regenerate(self, item_id: str) -> list[bytes]:
        """Regenerate the answer to an older message."""
        return await self.answered(
            ThreadsRetryAfterItemReq.model_validate({"params": {"thread_id": THREAD, "item_id": item_id}})
        )

    async def answered(
        self,
        request: ThreadsAddUserMessageReq | ThreadsRetryAfterItemReq | ThreadsCreateReq,
        *,
        named: str | None = None,
    ) -> list[bytes]:
        """Run a request's turn and return its events."""
        thread_id = None if isinstance(request, ThreadsCreateReq) else THREAD
        turn_request = TurnRequest(
            request.type,
            thread_id=thread_id,
            body=request.model_dump_json().encode(),
            named=named,
            edits=edited_item(request) is not None,
        )
        context = RequestContext(user=User("ann"), request_id="r", turn=turn_request.turn("ann"))

        async def check() -> None:
            await Checks(self.store).check(request, context)

        async def begin() -> AsyncIterator[bytes]:
            return await self.server.events(request, context)

        turn = await self.turns.open(turn_request, check, begin, context=context)
        events = [event async for event in turn]
        await turn.finished()
        return events


class TwoTabs:
    """Ann's thread in two browser tabs."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.rows = MemoryStore(clock=self.time.now_ns)
        self.model = SlowModel(self.time)
        self.first, self.second = (
            Tab(MemoryStore(beside=self.rows, clock=self.time.now_ns), self.time, self.model) for _ in range(2)
        )

    async def items(self) -> list[ThreadItem]:
        """Return the thread's items, including hidden ones."""
        return (await self.rows.load_thread_items(THREAD, None, 100, "asc", ANN)).data

    async def messages(self) -> list[str]:
        """Return the texts of user messages, and "answer" for each answer."""
        return [
            item.content[0].text if isinstance(item, UserMessageItem) else "answer"
            for item in await self.items()
            if isinstance(item, UserMessageItem | AssistantMessageItem)
        ]


@pytest.fixture
async def tabs() -> TwoTabs:
    tabs = TwoTabs()
    await tabs.rows.save_thread(thread_at(THREAD), ANN)
    for tab in (tabs.first, tabs.second):
        await tab.agent.ensure_initialized()
    return tabs


@pytest.mark.parametrize("later_s", [0.3, 0.8, 1.3])
async def test_a_message_during_a_regenerate_is_answered_once_by_its_own_turn(tabs: TwoTabs, later_s: float) -> None:
    first = tabs.time.start(tabs.first.say("m1"))
    await tabs.time.advance(2)
    (message_id,) = [item.id for item in await tabs.items()]
    again = tabs.time.start(tabs.second.regenerate(message_id))
    await tabs.time.advance(later_s)
    second = tabs.time.start(tabs.first.say("m2"))
    await tabs.time.advance(60)
    assert await tabs.messages() == ["m1", "answer", "m2", "answer"]
    with pytest.raises(ConflictError, match="another message took its place"):
        await again
    assert b"thread.item.done" in (await second)[-1]
    assert [texts[-1] for texts in tabs.model.inputs] == ["m1", "m2"]
    assert first.done()


@pytest.mark.parametrize("is_regenerated", [False, True])
async def test_the_model_receives_nothing_newer_than_the_turns_own_message(tabs: TwoTabs, is_regenerated: bool) -> None:
    """With two messages within milliseconds, the older turn may read the thread after the newer message was stored."""
    await tabs.time.start(complete(tabs, tabs.first.say("m0")))
    (message_id, *_) = [item.id for item in await tabs.items()]
    store, second = tabs.first.store, tabs.second

    async def load_thread_items(*args: Any, **kwargs: Any) -> Any:
        if (
            any(item.id != message_id and isinstance(item, UserMessageItem) for item in await tabs.items())
            or is_regenerated
        ):
            tabs.first.server._runs._store = store
            tabs.time.start(second.say("m2"))
            await tabs.time.settle()
        return await store.load_thread_items(*args, **kwargs)

    tabs.first.server._runs._store = Patched(store, load_thread_items=load_thread_items)  # type: ignore[assignment] # has all used methods
    older = tabs.time.start(tabs.first.regenerate(message_id) if is_regenerated else tabs.first.say("m1"))
    await tabs.time.advance(60)
    assert older.done()
    own = next(texts for texts in tabs.model.inputs[1:] if "m2" not in texts)
    assert own[-1] == ("m0" if is_regenerated else "m1")
    assert sum("m2" in texts for texts in tabs.model.inputs) == 1


async def test_model_input_ends_with_the_turns_message_or_fails_if_it_is_deleted(tabs: TwoTabs) -> None:
    """Many newer items may push the message off the page that is read; the input still ends with it."""
    tabs.first.server._runs._settings = Settings(history_items=2)
    await tabs.time.start(complete(tabs, tabs.first.say("m0")))
    (message_id, *_) = [item.id for item in await tabs.items()]
    store = tabs.first.store

    async def load_thread_items(*args: Any, **kwargs: Any) -> Any:
        if tabs.first.server._runs._store is not store:
            tabs.first.server._runs._store = store
            for number in range(3):
                await tabs.time.start(complete(tabs, tabs.second.say(f"newer {number}")))
        return await store.load_thread_items(*args, **kwargs)

    tabs.first.server._runs._store = Patched(store, load_thread_items=load_thread_items)  # type: ignore[assignment] # has all used methods
    context = RequestContext(user=User("ann"), request_id="r")
    message_item = await store.load_item(THREAD, message_id, context)
    items = await tabs.first.server._runs._newest_first(thread_at(THREAD), context, message_item)
    assert [item.id for item in items] == [message_id]
    await store.delete_thread(THREAD, context)
    with pytest.raises(NotFoundError):
        await tabs.first.server._runs._newest_first(thread_at(THREAD), context, message_item)


async def complete(tabs: TwoTabs, work: Any) -> None:
    """Await `work`, letting as much time pass as it takes."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await tabs.time.advance(1)
    await task
