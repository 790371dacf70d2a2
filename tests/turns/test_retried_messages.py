"""A named request whose store failed is sent again: its thread and its message are stored once, and answered once."""

import gc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from chatkit.types import AssistantMessageItem, ThreadsAddUserMessageReq, ThreadsCreateReq, UserMessageItem

from lambda_src.errors import UnavailableError
from lambda_src.startup import flags
from tests.apps.chat import message
from tests.turns.test_newer_messages import ANN, Room, after, room
from tests.turns.turn_fixture import THREAD, Replaced

__all__ = ["room"]
NAMED = "a-message-with-a-name"


def request(text: str) -> ThreadsAddUserMessageReq:
    """A message."""
    return ThreadsAddUserMessageReq.model_validate({"params": {"thread_id": THREAD, "input": message(text)}})


def new_thread(text: str) -> ThreadsCreateReq:
    """A message that begins a thread."""
    return ThreadsCreateReq.model_validate({"params": {"input": message(text)}})


class Dropping:
    """A store that loses its answer to the first write that `counts`, after or instead of the write."""

    def __init__(self, store: Any, counts: Callable[[Any], bool] = lambda _: True, *, lands: bool = True) -> None:
        self.store, self.counts, self.lands, self.lost = store, counts, lands, 0

    def losing(self, *names: str) -> Any:
        """The store, some of whose methods lose an answer."""
        return Replaced(self.store, **{name: self._method(getattr(self.store, name)) for name in names})

    def _method(self, method: Any) -> Any:
        async def losing(*args: Any, **kwargs: Any) -> None:
            is_lost = not self.lost and any(map(self.counts, args))
            self.lost += is_lost
            if self.lands or not is_lost:
                await method(*args, **kwargs)
            if is_lost:
                raise UnavailableError("The answer was lost.")

        return losing


async def texts(room: Room) -> list[str]:
    """The messages of the user."""
    return [item.content[0].text for item in await room.items() if isinstance(item, UserMessageItem)]


@pytest.mark.parametrize("off", [frozenset[str](), frozenset({"ahead"})], ids=["read ahead", "not read ahead"])
async def test_a_named_message_whose_answer_was_lost_is_stored_once_and_answered(
    room: Room, off: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "_OFF", off)
    store = room.one.store
    room.one.server.store = Dropping(store).losing("add_thread_item")
    with pytest.raises(UnavailableError):
        await after(room, room.one.answered(request("hi"), named=NAMED))
    assert await texts(room) == ["hi"]
    await after(room, room.two.answered(request("hi"), named=NAMED))
    assert await room.shown() == ["hi", "answer"]
    assert room.model.shown == [["hi"]]


async def test_a_name_that_is_used_again_later_brings_a_message_of_its_own(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await after(room, room.one.answered(request("hi"), named=NAMED))
    room.time.now_s += 17 * 60
    await after(room, room.two.answered(request("something else"), named=NAMED))
    assert await texts(room) == ["hi", "something else"]
    room.time.now_s += 17 * 60
    monkeypatch.setattr("lambda_src.chat.server.RETRY_WINDOW", timedelta(0))
    await after(room, room.two.answered(request("hi"), named=NAMED))
    assert await texts(room) == ["hi", "something else", "hi"]
    assert room.model.shown[-1][-1] == "hi"


async def test_a_message_without_a_name_that_is_sent_twice_is_two_messages(room: Room) -> None:
    for _ in range(2):
        await after(room, room.one.answered(request("continue")))
        await room.time.advance(10)
    assert await texts(room) == ["continue", "continue"]


async def threads_of(room: Room) -> list[tuple[str | None, list[str]]]:
    """Each thread that a message began: its title, and what its user wrote."""
    page = await room.rows.load_threads(10, None, "asc", ANN)
    found = []
    for thread in page.data:
        if thread.id != THREAD:
            items = (await room.rows.load_thread_items(thread.id, None, 10, "asc", ANN)).data
            words = [item.content[0].text for item in items if isinstance(item, UserMessageItem)]
            assert [type(item) for item in items[1:]] == [AssistantMessageItem], "it is answered once"
            found.append((thread.title, words))
    return found


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "does not land"])
@pytest.mark.parametrize("write", ["save_thread", "add_thread_item"])
async def test_a_named_new_thread_whose_answer_was_lost_is_stored_once_and_answered(
    room: Room, write: str, lands: bool
) -> None:
    dropping = Dropping(room.one.store, lands=lands)
    room.one.server.store = dropping.losing(write)
    with pytest.raises(UnavailableError):
        await after(room, room.one.answered(new_thread("hi"), named=NAMED))
    assert dropping.lost
    await after(room, room.two.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(room) == [("hi", ["hi"])]
    assert room.model.shown == [["hi"]]


async def test_a_named_new_thread_whose_lease_was_taken_without_an_answer_is_stored_once(room: Room) -> None:
    ledger = Dropping(room.one.store.ledger).losing("take_lease")
    room.one.turns.services = replace(room.one.turns.services, ledger=ledger)
    with pytest.raises(UnavailableError):
        await after(room, room.one.answered(new_thread("hi"), named=NAMED))
    gc.collect()
    await room.time.advance(1)
    await after(room, room.two.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(room) == [("hi", ["hi"])]


async def test_a_name_that_is_used_again_later_begins_a_thread_of_its_own(room: Room) -> None:
    await after(room, room.one.answered(new_thread("hi"), named=NAMED))
    room.time.now_s += 17 * 60
    await after(room, room.two.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(room) == [("hi", ["hi"]), ("hi", ["hi"])]


async def test_a_name_that_is_used_again_after_a_delete_begins_a_thread_of_its_own(room: Room) -> None:
    await after(room, room.one.answered(new_thread("hi"), named=NAMED))
    (thread,) = [one for one in (await room.rows.load_threads(10, None, "asc", ANN)).data if one.id != THREAD]
    await room.rows.delete_thread(thread.id, ANN)
    room.time.now_s += 17 * 60
    await after(room, room.two.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(room) == [("hi", ["hi"])]
