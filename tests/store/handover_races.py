"""Race between two hand-overs of the same guest, one of which may be killed, and the checks afterwards."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from lambda_src.dev.store_contract.samples import item_ids, thread_ids
from lambda_src.errors import ConflictError
from tests.store.dying import KilledError
from tests.store.handover_contract import ANN, BOB, GUEST, Files, claims, fill_guest, records_of

RIVALS = {"one user twice": (ANN, ANN), "two users": (ANN, BOB)}
THREADS = ["thr_1", "thr_2"]
ITEMS = ["msg_1", "msg_2"]

Both = Callable[[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]], Awaitable[object]]


async def take_over(store: Any, user: Any) -> None:
    """Hand over as account_linking.py does, until the process is killed or another user has claimed the guest."""
    with suppress(KilledError, ConflictError):
        await store.claim_guest("guest", user)
        for thread_id in await thread_ids(store, GUEST):
            await store.hand_over(thread_id, "guest", user, copy_file=Files())
        await store.end_claim("guest", user)


async def race(make: Callable[[], Any], first: Any, second: Any, users: tuple[Any, Any], both: Both) -> None:
    """Let two processes take over the guest's threads; `first` may die. Then the hourly event completes open claims."""
    await fill_guest(make())
    expected = Counter(map(str, await records_of(make(), GUEST)))
    await both(lambda: take_over(first, users[0]), lambda: take_over(second, users[1]))
    store = make()
    for claim in await claims(store):
        await take_over(store, ANN if claim.user_id == "ann" else BOB)
    assert await claims(store) == []
    users_and_guest = (GUEST, ANN, BOB)
    records = Counter([str(record) for owner in users_and_guest for record in await records_of(store, owner)])
    assert records == expected, "records were lost or duplicated"
    owners = [
        [owner for owner in users_and_guest if thread_id in await thread_ids(store, owner)] for thread_id in THREADS
    ]
    assert list(map(len, owners)) == [1, 1], "each thread must have exactly one owner"
    assert owners[0] == owners[1]
    for thread_id, (owner,) in zip(THREADS, owners, strict=True):
        assert await item_ids(store, thread_id, owner) == ITEMS
