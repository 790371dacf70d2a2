"""A named message whose store failed in the middle is sent again: it is stored once, and answered once."""

from datetime import timedelta
from typing import Any

import pytest
from chatkit.types import ThreadsAddUserMessageReq, UserMessageItem

from lambda_src.errors import UnavailableError
from lambda_src.startup import flags
from tests.chat import message
from tests.turns.scene import THREAD, Replaced
from tests.turns.test_newer_messages import Room, after, room

__all__ = ["room"]
NAMED = "a-message-with-a-name"


def request(text: str) -> ThreadsAddUserMessageReq:
    """A message."""
    return ThreadsAddUserMessageReq.model_validate({"params": {"thread_id": THREAD, "input": message(text)}})


class Dropping:
    """A store whose first answer about a new item is lost, though the item is stored."""

    def __init__(self, store: Any) -> None:
        self.store, self.lost = store, 0

    async def add_thread_item(self, *args: Any, **kwargs: Any) -> None:
        """Stores the item and fails, once."""
        await self.store.add_thread_item(*args, **kwargs)
        if not self.lost:
            self.lost += 1
            raise UnavailableError("The answer was lost.")


async def texts(room: Room) -> list[str]:
    """The messages of the user."""
    return [item.content[0].text for item in await room.items() if isinstance(item, UserMessageItem)]


@pytest.mark.parametrize("off", [frozenset[str](), frozenset({"ahead"})], ids=["read ahead", "not read ahead"])
async def test_a_named_message_whose_answer_was_lost_is_stored_once_and_answered(
    room: Room, off: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "_OFF", off)
    store = room.one.store
    room.one.server.store = Replaced(store, add_thread_item=Dropping(store).add_thread_item)  # type: ignore[assignment] # one
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
    monkeypatch.setattr("lambda_src.server.NAMED_FOR", timedelta(0))
    await after(room, room.two.answered(request("hi"), named=NAMED))
    assert await texts(room) == ["hi", "something else", "hi"]
    assert room.model.shown[-1][-1] == "hi"


async def test_a_message_without_a_name_that_is_sent_twice_is_two_messages(room: Room) -> None:
    for _ in range(2):
        await after(room, room.one.answered(request("continue")))
        await room.time.advance(10)
    assert await texts(room) == ["continue", "continue"]
