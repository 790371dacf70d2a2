"""The contract about followers: the newest stay, whoever came before them leaves, whoever died is forgotten."""

from lambda_src.context import RequestContext
from lambda_src.store.followers import EXPIRES_MS, MAX_EXPIRED, Follower
from lambda_src.store.ports import TurnLedger
from tests.store.ledger_case import ADA, BOB, Clock, LedgerCase

OF_A_TURN, OF_A_USER = 3, 5  # followers at a time; not imported, so that a change of either turns this red


class FollowerContract(LedgerCase):
    """note_follower."""

    async def test_the_newest_followers_of_a_turn_stay_and_the_oldest_leaves(
        self, ledger: TurnLedger, other: TurnLedger, clock: Clock
    ) -> None:
        came = [_follower(clock, number) for number in range(OF_A_TURN + 1)]
        for number, follower in enumerate(came):
            assert await (ledger, other)[number % 2].note_follower(follower, context=ADA)
        assert not await ledger.note_follower(came[0], context=ADA)
        for follower in came[1:]:
            assert await other.note_follower(follower, context=ADA)

    async def test_a_user_follows_so_many_turns_at_once(self, ledger: TurnLedger, clock: Clock) -> None:
        came = [_follower(clock, number, turn_id=f"turn-{number}") for number in range(OF_A_USER + 1)]
        assert [await _stays(ledger, follower) for follower in came] == [True] * (OF_A_USER + 1)
        assert [await _stays(ledger, follower) for follower in came] == [False] + [True] * OF_A_USER
        assert await _stays(ledger, came[0], BOB)

    async def test_a_follower_that_died_frees_its_place(self, ledger: TurnLedger, clock: Clock) -> None:
        first = _follower(clock, 0)
        for follower in [first, *(_follower(clock, number + 1) for number in range(OF_A_TURN))]:
            await ledger.note_follower(follower, context=ADA)
        assert not await ledger.note_follower(first, context=ADA)
        clock.later(ms=EXPIRES_MS)
        assert await ledger.note_follower(first, context=ADA)

    async def test_many_followers_that_died_leave_nothing_in_the_way(self, ledger: TurnLedger, clock: Clock) -> None:
        for number in range(3 * MAX_EXPIRED):
            clock.later(ms=EXPIRES_MS)
            assert await ledger.note_follower(_follower(clock, number), context=ADA)


def _follower(clock: Clock, number: int, *, turn_id: str = "turn_with_an_underscore") -> Follower:
    return Follower(turn_id, clock.now_ms + number, f"{number:08x}")


async def _stays(ledger: TurnLedger, follower: Follower, context: RequestContext = ADA) -> bool:
    return await ledger.note_follower(follower, context=context)
