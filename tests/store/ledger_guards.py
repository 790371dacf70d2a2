"""Turn ledger contract for idempotency keys: one request claims a key, all others learn which turn has it."""

import asyncio

import pytest

from lambda_src.store.ports import Bound, IdempotencyConflict, TurnLedger
from tests.store.ledger_case import ADA, BOB, Clock, LedgerCase

TTL_S = 60
BODY = b"\x00\xff" * 16
OTHER_BODY = b"\x01" * 32


async def claim(
    ledger: TurnLedger, turn_id: str, *, key: str = "key", body_hash: bytes = BODY, instead_of: str | None = None
) -> IdempotencyConflict | None:
    """Claim the key for ada's request with this body."""
    return await ledger.claim_request(
        key, turn_id, body_hash=body_hash, ttl_s=TTL_S, instead_of=instead_of, context=ADA
    )


async def bind(ledger: TurnLedger, turn_id: str, *, key: str = "key", ttl_s: int = TTL_S) -> Bound | None:
    """Bind ada's key to her turn in thr_1."""
    return await ledger.bind_request(key, turn_id, thread_id="thr_1", ttl_s=ttl_s, context=ADA)


async def load(ledger: TurnLedger, key: str = "key") -> IdempotencyConflict | None:
    """Load the holder of ada's key."""
    return await ledger.load_request(key, context=ADA)


