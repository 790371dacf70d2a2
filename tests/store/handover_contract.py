"""Contract tests for handing over a guest's threads to a user, on any store (`store` is a fixture)."""

import asyncio
from typing import Any

import pytest
from chatkit.store import NotFoundError

from lambda_src.dev.store_contract.samples import context_of, file_of, item_ids, message_of, thread_ids, thread_of
from lambda_src.dev.store_contract.values import incompressible
from lambda_src.errors import ConflictError
from lambda_src.store.ports import Claim

GUEST, ANN, BOB = context_of("guest"), context_of("ann"), context_of("bob")
AnyStore = Any


class Files:
    """Records the ids of copied files."""

    def __init__(self) -> None:
        self.copied: list[str] = []

    async def __call__(self, attachment_id: str) -> None:
        self.copied.append(attachment_id)


async def fill_guest(store: AnyStore, *, large: bool = False) -> None:
    """Store two threads of the guest's with everything a thread can contain, and a file outside any thread."""
    for name in ("thr_1", "thr_2"):
        await store.save_thread(thread_of(name, title=f"the guest's {name}"), GUEST)
        await store.add_thread_item(name, message_of("msg_1", "hello", thread_id=name), GUEST)
        await store.add_thread_item(name, message_of("msg_gone", thread_id=name), GUEST)
        text = incompressible(200_000) if large else "more"
        await store.add_thread_item(name, message_of("msg_2", text, thread_id=name), GUEST)
        await store.delete_thread_item(name, "msg_gone", GUEST)
        await store.save_attachment(file_of(f"atc_{name}", thread_id=name), GUEST)
        await store.add_feedback(name, ["msg_1"], "negative", GUEST)
    await store.save_attachment(file_of("atc_free"), GUEST)


async def records_of(store: AnyStore, context: Any) -> list[Any]:
    """Return everything of a user's."""
    return [dict(record) async for record in store.export_user(context)]


async def hand_over_all(store: AnyStore) -> Files:
    """Hand over all threads as account_linking.py does."""
    files = Files()
    await store.claim_guest("guest", ANN)
    for thread_id in await thread_ids(store, GUEST):
        assert await store.hand_over(thread_id, "guest", ANN, copy_file=files)
    await store.end_claim("guest", ANN)
    return files


async def claims(store: AnyStore) -> list[Claim]:
    """Return the open claims."""
    return [claim async for claim in store.claimed_guests()]


