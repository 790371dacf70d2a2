"""Interleavings of a turn with a user's delete or rename: deleted stays deleted, and the user's title is never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import Page, Thread

from lambda_src.context import Registration, Turn
from lambda_src.dev.store_contract.samples import (
    WHEN,
    answer_of,
    context_of,
    item_ids,
    message_of,
    thread_ids,
    thread_of,
)
from lambda_src.errors import ConflictError
from lambda_src.store import keys
from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.interleaved import HeldExecutor, interleave, schedules
from tests.store.local import Local
from tests.store.sweeping import finish

ADA = context_of("ada")
LEASE_MS = 10_000
KEY = "key-of-the-request"
TURN = Turn("turn-of-0123456789", registration=Registration(KEY, lease_ms=LEASE_MS, bound_s=60))
IN_A_TURN = replace(ADA, turn=TURN)

Actions = Callable[[DynamoDBStore], Awaitable[None]]


async def rename(store: DynamoDBStore) -> None:
    """Do what ChatKit does for threads.update."""
    with suppress(NotFoundError):
        thread = await store.load_thread("thr_1", ADA)
        thread.title = "By hand"
        await store.save_thread(thread, ADA)


async def delete(store: DynamoDBStore) -> None:
    """Do what ChatKit does for threads.delete."""
    await store.delete_thread("thr_1", ADA)


async def stop(store: DynamoDBStore) -> None:
    """Press the stop button."""
    await store.ledger.ask_to_stop("thr_1", TURN.id, context=ADA)


async def retry(store: DynamoDBStore) -> None:
    """Regenerate: take the lease, remove the answer and write another."""
    retry_context = replace(ADA, turn=Turn("turn-of-retry-0001"))
    with suppress(NotFoundError):
        thread = await store.load_thread("thr_1", retry_context)
        await store.ledger.take_lease("thr_1", "turn-of-retry-0001", lease_ms=LEASE_MS, context=retry_context)
        await store.delete_thread_item("thr_1", "msg_2", retry_context)
        await store.add_thread_item("thr_1", answer_of("msg_3", "again"), retry_context)
        thread.title = thread.title or "By machine, again"
        await store.save_thread(thread, retry_context)


async def turn(store: DynamoDBStore, started: asyncio.Event, *, upstream: bool, at_once: bool, dies_after: int) -> None:
    """Run the first turn of a new thread, and set `started` when it is saved.

    With `upstream`, it continues with a thread object that the store does not know. With `at_once`, the thread is saved
    together with its message and its lease.
    """
    thread = thread_of(title=None)
    items: Page[Any] = Page()
    if at_once:
        await store.ledger.claim_request(KEY, TURN.id, body_hash=b"body", ttl_s=10, context=IN_A_TURN)
        assert await store.begin_thread(thread, message_of(), IN_A_TURN)
    else:
        await store.save_thread(thread, IN_A_TURN)
    started.set()
    if upstream:
        thread = Thread(id="thr_1", created_at=WHEN, items=items)
    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.ledger.take_lease("thr_1", TURN.id, lease_ms=LEASE_MS, context=IN_A_TURN),
        lambda: store.add_thread_item("thr_1", message_of(), IN_A_TURN),
        lambda: store.save_thread(thread, IN_A_TURN),
        lambda: store.add_thread_item("thr_1", answer_of("msg_2", "text"), IN_A_TURN),
        lambda: store.save_thread(thread, IN_A_TURN),
    ]
    titles = {2: (None, "By machine"), 4: ("By machine", "Better, by machine")}
    first = 2 if at_once else 0
    for number, step in list(enumerate(steps))[first : first + dies_after]:
        instead_of, title = titles.get(number, (None, None))
        if title is not None and thread.title == instead_of:
            thread.title = title
        # A turn would end at these errors; that it continues here is the worse case.
        with suppress(NotFoundError, ConflictError):
            await step()


CASES: list[tuple[list[Actions], bool, int]] = [
    ([rename], False, 100),
    ([delete], False, 100),
    ([delete], True, 100),
    ([delete], False, 2),
    ([rename, delete], False, 100),
    ([delete, rename], True, 100),
    ([stop, delete], False, 100),
    ([delete, retry], False, 2),
    ([retry, rename], False, 2),
    ([retry, delete], True, 2),
]


@pytest.mark.parametrize("at_once", [False, True], ids=["part by part", "at once"])
@pytest.mark.parametrize(("actions", "upstream", "dies_after"), CASES)
def test_at_every_interleaving(actions: list[Actions], upstream: bool, dies_after: int, at_once: bool) -> None:
    deleted, renamed = delete in actions, rename in actions and not upstream

    async def once(schedule: list[int]) -> list[int]:
        local, turn_executor, user_executor = Local(), HeldExecutor(), HeldExecutor()
        started = asyncio.Event()
        turn_store, user_store = local.store(executor=turn_executor), local.store(executor=user_executor)

        async def answering() -> None:
            await turn(turn_store, started, upstream=upstream, at_once=at_once, dies_after=dies_after)

        async def acting() -> None:
            await started.wait()
            for action in actions:
                await action(user_store)

        choices = await interleave(schedule, (turn_executor, answering), (user_executor, acting))
        fresh = local.store()
        if deleted:
            await assert_gone(fresh)
            await finish(local, fresh)
            await assert_gone(fresh)
            assert [sort for _, sort in local.engine.rows if sort != keys.request_sort(KEY)] == []
        elif renamed:
            assert (await fresh.load_thread("thr_1", ADA)).title == "By hand"
        return choices

    seen = sum(1 for _ in schedules(lambda schedule: asyncio.run(once(schedule)), limit=5_000))
    assert seen > 1


async def assert_gone(store: DynamoDBStore) -> None:
    """Check that nothing of the thread is listed, loaded, exported or paged."""
    assert await thread_ids(store, ADA) == []
    assert [record async for record in store.export_user(ADA)] == []
    assert await item_ids(store, "thr_1", ADA) == []
    assert await item_ids(store, "thr_1", ADA, order="desc") == []
    with pytest.raises(NotFoundError):
        await store.load_thread("thr_1", ADA)
    for item_id in ("msg_1", "msg_2", "msg_3"):
        with pytest.raises(NotFoundError):
            await store.load_item("thr_1", item_id, ADA)
