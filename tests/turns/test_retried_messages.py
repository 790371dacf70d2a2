"""Retrying a named request after a store failure: its thread and message are stored once and answered once."""

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
from tests.turns.test_newer_messages import ANN, TwoTabs, complete, tabs
from tests.turns.turn_fixture import THREAD, Patched

__all__ = ["tabs"]
NAMED = "a-message-with-a-name"


def request(text: str) -> ThreadsAddUserMessageReq:
    """Return a request that adds a message."""
    return ThreadsAddUserMessageReq.model_validate({"params": {"thread_id": THREAD, "input": message(text)}})


def new_thread(text: str) -> ThreadsCreateReq:
    """Return a request that creates a thread with a message."""
    return ThreadsCreateReq.model_validate({"params": {"input": message(text)}})


class LostAnswers:
    """A store that loses the answer to the first write that matches; with `lands`, the write takes effect."""

    def __init__(self, store: Any, matches: Callable[[Any], bool] = lambda _: True, *, lands: bool = True) -> None:
        self.store, self.matches, self.lands, self.lost = store, matches, lands, 0

    def losing(self, *names: str) -> Any:
        """Return the store with these methods losing an answer."""
        return Patched(self.store, **{name: self._method(getattr(self.store, name)) for name in names})

    def _method(self, method: Any) -> Any:
        async def losing(*args: Any, **kwargs: Any) -> None:
            is_lost = not self.lost and any(map(self.matches, args))
            self.lost += is_lost
            if self.lands or not is_lost:
                await method(*args, **kwargs)
            if is_lost:
                raise UnavailableError("The answer was lost.")

        return losing


async def texts(tabs: TwoTabs) -> list[str]:
    """Return the user's messages."""
    return [item.content[0].text for item in await tabs.items() if isinstance(item, UserMessageItem)]


@pytest.mark.parametrize("off", [frozenset[str](), frozenset({"ahead"})], ids=["read ahead", "not read ahead"])
async def test_a_retried_named_message_is_stored_once_and_answered(
    tabs: TwoTabs, off: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "_OFF", off)
    store = tabs.first.store
    tabs.first.server.store = LostAnswers(store).losing("add_thread_item")
    with pytest.raises(UnavailableError):
        await complete(tabs, tabs.first.answered(request("hi"), named=NAMED))
    assert await texts(tabs) == ["hi"]
    await complete(tabs, tabs.second.answered(request("hi"), named=NAMED))
    assert await tabs.messages() == ["hi", "answer"]
    assert tabs.model.inputs == [["hi"]]


async def test_a_name_reused_later_is_a_new_message(tabs: TwoTabs, monkeypatch: pytest.MonkeyPatch) -> None:
    await complete(tabs, tabs.first.answered(request("hi"), named=NAMED))
    tabs.time.now_s += 17 * 60
    await complete(tabs, tabs.second.answered(request("something else"), named=NAMED))
    assert await texts(tabs) == ["hi", "something else"]
    tabs.time.now_s += 17 * 60
    monkeypatch.setattr("lambda_src.chat.server.RETRY_WINDOW", timedelta(0))
    await complete(tabs, tabs.second.answered(request("hi"), named=NAMED))
    assert await texts(tabs) == ["hi", "something else", "hi"]
    assert tabs.model.inputs[-1][-1] == "hi"


async def test_an_unnamed_message_sent_twice_is_two_messages(tabs: TwoTabs) -> None:
    for _ in range(2):
        await complete(tabs, tabs.first.answered(request("continue")))
        await tabs.time.advance(10)
    assert await texts(tabs) == ["continue", "continue"]


async def threads_of(tabs: TwoTabs) -> list[tuple[str | None, list[str]]]:
    """Return the title and the user's messages of each thread that a message created."""
    page = await tabs.rows.load_threads(10, None, "asc", ANN)
    threads = []
    for thread in page.data:
        if thread.id != THREAD:
            items = (await tabs.rows.load_thread_items(thread.id, None, 10, "asc", ANN)).data
            words = [item.content[0].text for item in items if isinstance(item, UserMessageItem)]
            assert [type(item) for item in items[1:]] == [AssistantMessageItem], "the message must be answered once"
            threads.append((thread.title, words))
    return threads


@pytest.mark.parametrize("lands", [True, False], ids=["lands", "does not land"])
@pytest.mark.parametrize("write", ["save_thread", "add_thread_item"])
async def test_a_retried_named_new_thread_is_stored_once_and_answered(tabs: TwoTabs, write: str, lands: bool) -> None:
    lossy = LostAnswers(tabs.first.store, lands=lands)
    tabs.first.server.store = lossy.losing(write)
    with pytest.raises(UnavailableError):
        await complete(tabs, tabs.first.answered(new_thread("hi"), named=NAMED))
    assert lossy.lost
    await complete(tabs, tabs.second.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(tabs) == [("hi", ["hi"])]
    assert tabs.model.inputs == [["hi"]]


async def test_a_named_new_thread_is_stored_once_if_the_answer_to_its_lease_was_lost(tabs: TwoTabs) -> None:
    ledger = LostAnswers(tabs.first.store.ledger).losing("take_lease")
    tabs.first.turns.services = replace(tabs.first.turns.services, ledger=ledger)
    with pytest.raises(UnavailableError):
        await complete(tabs, tabs.first.answered(new_thread("hi"), named=NAMED))
    gc.collect()
    await tabs.time.advance(1)
    await complete(tabs, tabs.second.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(tabs) == [("hi", ["hi"])]


async def test_a_name_reused_later_is_a_new_thread(tabs: TwoTabs) -> None:
    await complete(tabs, tabs.first.answered(new_thread("hi"), named=NAMED))
    tabs.time.now_s += 17 * 60
    await complete(tabs, tabs.second.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(tabs) == [("hi", ["hi"]), ("hi", ["hi"])]


async def test_a_name_reused_after_a_delete_is_a_new_thread(tabs: TwoTabs) -> None:
    await complete(tabs, tabs.first.answered(new_thread("hi"), named=NAMED))
    (thread,) = [row for row in (await tabs.rows.load_threads(10, None, "asc", ANN)).data if row.id != THREAD]
    await tabs.rows.delete_thread(thread.id, ANN)
    tabs.time.now_s += 17 * 60
    await complete(tabs, tabs.second.answered(new_thread("hi"), named=NAMED))
    assert await threads_of(tabs) == [("hi", ["hi"])]
