"""Quotas: who may begin a turn, in which order it is asked, and what is spent by whom, on both ledgers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from agents import Model, Tool, Usage, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from lambda_src import titles
from lambda_src.app import create_app
from lambda_src.context import RequestContext, User
from lambda_src.counters import SHARDED_FROM, SHARDS, MemoryCounters, shards
from lambda_src.errors import QuotaError, UnavailableError
from lambda_src.quotas import GUEST_PER_MINUTE, PAUSED, RESERVED_TOKENS, SWITCH_S, Allowance, Quotas
from lambda_src.store import quota
from lambda_src.store.dynamodb import rows
from lambda_src.store.memory import MemoryStore
from lambda_src.store.ports import TurnLedger
from lambda_src.table_counters import SWITCH
from lambda_src.turns.keeping import Keeper
from lambda_src.turns.running import Surroundings
from lambda_src.turns.turns import Turns
from tests.chat import MAX_BODY_BYTES, Chat, known_by_name, message, server_with
from tests.front_door.ground import Ground, turn_of


async def admitted(quotas: Quotas, *contexts: RequestContext) -> int:
    """How many of them may begin, asked all at once."""
    results = await asyncio.gather(*(quotas.admit(context) for context in contexts), return_exceptions=True)
    assert all(result is None or isinstance(result, QuotaError) for result in results), results
    return results.count(None)


@pytest.mark.parametrize("name", ["messages_per_minute", "messages_per_day", "running"])
async def test_of_200_at_once_a_limit_of_50_admits_exactly_50(ground: Ground, name: str) -> None:
    quotas = ground.quotas(**{name: 50})
    assert await admitted(quotas, *(turn_of("ann", number) for number in range(200))) == 50
    assert await admitted(quotas, turn_of("bob")) == 1


async def test_tokens_of_a_user_and_of_the_stage_admit_exactly_what_fits(ground: Ground) -> None:
    of_user = ground.quotas(tokens_per_day=50 * RESERVED_TOKENS)
    assert await admitted(of_user, *(turn_of("ann", number) for number in range(200))) == 50
    of_stage = ground.quotas(stage_tokens_per_day=50 * RESERVED_TOKENS)
    assert await admitted(of_stage, *(turn_of(f"u{number}") for number in range(200))) == 50


async def test_a_refusal_says_which_limit_and_when_to_come_again(ground: Ground) -> None:
    quotas = ground.quotas(messages_per_minute=1)
    await quotas.admit(turn_of("ann"))
    with pytest.raises(QuotaError, match="minute") as caught:
        await quotas.admit(turn_of("ann", 1))
    assert caught.value.limit == "minute"
    ground.local.later(caught.value.retry_after_s)
    await quotas.admit(turn_of("ann", 2))


async def test_tokens_come_back_at_midnight_utc(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=RESERVED_TOKENS)
    await quotas.admit(turn_of("ann"))
    with pytest.raises(QuotaError, match="midnight UTC") as caught:
        await quotas.admit(turn_of("ann", 1))
    ground.local.later(caught.value.retry_after_s)
    await quotas.admit(turn_of("ann", 2))


async def test_a_turn_is_settled_with_what_it_really_used(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=2 * RESERVED_TOKENS)
    small, large = turn_of("ann"), turn_of("ann", 1)
    await quotas.admit(small)
    assert small.turn is not None
    small.turn.used(50, 50)
    await quotas.settle(small, ran=True)
    await quotas.admit(large)  # 100 + 2,000 of 4,000
    assert large.turn is not None
    large.turn.used(5_000, 0)
    await quotas.settle(large, ran=True)
    with pytest.raises(QuotaError, match="allowance"):
        await quotas.admit(turn_of("ann", 2))


@pytest.mark.parametrize(("used", "ran", "more"), [(None, True, 0), (100, True, 0), (None, False, 1)])
async def test_what_nobody_counted_costs_what_was_reserved_and_what_never_ran_costs_nothing(
    ground: Ground, used: int | None, ran: bool, more: int
) -> None:
    quotas = ground.quotas(tokens_per_day=RESERVED_TOKENS)
    cut = turn_of("ann")
    await quotas.admit(cut)
    assert cut.turn is not None
    cut.turn.end_reason = "stopped"
    if used is not None:
        cut.turn.used(used, 0)
    await quotas.settle(cut, ran=ran)
    assert await admitted(quotas, turn_of("ann", 1)) == more


async def test_a_turn_that_ended_makes_room_for_the_next(ground: Ground) -> None:
    quotas = ground.quotas(running=1)
    first, second = turn_of("ann"), turn_of("ann", 1)
    await quotas.admit(first)
    assert await admitted(quotas, second) == 0
    await quotas.settle(first, ran=True)
    assert await admitted(quotas, second) == 1


async def test_what_the_stage_refuses_is_given_back_to_the_user(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=RESERVED_TOKENS, stage_tokens_per_day=RESERVED_TOKENS, running=1)
    bob = turn_of("bob")
    await quotas.admit(bob)
    with pytest.raises(QuotaError, match="The assistant"):
        await quotas.admit(turn_of("ann"))
    await quotas.settle(bob, ran=False)
    assert await admitted(quotas, turn_of("ann", 1)) == 1


async def test_a_thousand_guests_cannot_spend_more_than_the_guests_share(ground: Ground) -> None:
    stage = 40 * RESERVED_TOKENS
    quotas = ground.quotas(stage_tokens_per_day=stage, guest_messages_per_day=20, guest_tokens_percent=30)
    guests = [turn_of(f"g{number}", guest=True) for number in range(1000)]
    assert await admitted(quotas, *guests) == 12
    assert await admitted(quotas, *(turn_of(f"u{number}") for number in range(100))) == 28


async def test_a_guest_has_limits_of_its_own(ground: Ground) -> None:
    quotas = ground.quotas(messages_per_minute=100, guest_messages_per_day=7)
    for number in range(7):
        guest = turn_of("guest", number, guest=True)
        if number == GUEST_PER_MINUTE:
            assert await admitted(quotas, guest) == 0
            ground.local.later(60)
        await quotas.admit(guest)
        assert await admitted(quotas, turn_of("guest", 90 + number, guest=True)) == 0  # one at a time
        await quotas.settle(guest, ran=True)
    with pytest.raises(QuotaError, match="day"):
        await quotas.admit(turn_of("guest", 99, guest=True))


@pytest.mark.parametrize("text", ["Back at nine.", ""])
async def test_the_switch_stops_new_turns_within_seconds_and_lets_them_go_on(ground: Ground, text: str) -> None:
    quotas = ground.quotas()
    await quotas.admit(turn_of("ann"))
    await _switch(ground, text)
    ground.now_s += SWITCH_S
    with pytest.raises(QuotaError, match=text or PAUSED):
        await quotas.admit(turn_of("ann", 1))
    await _switch(ground, None)
    ground.now_s += SWITCH_S
    await quotas.admit(turn_of("ann", 2))


async def _switch(ground: Ground, text: str | None) -> None:
    if isinstance(ground.counters, MemoryCounters):
        ground.counters.off = text
    elif text is None:
        await ground.local.store().table.delete(SWITCH)
    else:
        await ground.local.store().table.put(
            {"pk": rows.text(SWITCH[0]), "sk": rows.text(SWITCH[1]), "text": rows.text(text)}
        )


def test_shards_share_a_ceiling_without_a_rest() -> None:
    for ceiling in (0, 1, 999_999, SHARDED_FROM, SHARDED_FROM + 3):
        parts = shards(ceiling, start="x")
        assert sum(part for _, part in parts) == ceiling
        assert len(parts) == (SHARDS if ceiling >= SHARDED_FROM else 1)


# When counting fails


class Fault:
    """At write number `at` of all that are watched: refused once (UnavailableError), or kept waiting for ever."""

    def __init__(self, at: int, *, waits: bool) -> None:
        self._left, self.waits = at, waits
        self.struck = asyncio.Event()

    def watch(self, engine: object) -> Any:
        """The same engine, whose additions go by here."""
        return Watched(engine, self)

    async def pass_by(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.struck.set()
            if self.waits:
                await asyncio.Event().wait()
            raise UnavailableError("Too much at once.")


class Watched:
    """An engine whose writes `spend_quota` and `add` may strike a fault."""

    def __init__(self, engine: object, fault: Fault) -> None:
        self._engine, self._fault = engine, fault

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        if name not in ("spend_quota", "add"):
            return method

        async def watched(*args: Any, **kwargs: Any) -> Any:
            await self._fault.pass_by()
            return await method(*args, **kwargs)

        return watched


async def struck_by(fault: Fault, work: Awaitable[None]) -> None:
    """Do it until the fault; where that waits, cancel it there."""
    task = asyncio.ensure_future(work)
    await fault.struck.wait()
    if fault.waits:
        task.cancel()
    with pytest.raises((UnavailableError, asyncio.CancelledError)):
        await task


ONE_OF_EACH = {
    "guest_messages_per_day": 20,
    "tokens_per_day": RESERVED_TOKENS,
    "stage_tokens_per_day": RESERVED_TOKENS,
    "guest_tokens_percent": 100,
}


@pytest.mark.parametrize("waits", [False, True], ids=["fails", "is cancelled"])
@pytest.mark.parametrize("at", range(1, 5), ids=["message", "user", "guests", "stage"])
async def test_an_admission_that_dies_at_any_write_has_spent_nothing(ground: Ground, at: int, waits: bool) -> None:
    fault = Fault(at, waits=waits)
    faulty = Quotas(
        fault.watch(ground.ledger),
        fault.watch(ground.counters),
        Allowance(**ONE_OF_EACH),
        clock=lambda: ground.local.now,
        now=lambda: ground.now_s,
    )
    await struck_by(fault, faulty.admit(turn_of("ann", guest=True)))
    assert await admitted(faulty, turn_of("ann", 1, guest=True), turn_of("ann", 2, guest=True)) == 1


@pytest.mark.parametrize("waits", [False, True], ids=["fails", "is cancelled"])
@pytest.mark.parametrize("at", range(1, 3), ids=["user", "stage"])
async def test_a_turn_that_cannot_reserve_more_has_reserved_nothing_more(ground: Ground, at: int, waits: bool) -> None:
    fault = Fault(at + 2, waits=waits)
    faulty = Quotas(
        ground.ledger,
        fault.watch(ground.counters),
        Allowance(tokens_per_day=2 * RESERVED_TOKENS, stage_tokens_per_day=2 * RESERVED_TOKENS),
        clock=lambda: ground.local.now,
        now=lambda: ground.now_s,
    )
    turn = turn_of("ann")
    await faulty.admit(turn)
    await struck_by(fault, asks_again(turn, RESERVED_TOKENS))
    await asks_again(turn, RESERVED_TOKENS)
    with pytest.raises(QuotaError):
        await asks_again(turn, RESERVED_TOKENS + 1)


# In the middle of a turn


def asks_again(context: RequestContext, used: int) -> Awaitable[None]:
    """The turn has used so many tokens, and is about to ask its model once more."""
    assert context.turn is not None
    assert context.turn.more is not None
    return context.turn.more(used)


async def test_a_turn_that_asks_again_and_again_ends_when_nothing_is_left(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=5 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    for steps in range(1, 5):
        await asks_again(turn, steps * RESERVED_TOKENS)
    with pytest.raises(QuotaError, match="midnight UTC") as caught:
        await asks_again(turn, 5 * RESERVED_TOKENS)
    assert caught.value.limit == "user_tokens"


async def test_what_was_reserved_on_the_way_is_settled_at_the_end(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=10 * RESERVED_TOKENS, stage_tokens_per_day=20 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    await asks_again(turn, 3 * RESERVED_TOKENS)
    assert turn.turn is not None
    turn.turn.used(4 * RESERVED_TOKENS, 0)
    await quotas.settle(turn, ran=True)
    assert await admitted(quotas, *(turn_of("ann", number) for number in range(1, 20))) == 6
    assert await admitted(quotas, *(turn_of(f"u{number}") for number in range(20))) == 10


async def test_what_the_stage_refuses_on_the_way_the_user_has_not_spent(ground: Ground) -> None:
    quotas = ground.quotas(tokens_per_day=10 * RESERVED_TOKENS, stage_tokens_per_day=2 * RESERVED_TOKENS)
    turn = turn_of("ann")
    await quotas.admit(turn)
    with pytest.raises(QuotaError, match="The assistant"):
        await asks_again(turn, 2 * RESERVED_TOKENS)
    await quotas.settle(turn, ran=False)
    fresh = ground.quotas(tokens_per_day=10 * RESERVED_TOKENS)
    assert await admitted(fresh, *(turn_of("ann", number) for number in range(1, 20))) == 10


async def test_where_nobody_counts_tokens_no_turn_asks(ground: Ground) -> None:
    turn = turn_of("ann")
    await ground.quotas(messages_per_day=5).admit(turn)
    assert turn.turn is not None
    assert turn.turn.more is None


# Through the app


class Recorder:
    """A ledger that writes down what it is asked, in order."""

    def __init__(self, ledger: TurnLedger) -> None:
        self._ledger, self.calls = ledger, list[str]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._ledger, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return method(*args, **kwargs)

        return recorded


@dataclass
class Room:
    """The app with quotas on a memory store."""

    store: MemoryStore
    recorder: Recorder
    counters: MemoryCounters
    chat: Chat


def room(
    *,
    model: Model | None = None,
    tools: Sequence[Tool] = (),
    suggest_title: titles.Suggest | None = None,
    **allowance: int,
) -> Room:
    """An app whose users may spend that much."""
    store, counters = MemoryStore(), MemoryCounters()
    recorder: Any = Recorder(store.ledger)
    quotas = Quotas(recorder, counters, Allowance(**allowance))
    turns = Turns(Surroundings(recorder, Keeper(store), quotas=quotas))
    server = server_with(store, model=model, tools=tools, suggest_title=suggest_title)
    app = create_app(server, turns, authenticate=known_by_name, sweeps=store, max_body_bytes=MAX_BODY_BYTES)
    return Room(store, recorder, counters, Chat(app))


async def test_a_turns_calls_come_in_the_order_guard_quota_lease() -> None:
    here = room(messages_per_day=5)
    await here.chat("threads.create", input=message("hi"))
    assert here.recorder.calls[:3] == ["claim_request", "spend_quota", "take_lease"]
    assert "end_quota" in here.recorder.calls


async def test_a_refused_message_is_a_429_before_the_stream_and_leaves_no_trace() -> None:
    here = room(messages_per_day=1)
    created = await here.chat("threads.create", input=message("hi"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    here.recorder.calls.clear()
    refused = await here.chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert (refused.status, refused.json["error"]) == (429, "quota")
    assert 0 < int(refused.headers["retry-after"]) <= quota.DAY_MS // 1000
    assert here.recorder.calls == ["claim_request", "spend_quota", "refuse_request"]
    items = await here.chat("items.list", thread_id=thread_id)
    assert len(items.json["data"]) == 2


async def test_a_refused_message_does_not_end_the_turn_that_runs_in_its_thread() -> None:
    here = room(messages_per_day=1)
    created = await here.chat("threads.create", input=message("hi"))
    thread_id, ann = created.of("thread.created")[0]["thread"]["id"], RequestContext(User("ann"), "r")
    await here.store.ledger.take_lease(thread_id, "turn-that-runs", lease_ms=60_000, context=ann)
    refused = await here.chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert refused.status == 429
    held = await here.store.ledger.renew_lease(thread_id, "turn-that-runs", lease_ms=60_000, context=ann)
    assert held == "held"


async def test_a_hundred_duplicates_spend_one() -> None:
    here = room(messages_per_day=2)
    answers = await asyncio.gather(*(here.chat("threads.create", input=message("hi")) for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-chat-turn"] for answer in answers}) == 1
    assert here.recorder.calls.count("spend_quota") == 1
    assert (await here.chat("threads.create", input=message("another"))).status == 200


async def test_a_request_that_is_refused_for_another_reason_spends_nothing() -> None:
    here = room(messages_per_day=1)
    assert (await here.chat("threads.add_user_message", thread_id="thr_no", input=message("hi"))).status == 404
    assert "spend_quota" not in here.recorder.calls


async def test_one_users_refusal_neither_stops_nor_charges_another() -> None:
    here = room(messages_per_day=1)
    assert (await here.chat("threads.create", input=message("hi"))).status == 200
    assert (await here.chat("threads.create", input=message("ho"))).status == 429
    assert (await here.chat.as_("bob")("threads.create", input=message("hi"))).status == 200


async def test_lists_and_reads_are_never_counted() -> None:
    here = room(messages_per_minute=1)
    for _ in range(5):
        assert (await here.chat("threads.list")).status == 200
    assert here.recorder.calls == []


def look_up(word: str) -> str:
    """A tool that the model asks for."""
    return f"{word} is a word"


def greedy(steps: int) -> ScriptedModel:
    """A model that asks for a tool again and again, and says each time that it used RESERVED_TOKENS."""
    cost = Usage(requests=1, input_tokens=RESERVED_TOKENS - 10, output_tokens=10, total_tokens=RESERVED_TOKENS)
    script = [[function_call("look_up", {"word": str(n)}, call_id=f"c{n}")] for n in range(steps)]
    return ScriptedModel([*script, [assistant_message("done")]], default_usage=cost)


@pytest.mark.parametrize("stage", [False, True])
async def test_a_limit_that_strikes_during_a_turn_is_told_in_its_stream(stage: bool) -> None:
    of_user, of_stage = (0, 3 * RESERVED_TOKENS) if stage else (3 * RESERVED_TOKENS, 0)
    tools = [function_tool(look_up)]
    here = room(model=greedy(5), tools=tools, tokens_per_day=of_user, stage_tokens_per_day=of_stage)
    answer = await here.chat("threads.create", input=message("hi"))
    [notice] = answer.of("notice")
    assert answer.status == 200
    assert notice["level"] == "warning"
    assert "midnight UTC" in notice["message"]
    assert answer.of("error") == []
    assert here.counters.sums.total() == 3 * RESERVED_TOKENS
    assert (await here.chat("threads.create", input=message("more"))).status == 429


async def test_a_turn_that_stays_below_is_told_nothing_and_costs_what_it_used() -> None:
    here = room(model=greedy(2), tools=[function_tool(look_up)], tokens_per_day=100 * RESERVED_TOKENS)
    answer = await here.chat("threads.create", input=message("hi"))
    assert answer.of("notice") == []
    assert here.counters.sums.total() == 3 * RESERVED_TOKENS


async def test_what_a_title_costs_is_counted_too() -> None:
    async def suggest(words: str, used: titles.Used) -> str:
        used(70, 7)
        return "Title"

    cost = Usage(requests=1, input_tokens=100, output_tokens=20, total_tokens=120)
    model = ScriptedModel([[assistant_message("hello")]], default_usage=cost)
    here = room(model=model, suggest_title=suggest, tokens_per_day=100 * RESERVED_TOKENS)
    await here.chat("threads.create", input=message("hi"))
    assert here.counters.sums.total() == 197
