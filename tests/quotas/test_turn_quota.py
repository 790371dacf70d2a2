"""Turn quotas on both store engines: who may begin a turn, reserving and settling tokens, guests, the kill switch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambda_src.errors import QuotaError
from lambda_src.quotas.turn_limits import PROMPT_TOKENS, RESERVED_TOKENS
from lambda_src.quotas.turn_quota import GUEST_PER_MINUTE, PAUSED, SWITCH_S, Quotas
from lambda_src.store.counters import SHARDED_FROM, SHARDS, MemoryCounters, shards
from lambda_src.store.dynamodb import rows
from lambda_src.store.dynamodb.counters import SWITCH, TableCounters
from tests.quotas.engine import OF_GUESTS, QuotaEngine, admitted, begin_model_call, settings_with, turn_of
from tests.store.local import Local

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["messages_per_minute", "messages_per_day", "running_turns"])
async def test_of_200_concurrent_turns_a_limit_of_50_admits_exactly_50(quota_engine: QuotaEngine, name: str) -> None:
    quotas = quota_engine.quotas(**{name: 50})
    assert await admitted(quotas, *(turn_of("ann", number) for number in range(200))) == 50
    assert await admitted(quotas, turn_of("bob")) == 1


async def test_token_limits_of_a_user_and_of_the_stage_admit_exactly_what_fits(quota_engine: QuotaEngine) -> None:
    of_user = quota_engine.quotas(tokens_per_day=50 * RESERVED_TOKENS)
    assert await admitted(of_user, *(turn_of("ann", number) for number in range(200))) == 50
    of_stage = quota_engine.quotas(stage_tokens_per_day=50 * RESERVED_TOKENS)
    assert await admitted(of_stage, *(turn_of(f"u{number}") for number in range(200))) == 50


async def test_a_refusal_names_the_limit_and_when_to_retry(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(messages_per_minute=1)
    await quotas.admit(turn_of("ann"))
    with pytest.raises(QuotaError, match="minute") as caught:
        await quotas.admit(turn_of("ann", 1))
    assert caught.value.limit == "minute"
    quota_engine.local.later(caught.value.retry_after_s)
    await quotas.admit(turn_of("ann", 2))


async def test_token_limits_reset_at_midnight_utc(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=RESERVED_TOKENS)
    await quotas.admit(turn_of("ann"))
    with pytest.raises(QuotaError, match="midnight UTC") as caught:
        await quotas.admit(turn_of("ann", 1))
    quota_engine.local.later(caught.value.retry_after_s)
    await quotas.admit(turn_of("ann", 2))


async def test_a_turn_is_settled_with_its_actual_usage(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=2 * RESERVED_TOKENS)
    small, large = turn_of("ann"), turn_of("ann", 1)
    await quotas.admit(small)
    assert small.turn is not None
    small.turn.used(50, 50)
    await quotas.settle(small)
    await quotas.admit(large)  # 100 + 2,000 of 4,000
    assert large.turn is not None
    large.turn.used(5_000, 0)
    await quotas.settle(large)
    with pytest.raises(QuotaError, match="allowance"):
        await quotas.admit(turn_of("ann", 2))


@pytest.mark.parametrize(("used", "calls_model", "more"), [(None, True, 0), (100, True, 0), (None, False, 1)])
async def test_a_turn_without_usage_costs_its_reservation_and_one_without_model_calls_costs_nothing(
    quota_engine: QuotaEngine, used: int | None, calls_model: bool, more: int
) -> None:
    quotas = quota_engine.quotas(tokens_per_day=RESERVED_TOKENS)
    stopped = turn_of("ann")
    await quotas.admit(stopped)
    assert stopped.turn is not None
    stopped.turn.end_reason = "stopped"
    if calls_model:
        await begin_model_call(stopped, 0)
    if used is not None:
        stopped.turn.used(used, 0)
    await quotas.settle(stopped)
    assert await admitted(quotas, turn_of("ann", 1)) == more


async def test_a_turn_that_runs_past_midnight_is_settled_on_the_day_of_its_reservation(
    quota_engine: QuotaEngine,
) -> None:
    quotas = quota_engine.quotas(stage_tokens_per_day=20 * RESERVED_TOKENS)
    late = [turn_of(f"u{number}") for number in range(20)]
    assert await admitted(quotas, *late) == 20
    quota_engine.local.later(86_400)
    for context in late:
        await quotas.settle(context)
    assert await admitted(quotas, *(turn_of(f"v{number}") for number in range(30))) == 20


async def test_a_guests_ordinary_day_fits_into_the_shipped_limits(quota_engine: QuotaEngine) -> None:
    """20 messages of 60 tokens in one thread, with answers of 300 and instructions of 500."""
    stage = json.loads((ROOT / "cdk.json").read_text())["context"]["stages"]["dev"]
    guest = stage["auth"]["guest"]
    quotas = quota_engine.quotas(
        stage_tokens_per_day=stage["quotas"]["stage_tokens_per_day"],
        guest_messages_per_day=guest["messages_per_day"],
        guest_tokens_percent=guest["tokens_percent"],
    )
    for number in range(guest["messages_per_day"]):
        quota_engine.local.later(30)
        context = replace(turn_of("eve", number, guest=True), source="net-1")
        turn, counted = context.turn, 500 + min(number * 360, OF_GUESTS.history_tokens) + 60
        assert turn is not None
        turn.input_tokens = PROMPT_TOKENS + 3 * counted  # the highest estimate for prose: docs/reference/limits.md
        await quotas.admit(context)
        assert turn.meter is not None
        call = await turn.meter.begin(input_tokens=3 * counted, output_tokens=OF_GUESTS.output_tokens)
        turn.meter.end(call, counted + 300)
        await quotas.settle(context)
    with pytest.raises(QuotaError, match="day"):
        await quotas.admit(replace(turn_of("eve", 99, guest=True), source="net-1"))


async def test_a_retried_correction_is_applied_once() -> None:
    """When the response is lost, botocore retries with the same mark."""
    counters = TableCounters(Local().store().table)
    assert await counters.add("tokens", 100, ceiling=100)
    for _ in range(2):
        await counters.correct("tokens", -60, ceiling=100, mark="turn-1")
    assert await counters.add("tokens", 60, ceiling=100)
    assert not await counters.add("tokens", 1, ceiling=100)
    for number in range(2, 40):
        await counters.correct("tokens", -1, ceiling=100, mark=f"turn-{number}")
    assert await counters.add("tokens", 38, ceiling=100)


async def test_one_guest_gets_a_third_of_the_guests_share_and_one_network_two_thirds(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(
        stage_tokens_per_day=40 * RESERVED_TOKENS, guest_tokens_percent=50, guest_messages_per_day=0
    )
    admitted_turns = 0
    for number in range(60):  # five turns per minute
        quota_engine.local.later(20 if number % 5 == 0 else 0)
        turn = replace(turn_of("eve", number, guest=True), source="net-1")
        if await admitted(quotas, turn):
            await begin_model_call(turn, 0)
            await quotas.settle(turn)
            admitted_turns += 1
    assert admitted_turns == 6
    others = [replace(turn_of(f"g{number}", guest=True), source="net-1") for number in range(30)]
    assert await admitted(quotas, *others) == 7
    with pytest.raises(QuotaError, match="your network"):
        await quotas.admit(replace(turn_of("g99", guest=True), source="net-1"))
    elsewhere = [replace(turn_of(f"h{number}", guest=True), source=f"net-{number}") for number in range(2, 40)]
    assert await admitted(quotas, *elsewhere) == 7


async def test_guests_without_a_known_address_share_one_network(quota_engine: QuotaEngine) -> None:
    """This happens while the key for hashing addresses cannot be read: no fault lifts a limit."""
    quotas = quota_engine.quotas(stage_tokens_per_day=30 * RESERVED_TOKENS, guest_tokens_percent=100)
    unknown = [replace(turn_of(f"g{number}", guest=True), source="") for number in range(30)]
    assert await admitted(quotas, *unknown) == 20


async def test_an_ended_turn_makes_room_for_the_next(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(running_turns=1)
    first, second = turn_of("ann"), turn_of("ann", 1)
    await quotas.admit(first)
    assert await admitted(quotas, second) == 0
    await quotas.settle(first)
    assert await admitted(quotas, second) == 1


async def test_a_limit_on_running_turns_set_later_ignores_turns_that_ended(quota_engine: QuotaEngine) -> None:
    """Without such a limit, the end of a turn is not recorded."""
    unlimited = quota_engine.quotas(messages_per_day=100)
    for number in range(70):
        turn = turn_of("ann", number)
        await unlimited.admit(turn)
        await unlimited.settle(turn)
    limited = quota_engine.quotas(messages_per_day=100, running_turns=1)
    assert await admitted(limited, turn_of("ann", 70), turn_of("ann", 71)) == 1
    assert await admitted(quota_engine.quotas(messages_per_day=100), *(turn_of("ann", 80 + n) for n in range(40))) == 29


async def test_tokens_that_the_stage_refuses_are_given_back_to_the_user(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=RESERVED_TOKENS, stage_tokens_per_day=RESERVED_TOKENS, running_turns=1)
    bob = turn_of("bob")
    await quotas.admit(bob)
    with pytest.raises(QuotaError, match="The assistant"):
        await quotas.admit(turn_of("ann"))
    await quotas.settle(bob)
    assert await admitted(quotas, turn_of("ann", 1)) == 1


async def test_a_thousand_guests_cannot_spend_more_than_the_guests_share(quota_engine: QuotaEngine) -> None:
    stage = 40 * RESERVED_TOKENS
    quotas = quota_engine.quotas(stage_tokens_per_day=stage, guest_messages_per_day=20, guest_tokens_percent=30)
    guests = [turn_of(f"g{number}", guest=True) for number in range(1000)]
    assert await admitted(quotas, *guests) == 12
    assert await admitted(quotas, *(turn_of(f"u{number}") for number in range(100))) == 28


async def test_guests_with_a_share_of_100_percent_stay_within_the_stages_limit(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(stage_tokens_per_day=4 * RESERVED_TOKENS, guest_tokens_percent=100)
    assert await admitted(quotas, turn_of("ann")) == 1
    assert await admitted(quotas, *(turn_of(f"g{number}", guest=True) for number in range(9))) == 3


async def test_a_user_without_messages_left_reserves_no_stage_tokens(quota_engine: QuotaEngine) -> None:
    spent = quota_engine.quotas(messages_per_day=1, stage_tokens_per_day=9 * RESERVED_TOKENS)
    assert await admitted(spent, turn_of("ann")) == 1
    calls: list[str] = []

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(quota_engine.counters, name)

    settings = settings_with(messages_per_day=1, stage_tokens_per_day=9 * RESERVED_TOKENS)
    counters: Any = Recorded()
    recorded_quotas = Quotas(quota_engine.ledger, counters, settings, clock=lambda: quota_engine.local.now)
    assert await admitted(recorded_quotas, turn_of("ann", 1)) == 0
    assert calls == ["switched_off"]


async def test_the_kill_switch_is_cached_after_it_was_read(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas()
    await _switch(quota_engine, "Back at nine.")
    await quotas.look()
    await _switch(quota_engine, None)
    with pytest.raises(QuotaError, match="Back at nine"):
        await quotas.admit(turn_of("ann"))


async def test_guests_have_their_own_limits(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(messages_per_minute=100, guest_messages_per_day=7)
    for number in range(7):
        guest = turn_of("guest", number, guest=True)
        if number == GUEST_PER_MINUTE:
            assert await admitted(quotas, guest) == 0
            quota_engine.local.later(60)
        await quotas.admit(guest)
        assert await admitted(quotas, turn_of("guest", 90 + number, guest=True)) == 0  # one at a time
        await quotas.settle(guest)
    with pytest.raises(QuotaError, match="day"):
        await quotas.admit(turn_of("guest", 99, guest=True))


@pytest.mark.parametrize("text", ["Back at nine.", ""])
async def test_the_kill_switch_stops_new_turns_within_seconds_until_it_is_removed(
    quota_engine: QuotaEngine, text: str
) -> None:
    quotas = quota_engine.quotas()
    await quotas.admit(turn_of("ann"))
    await _switch(quota_engine, text)
    quota_engine.local.later(int(SWITCH_S))
    with pytest.raises(QuotaError, match=text or PAUSED):
        await quotas.admit(turn_of("ann", 1))
    await _switch(quota_engine, None)
    quota_engine.local.later(int(SWITCH_S))
    await quotas.admit(turn_of("ann", 2))


async def _switch(quota_engine: QuotaEngine, text: str | None) -> None:
    if isinstance(quota_engine.counters, MemoryCounters):
        quota_engine.counters.off = text
    elif text is None:
        await quota_engine.local.store().table.delete(SWITCH)
    else:
        await quota_engine.local.store().table.put(
            {"pk": rows.text(SWITCH[0]), "sk": rows.text(SWITCH[1]), "text": rows.text(text)}
        )


def test_shards_divide_a_ceiling_without_remainder() -> None:
    for ceiling in (0, 1, 999_999, SHARDED_FROM, SHARDED_FROM + 3):
        parts = shards(ceiling, start="x")
        assert sum(part for _, part in parts) == ceiling
        assert len(parts) == (SHARDS if ceiling >= SHARDED_FROM else 1)


# During a turn


async def test_a_turn_with_many_model_calls_ends_when_no_tokens_are_left(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=5 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    for steps in range(1, 5):
        await begin_model_call(turn, steps * RESERVED_TOKENS)
    with pytest.raises(QuotaError, match="midnight UTC") as caught:
        await begin_model_call(turn, 5 * RESERVED_TOKENS)
    assert caught.value.limit == "user_tokens"


async def test_tokens_reserved_during_a_turn_are_settled_at_its_end(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=10 * RESERVED_TOKENS, stage_tokens_per_day=20 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    await begin_model_call(turn, 3 * RESERVED_TOKENS)
    assert turn.turn is not None
    turn.turn.used(4 * RESERVED_TOKENS, 0)
    await quotas.settle(turn)
    assert await admitted(quotas, *(turn_of("ann", number) for number in range(1, 20))) == 6
    assert await admitted(quotas, *(turn_of(f"u{number}") for number in range(20))) == 10


async def test_tokens_the_stage_refuses_during_a_turn_are_not_charged_to_the_user(quota_engine: QuotaEngine) -> None:
    quotas = quota_engine.quotas(tokens_per_day=10 * RESERVED_TOKENS, stage_tokens_per_day=2 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    with pytest.raises(QuotaError, match="The assistant"):
        await begin_model_call(turn, 2 * RESERVED_TOKENS)
    await quotas.settle(turn)
    fresh = quota_engine.quotas(tokens_per_day=10 * RESERVED_TOKENS)
    assert await admitted(fresh, *(turn_of("ann", number) for number in range(1, 20))) == 10


async def test_without_token_limits_a_turn_has_no_meter(quota_engine: QuotaEngine) -> None:
    turn = turn_of("ann")
    await quota_engine.quotas(messages_per_day=5).admit(turn)
    assert turn.turn is not None
    assert turn.turn.meter is None
