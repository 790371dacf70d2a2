"""Two hand-overs of one guest at the same time, one of which is killed: what must hold afterwards. Knows no engine."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from lambda_src.dev.store_contract.samples import item_ids, thread_ids
from lambda_src.errors import ConflictError
from tests.store.dying import KilledError
from tests.store.handover_contract import ANN, BOB, GUEST, Files, claims, move_in, records_of

RIVALS = {"one user twice": (ANN, ANN), "two users": (ANN, BOB)}
THREADS = ["thr_1", "thr_2"]
ITEMS = ["msg_1", "msg_2"]

Both = Callable[[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]], Awaitable[object]]


async def take_over(store: Any, user: Any) -> None:
    """As account_linking.py does it, until the process is killed; nothing for whoever comes second."""
    with suppress(KilledError, ConflictError):
        await store.claim_guest("guest", user)
        for thread_id in await thread_ids(store, GUEST):
            await store.hand_over(thread_id, "guest", user, copy_file=Files())
        await store.end_claim("guest", user)


async def race(make: Callable[[], Any], one: Any, two: Any, users: tuple[Any, Any], both: Both) -> None:
    """Two processes take over the guest's threads; `one` may die. Then the hourly event finishes what is claimed."""
    await move_in(make())
    wanted = Counter(map(str, await records_of(make(), GUEST)))
    await both(lambda: take_over(one, users[0]), lambda: take_over(two, users[1]))
    store = make()
    for claim in await claims(store):
        await take_over(store, ANN if claim.user_id == "ann" else BOB)
    assert await claims(store) == []
    everybody = (GUEST, ANN, BOB)
    found = Counter([str(record) for who in everybody for record in await records_of(store, who)])
    assert found == wanted, "nothing is lost, and nothing is there twice"
    owners = [[who for who in everybody if thread_id in await thread_ids(store, who)] for thread_id in THREADS]
    assert [len(one) for one in owners] == [1, 1], "each thread has one owner"
    assert owners[0] == owners[1]
    for thread_id, (owner,) in zip(THREADS, owners, strict=True):
        assert await item_ids(store, thread_id, owner) == ITEMS