class GuardContract(LedgerCase):
    """claim_request, load_request, bind_request, refuse_request, end_request, release_request, stop_request."""

    async def test_a_key_can_be_claimed_once(self, ledger: TurnLedger, other: TurnLedger) -> None:
        assert await claim(ledger, "one") is None
        assert await claim(other, "two") == IdempotencyConflict("one", None, same_body=True)
        assert await load(other) == IdempotencyConflict("one", None, same_body=True)

    async def test_a_duplicate_with_the_same_turn_id_is_a_duplicate(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        """Hypothetical, because every request mints its id; a mark identifies our own retry after a lost answer."""
        assert await claim(ledger, "one", key="one") is None
        assert await claim(ledger, "one", key="one") == IdempotencyConflict("one", None, same_body=True)
        assert await claim(other, "one", key="one") == IdempotencyConflict("one", None, same_body=True)

    @pytest.mark.usefixtures("crowd")
    async def test_of_a_hundred_concurrent_requests_one_gets_the_key(
        self, ledger: TurnLedger, other: TurnLedger
    ) -> None:
        claims = (claim((ledger, other)[number % 2], "named") for number in range(100))
        assert (await asyncio.gather(*claims)).count(None) == 1

    async def test_a_conflict_says_whether_the_body_is_the_same(self, ledger: TurnLedger) -> None:
        await claim(ledger, "one")
        assert await claim(ledger, "one", body_hash=OTHER_BODY) == IdempotencyConflict("one", None, same_body=False)

    async def test_an_unclaimed_key_has_no_holder(self, ledger: TurnLedger) -> None:
        assert await load(ledger) is None

    async def test_an_expired_key_is_free(self, ledger: TurnLedger, clock: Clock) -> None:
        """The engine may not have removed it by then."""
        await claim(ledger, "one")
        await bind(ledger, "one")
        clock.later(ms=TTL_S * 1000 - 1)
        assert await claim(ledger, "two") == IdempotencyConflict("one", "thr_1", same_body=True)
        clock.later(ms=1)
        assert await load(ledger) is None
        assert await claim(ledger, "two", body_hash=OTHER_BODY) is None
        assert await claim(ledger, "three", body_hash=OTHER_BODY) == IdempotencyConflict("two", None, same_body=True)

    async def test_keys_are_separate_per_user(self, ledger: TurnLedger) -> None:
        await claim(ledger, "one")
        assert await ledger.load_request("key", context=BOB) is None
        assert await ledger.claim_request("key", "two", body_hash=BODY, ttl_s=TTL_S, context=BOB) is None
        assert await claim(ledger, "three") == IdempotencyConflict("one", None, same_body=True)

    async def test_a_bound_key_contains_the_thread(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await claim(ledger, "one")
        await bind(ledger, "one")
        assert await claim(other, "two") == IdempotencyConflict("one", "thr_1", same_body=True)
        assert await claim(other, "two", body_hash=OTHER_BODY) == IdempotencyConflict("one", "thr_1", same_body=False)
        assert await load(other) == IdempotencyConflict("one", "thr_1", same_body=True)

    async def test_binding_sets_the_keys_lifetime(self, ledger: TurnLedger, clock: Clock) -> None:
        await claim(ledger, "one")
        await bind(ledger, "one", ttl_s=TTL_S * 2)
        clock.later(ms=TTL_S * 2000 - 1)
        assert await load(ledger) is not None
        await bind(ledger, "one", ttl_s=5)
        clock.later(ms=5000)
        assert await load(ledger) is None

    async def test_only_the_holder_of_a_key_can_be_bound(self, ledger: TurnLedger, clock: Clock) -> None:
        """A turn that began too slowly must not be bound, since another may have begun in its place."""
        assert await bind(ledger, "one") is None
        await claim(ledger, "one")
        clock.later(ms=TTL_S * 1000)
        assert await bind(ledger, "one") == Bound(None), "no other request claimed it in between"
        clock.later(ms=TTL_S * 1000)
        await claim(ledger, "two")
        assert await bind(ledger, "one") is None

    async def test_a_key_can_be_taken_from_a_bound_turn_that_is_over(self, ledger: TurnLedger) -> None:
        await claim(ledger, "one")
        assert await claim(ledger, "two", instead_of="one") is not None, "the turn may be about to begin"
        await bind(ledger, "one")
        assert await claim(ledger, "two", instead_of="zero") is not None
        assert await claim(ledger, "two", instead_of="one") is None
        assert await load(ledger) == IdempotencyConflict("two", None, same_body=True)

    async def test_a_refusal_is_stored_until_the_key_is_claimed_again(self, ledger: TurnLedger) -> None:
        await claim(ledger, "one")
        await ledger.refuse_request("key", "two", "not two", context=ADA)
        await ledger.refuse_request("key", "one", "not now", context=ADA)
        refused = await load(ledger)
        assert refused == IdempotencyConflict("one", None, same_body=True, refusal="not now")
        assert await claim(ledger, "two", body_hash=OTHER_BODY) is None
        assert await load(ledger) == IdempotencyConflict("two", None, same_body=True)

    async def test_a_turn_that_lost_its_lease_is_marked_as_ended_under_its_key(
        self, ledger: TurnLedger, clock: Clock
    ) -> None:
        await claim(ledger, "one")
        await bind(ledger, "one", ttl_s=TTL_S * 9)
        await ledger.end_request("key", "two", ttl_s=5, context=ADA)
        await ledger.end_request("key", "one", ttl_s=5, context=ADA)
        assert await load(ledger) == IdempotencyConflict("one", "thr_1", same_body=True, ended=True)
        clock.later(ms=5000)
        assert await load(ledger) is None
        assert await claim(ledger, "two") is None
        assert await load(ledger) == IdempotencyConflict("two", None, same_body=True)

    async def test_a_lookup_says_whether_the_body_is_the_same(self, ledger: TurnLedger) -> None:
        await claim(ledger, "one")
        holder = await ledger.load_request("key", body_hash=OTHER_BODY, context=ADA)
        assert holder == IdempotencyConflict("one", None, same_body=False)

    async def test_a_stop_before_binding_is_returned_by_the_binding(self, ledger: TurnLedger, clock: Clock) -> None:
        async def stop(turn_id: str | None = None) -> IdempotencyConflict | None:
            return await ledger.stop_request("key", "its name", turn_id=turn_id, ttl_s=TTL_S, context=ADA)

        assert await stop() is None, "the request has not arrived yet"
        await claim(ledger, "one")
        assert await bind(ledger, "one") == Bound("its name")
        assert await stop() == IdempotencyConflict("one", "thr_1", same_body=True)
        await claim(ledger, "two", instead_of="one")
        assert await stop("one") is None, "the turn is over"
        clock.later(ms=TTL_S * 1000)
        await claim(ledger, "three")
        assert await bind(ledger, "three") == Bound(None), "the stop was for another turn"
        await ledger.release_request("key", "three", context=ADA)
        await claim(ledger, "four")
        assert await stop("four") == IdempotencyConflict("four", None, same_body=True)
        assert await ledger.stop_request("key", "x", turn_id=None, ttl_s=TTL_S, context=BOB) is None
        assert await bind(ledger, "four") == Bound("its name")

    async def test_a_former_holder_cannot_change_a_key(self, ledger: TurnLedger, clock: Clock) -> None:
        await claim(ledger, "one")
        clock.later(ms=TTL_S * 1000)
        await claim(ledger, "two")
        await bind(ledger, "one")
        await ledger.release_request("key", "one", context=ADA)
        assert await load(ledger) == IdempotencyConflict("two", None, same_body=True)

    async def test_a_released_key_is_free(self, ledger: TurnLedger, other: TurnLedger) -> None:
        await claim(ledger, "one")
        await bind(ledger, "one")
        await ledger.release_request("key", "one", context=ADA)
        assert await load(other) is None
        assert await claim(other, "two", body_hash=OTHER_BODY) is None
        assert await load(ledger) == IdempotencyConflict("two", None, same_body=True)

    async def test_releasing_a_key_of_another_holder_does_nothing(self, ledger: TurnLedger) -> None:
        await ledger.release_request("key", "one", context=ADA)
        await claim(ledger, "one")
        await ledger.release_request("key", "two", context=ADA)
        await ledger.release_request("key", "one", context=BOB)
        assert await load(ledger) == IdempotencyConflict("one", None, same_body=True)
        await ledger.release_request("key", "one", context=ADA)
        await ledger.release_request("key", "one", context=ADA)
        assert await load(ledger) is None
