"""The operators' clock on the strict engine, while operators and users change the same matter between its requests."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from lambda_src.store.dynamodb import DynamoDBStore
from tests.store.interleaved import HeldExecutor, interleave, schedules
from tests.store.local import Local
from tests.support.test_clock import ADA, WAIT_MINUTES, Support, Topic, take


def race_with_the_clock(
    schedule: list[int], support: Support, meanwhile: Callable[[DynamoDBStore], Awaitable[object]]
) -> list[int]:
    """Let the clock look while another process does something, request by request in the order of `schedule`."""
    looking, acting = HeldExecutor(), HeldExecutor()
    clock = support.clock_on(support.local.store(executor=looking))
    store = support.local.store(executor=acting)
    return asyncio.run(
        interleave(schedule, (looking, lambda: clock.look(stop=lambda: False)), (acting, lambda: meanwhile(store)))
    )


def test_an_operator_who_takes_a_thread_while_the_clock_looks_at_it_keeps_it_until_the_role_expires() -> None:
    def race(schedule: list[int]) -> list[int]:
        support = Support(Local(), Topic(is_down=True))
        asyncio.run(support.ask())
        support.topic.is_down = False
        support.local.later(WAIT_MINUTES * 60)

        async def taking(store: DynamoDBStore) -> None:
            row = await store.ledger.load_turn("thr_1", context=ADA)
            assert row is not None
            assert row.hold is not None
            until_ms = support.local.now // 10**6 + 300_000
            inbox = store.ledger.inbox()
            assert await inbox.pass_on("thr_1", row.hold, operator="olga", until_ms=until_ms, context=ADA)

        choices = race_with_the_clock(schedule, support, taking)

        async def looks() -> None:
            for minute in range(1, 6):
                assert await support.states() == ["taken"], (schedule, minute)
                support.local.later(60)
                await support.look()
            assert await support.states() == ["open"], schedule

        asyncio.run(looks())
        return choices

    assert len(list(schedules(race, limit=200))) > 10


def test_an_operator_who_writes_with_a_newer_token_while_the_clock_takes_the_thread_back_keeps_it() -> None:
    outcomes: set[tuple[bool, str]] = set()

    def race(schedule: list[int]) -> list[int]:
        support = Support(Local(), Topic())
        asyncio.run(support.ask())
        asyncio.run(take(support, until_s=120))
        support.local.later(1)
        asyncio.run(support.look())
        support.local.later(119)
        extended: list[bool] = []

        async def writing(store: DynamoDBStore) -> None:
            row = await store.ledger.load_turn("thr_1", context=ADA)
            assert row is not None
            if row.hold is not None and row.hold.operator == "olga":
                until_ms = support.local.now // 10**6 + 300_000
                passed = store.ledger.inbox().pass_on(
                    "thr_1", row.hold, operator="olga", until_ms=until_ms, context=ADA
                )
                extended.append(await passed)

        choices = race_with_the_clock(schedule, support, writing)
        [state] = asyncio.run(support.states())
        outcomes.add((extended == [True], state))
        return choices

    assert len(list(schedules(race, limit=200))) > 3
    assert outcomes == {(True, "taken"), (False, "open")}


@pytest.mark.parametrize("removal", ["delete", "erase"])
def test_a_thread_that_is_removed_while_the_clock_looks_leaves_nothing_in_the_inbox(removal: str) -> None:
    for seed in range(100):
        chance = random.Random(seed)
        support = Support(Local(), Topic())
        asyncio.run(support.ask())
        support.local.later(WAIT_MINUTES * 60)

        async def removing(store: DynamoDBStore) -> None:
            if removal == "delete":
                await store.delete_thread("thr_1", ADA)
                await store.sweep_thread("thr_1", ADA, stop=lambda: False)
            else:
                async for _ in store.erase_user(ADA):
                    pass

        race_with_the_clock([chance.randint(0, 1) for _ in range(60)], support, removing)
        asyncio.run(support.look())
        assert asyncio.run(support.states()) == [], seed
