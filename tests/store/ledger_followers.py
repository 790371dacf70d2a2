"""Turn ledger contract for followers: the newest stay, older ones must leave, dead ones are forgotten."""

from lambda_src.context import RequestContext
from lambda_src.store.followers import EXPIRES_MS, MAX_EXPIRED, Follower
from lambda_src.store.ports import TurnLedger
from tests.store.ledger_case import ADA, BOB, Clock, LedgerCase

OF_A_TURN, OF_A_USER = 3, 5  # the limits; not imported, so that changing either fails these tests


class FollowerContract(LedgerCase):
    """note_follower."""

    async def test_the_newest_followers_of_a_turn_stay_and_the_oldest_must_leave(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        followers = [_follower(clock, number) for number in range(OF_A_TURN + 1)]
        for number, follower in enumerate(followers):
            assert await (ledger, other)[number % 2].note_follower(follower, context=ADA)
        assert not await ledger.note_follower(followers[0], context=ADA)
        for follower in followers[1:]:
            assert await other.note_follower(follower, context=ADA)

    async def test_the_number_of_followers_per_user_is_limited(self, ledger: TurnLedger, clock: Clock) -> None:
        followers = [_follower(clock, number, turn_id=f"turn-{number}") for number in range(OF_A_USER + 1)]
        assert [await _stays(ledger, follower) for follower in followers] == [True] * (OF_A_USER + 1)
        assert [await _stays(ledger, follower) for follower in followers] == [False] + [True] * OF_A_USER
        assert await _stays(ledger, followers[0], BOB)

    async def test_a_dead_follower_frees_its_place(self, ledger: TurnLedger, clock: Clock) -> None:
        first = _follower(clock, 0)
        for follower in [first, *(_follower(clock, number + 1) for number in range(OF_A_TURN))]:
            await ledger.note_follower(follower, context=ADA)
        assert not await ledger.note_follower(first, context=ADA)
        clock.later(ms=EXPIRES_MS)
        assert await ledger.note_follower(first, context=ADA)

    async def test_many_dead_followers_do_not_block_new_ones(self, ledger: TurnLedger, clock: Clock) -> None:
        for number in range(3 * MAX_EXPIRED):
            clock.later(ms=EXPIRES_MS)
            assert await ledger.note_follower(_follower(clock, number), context=ADA)


def _follower(clock: Clock, number: int, *, turn_id: str = "turn_with_an_underscore") -> Follower:
    return Follower(turn_id, clock.now_ms + number, f"{number:08x}")


async def _stays(ledger: TurnLedger, follower: Follower, context: RequestContext = ADA) -> bool:
    return await ledger.note_follower(follower, context=context)