class HandoverContract:
    """claim_guest, hand_over, end_claim, claimed_guests."""

    @pytest.mark.parametrize("large", [False, True])
    async def test_the_users_threads_are_identical_to_the_guests(self, store: AnyStore, large: bool) -> None:
        await fill_guest(store, large=large)
        before = await records_of(store, GUEST)
        files = await hand_over_all(store)
        after = await records_of(store, ANN)
        assert after == [record for record in before if record["id"] != "atc_free"]
        assert files.copied == ["atc_thr_1", "atc_thr_2"]
        assert await item_ids(store, "thr_1", ANN) == ["msg_1", "msg_2"]

    async def test_the_guest_no_longer_has_the_threads(self, store: AnyStore) -> None:
        await fill_guest(store)
        await hand_over_all(store)
        assert await thread_ids(store, GUEST) == []
        assert await item_ids(store, "thr_1", GUEST) == []
        for load in (store.load_thread("thr_1", GUEST), store.load_item("thr_1", "msg_1", GUEST)):
            with pytest.raises(NotFoundError):
                await load
        with pytest.raises(NotFoundError):
            await store.load_attachment("atc_thr_1", GUEST)

    async def test_the_user_can_continue_the_thread(self, store: AnyStore) -> None:
        await fill_guest(store)
        await hand_over_all(store)
        await item_ids(store, "thr_1", ANN)
        await store.add_thread_item("thr_1", message_of("msg_3"), ANN)
        assert await item_ids(store, "thr_1", ANN) == ["msg_1", "msg_2", "msg_3"]
        thread = await store.load_thread("thr_1", ANN)
        thread.title = "mine"
        await store.save_thread(thread, ANN)
        assert (await store.load_thread("thr_1", ANN)).title == "mine"

    async def test_the_users_own_threads_stay(self, store: AnyStore) -> None:
        await store.save_thread(thread_of("thr_ann"), ANN)
        await store.add_thread_item("thr_ann", message_of(thread_id="thr_ann"), ANN)
        before = await records_of(store, ANN)
        await fill_guest(store)
        await hand_over_all(store)
        after = await records_of(store, ANN)
        assert all(record in after for record in before)

    async def test_a_thread_whose_id_the_user_already_has_stays_with_the_guest(self, store: AnyStore) -> None:
        await fill_guest(store)
        await store.save_thread(thread_of("thr_1", title="ann's"), ANN)
        await store.add_thread_item("thr_1", message_of("msg_ann"), ANN)
        with pytest.raises(ConflictError, match="already has a thread thr_1"):
            await store.hand_over("thr_1", GUEST.user.id, ANN, copy_file=Files())
        assert (await store.load_thread("thr_1", ANN)).title == "ann's"
        assert await item_ids(store, "thr_1", ANN) == ["msg_ann"]
        assert (await store.load_thread("thr_1", GUEST)).title == "the guest's thr_1"
        assert await item_ids(store, "thr_1", GUEST) == ["msg_1", "msg_2"]

    async def test_a_guest_can_be_claimed_by_one_user_only(self, store: AnyStore) -> None:
        await store.claim_guest("guest", ANN)
        with pytest.raises(ConflictError):
            await store.claim_guest("guest", BOB)
        await store.claim_guest("guest", ANN)
        await store.end_claim("guest", ANN)
        with pytest.raises(ConflictError):
            await store.claim_guest("guest", BOB)

    async def test_of_many_concurrent_claims_one_succeeds(self, store: AnyStore) -> None:
        users = [context_of(f"user_{number}") for number in range(10)]
        results = await asyncio.gather(*(store.claim_guest("guest", user) for user in users), return_exceptions=True)
        assert [type(result) for result in results if result is not None] == [ConflictError] * 9
        [claim] = await claims(store)
        assert results[int(claim.user_id.removeprefix("user_"))] is None

    async def test_a_claim_is_open_until_it_ends(self, store: AnyStore) -> None:
        assert await claims(store) == []
        await store.claim_guest("guest", ANN)
        assert await claims(store) == [Claim("guest", "ann")]
        await store.end_claim("guest", ANN)
        assert await claims(store) == []

    async def test_repeating_the_hand_over_changes_nothing(self, store: AnyStore) -> None:
        await fill_guest(store)
        await hand_over_all(store)
        await store.delete_thread_item("thr_1", "msg_1", ANN)
        before = await records_of(store, ANN)
        assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
        assert await store.hand_over("thr_never", "guest", ANN, copy_file=Files())
        assert await records_of(store, ANN) == before

    async def test_concurrent_hand_overs_move_everything_once(self, store: AnyStore) -> None:
        await fill_guest(store)
        before = [record for record in await records_of(store, GUEST) if record["id"] != "atc_free"]
        hand_overs = (
            store.hand_over(name, "guest", ANN, copy_file=Files()) for name in ("thr_1", "thr_2") for _ in range(3)
        )
        assert all(await asyncio.gather(*hand_overs))
        assert await records_of(store, ANN) == before

    async def test_a_thread_that_the_guest_deleted_is_not_handed_over(self, store: AnyStore) -> None:
        await fill_guest(store)
        await store.delete_thread("thr_1", GUEST)
        assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
        assert await thread_ids(store, ANN) == []

    async def test_ids_that_cannot_be_stored_are_refused(self, store: AnyStore) -> None:
        for name in ("", "x" * 600, "a\0"):
            with pytest.raises(ValueError, match=r"."):
                await store.claim_guest(name, ANN)
            with pytest.raises(ValueError, match=r"."):
                await store.hand_over(name, "guest", ANN, copy_file=Files())


class TurnsAndHandoverContract:
    """Threads with a running turn, for stores that also store turns (`store` has a ledger)."""

    async def test_a_thread_with_a_running_turn_is_not_handed_over_until_the_turn_ends(self, store: AnyStore) -> None:
        await fill_guest(store)
        await store.ledger.take_lease("thr_1", "turn_1", lease_ms=60_000, context=GUEST)
        before = await records_of(store, GUEST)
        assert not await store.hand_over("thr_1", "guest", ANN, copy_file=Files())
        assert await records_of(store, GUEST) == before
        assert await store.ledger.renew_lease("thr_1", "turn_1", lease_ms=60_000, context=GUEST) == "held"
        await store.ledger.end_lease("thr_1", "turn_1", context=GUEST)
        assert await store.hand_over("thr_1", "guest", ANN, copy_file=Files())

    async def test_no_turn_can_begin_in_a_thread_that_was_handed_over(self, store: AnyStore) -> None:
        await fill_guest(store)
        await hand_over_all(store)
        with pytest.raises(NotFoundError):
            await store.ledger.take_lease("thr_1", "turn_1", lease_ms=60_000, context=GUEST)
        await store.ledger.take_lease("thr_1", "turn_1", lease_ms=60_000, context=ANN)

    async def test_the_users_next_turn_begins_after_the_newest_item(self, store: AnyStore) -> None:
        await fill_guest(store)
        await store.ledger.take_lease("thr_1", "turn_1", lease_ms=60_000, context=GUEST)
        await store.add_thread_item("thr_1", message_of("msg_of_turn_1"), GUEST)
        await store.ledger.end_lease("thr_1", "turn_1", context=GUEST)
        await hand_over_all(store)
        taken = await store.ledger.take_lease("thr_1", "turn_2", lease_ms=60_000, context=ANN)
        assert taken.previous is not None
        assert taken.previous.ended
        assert taken.previous.last_order > 0
        await store.add_thread_item("thr_1", message_of("msg_of_turn_2"), ANN)
        assert (await item_ids(store, "thr_1", ANN))[-2:] == ["msg_of_turn_1", "msg_of_turn_2"]
