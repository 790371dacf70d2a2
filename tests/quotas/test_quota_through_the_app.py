"""Turn quotas through the app: what is counted, in which order, and the answers of refused requests."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from agents import Model, Tool, Usage, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.context import RequestContext, User
from lambda_src.http.app import create_app
from lambda_src.quotas import token_estimate
from lambda_src.quotas.turn_limits import RESERVED_TOKENS
from lambda_src.quotas.turn_quota import Quotas
from lambda_src.runs import titles
from lambda_src.store import quota_windows
from lambda_src.store.counters import MemoryCounters
from lambda_src.store.memory.store import MemoryStore
from lambda_src.store.ports import TurnLedger
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import MAX_BODY_BYTES, Chat, known_by_name, message, served, server_with
from tests.quotas.engine import settings_with


class Recorder:
    """A ledger that records the names of its calls in order."""

    def __init__(self, ledger: TurnLedger) -> None:
        self._ledger, self.calls = ledger, list[str]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._ledger, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return method(*args, **kwargs)

        return recorded


@dataclass
class QuotaApp:
    """An app with quotas on a memory store."""

    store: MemoryStore
    recorder: Recorder
    counters: MemoryCounters
    chat: Chat


def app_with_quotas(
    *,
    model: Model | None = None,
    tools: Sequence[Tool] = (),
    suggest_title: titles.Suggest | None = None,
    **limits: int,
) -> QuotaApp:
    """Return an app with these limits."""
    store, counters = MemoryStore(), MemoryCounters()
    recorder: Any = Recorder(store.ledger)
    quotas = Quotas(recorder, counters, settings_with(**limits))
    turns = Turns(TurnServices(recorder, AnswerStore(store), quotas=quotas))
    server = server_with(store, model=model, tools=tools, suggest_title=suggest_title)
    fastapi_app = create_app(
        AssistantEndpoint(served(server), turns),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=MAX_BODY_BYTES,
    )
    return QuotaApp(store, recorder, counters, Chat(fastapi_app))


@pytest.mark.parametrize("running", [0, 2])
async def test_a_turn_claims_its_request_then_spends_quota_then_takes_the_lease(running: int) -> None:
    app = app_with_quotas(messages_per_day=5, running_turns=running)
    await app.chat("threads.create", input=message("hi"))
    assert app.recorder.calls[:3] == ["claim_request", "spend_quota", "take_lease"]
    assert ("end_quota" in app.recorder.calls) == (running > 0)


async def test_a_refused_message_is_a_429_and_stores_nothing() -> None:
    app = app_with_quotas(messages_per_day=1)
    created = await app.chat("threads.create", input=message("hi"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    app.recorder.calls.clear()
    refused = await app.chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert (refused.status, refused.json["error"]) == (429, "quota")
    assert 0 < int(refused.headers["retry-after"]) <= quota_windows.DAY_MS // 1000
    assert app.recorder.calls == ["claim_request", "spend_quota", "refuse_request"]
    items = await app.chat("items.list", thread_id=thread_id)
    assert len(items.json["data"]) == 2


async def test_a_refused_message_does_not_end_the_running_turn_of_its_thread() -> None:
    app = app_with_quotas(messages_per_day=1)
    created = await app.chat("threads.create", input=message("hi"))
    thread_id, ann = created.of("thread.created")[0]["thread"]["id"], RequestContext(User("ann"), "r")
    await app.store.ledger.take_lease(thread_id, "turn-that-runs", lease_ms=60_000, context=ann)
    refused = await app.chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert refused.status == 429
    held = await app.store.ledger.renew_lease(thread_id, "turn-that-runs", lease_ms=60_000, context=ann)
    assert held == "held"


async def test_a_hundred_duplicates_spend_one_message() -> None:
    app = app_with_quotas(messages_per_day=2)
    answers = await asyncio.gather(*(app.chat("threads.create", input=message("hi")) for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-chat-turn"] for answer in answers}) == 1
    assert app.recorder.calls.count("spend_quota") == 1
    assert (await app.chat("threads.create", input=message("another"))).status == 200


async def test_a_request_refused_for_another_reason_spends_nothing() -> None:
    app = app_with_quotas(messages_per_day=1)
    assert (await app.chat("threads.add_user_message", thread_id="thr_no", input=message("hi"))).status == 404
    assert "spend_quota" not in app.recorder.calls


async def test_one_users_refusal_does_not_affect_another_user() -> None:
    app = app_with_quotas(messages_per_day=1)
    assert (await app.chat("threads.create", input=message("hi"))).status == 200
    assert (await app.chat("threads.create", input=message("ho"))).status == 429
    assert (await app.chat.as_("bob")("threads.create", input=message("hi"))).status == 200


async def test_lists_and_reads_are_never_counted() -> None:
    app = app_with_quotas(messages_per_minute=1)
    for _ in range(5):
        assert (await app.chat("threads.list")).status == 200
    assert app.recorder.calls == []


def look_up(word: str) -> str:
    """The tool that the model calls."""
    return f"{word} is a word"


CALL_TOKENS = 10_000  # far more than the estimate of such a call


def greedy(steps: int) -> ScriptedModel:
    """Return a model that calls a tool `steps` times and reports CALL_TOKENS each time."""
    cost = Usage(requests=1, input_tokens=CALL_TOKENS - 10, output_tokens=10, total_tokens=CALL_TOKENS)
    script = [[function_call("look_up", {"word": str(n)}, call_id=f"c{n}")] for n in range(steps)]
    return ScriptedModel([*script, [assistant_message("done")]], default_usage=cost)


@pytest.mark.parametrize("stage", [False, True])
async def test_a_limit_reached_during_a_turn_is_a_notice_in_its_stream(stage: bool) -> None:
    ceiling = 2 * CALL_TOKENS + 5_000
    of_user, of_stage = (0, ceiling) if stage else (ceiling, 0)
    tools = [function_tool(look_up)]
    app = app_with_quotas(model=greedy(5), tools=tools, tokens_per_day=of_user, stage_tokens_per_day=of_stage)
    answer = await app.chat("threads.create", input=message("hi"))
    [notice] = answer.of("notice")
    assert answer.status == 200
    assert notice["level"] == "warning"
    assert "midnight UTC" in notice["message"]
    assert answer.of("error") == []
    assert app.counters.sums.total() == 3 * CALL_TOKENS
    assert (await app.chat("threads.create", input=message("more"))).status == 429


async def test_a_turn_below_its_limits_gets_no_notice_and_costs_what_it_used() -> None:
    app = app_with_quotas(model=greedy(2), tools=[function_tool(look_up)], tokens_per_day=100 * RESERVED_TOKENS)
    answer = await app.chat("threads.create", input=message("hi"))
    assert answer.of("notice") == []
    assert app.counters.sums.total() == 3 * CALL_TOKENS


async def test_the_tokens_of_a_title_are_counted() -> None:
    async def suggest(words: str, context: RequestContext) -> str:
        assert context.turn is not None
        context.turn.used(70, 7)
        return "Title"

    cost = Usage(requests=1, input_tokens=100, output_tokens=20, total_tokens=120)
    model = ScriptedModel([[assistant_message("hello")]], default_usage=cost)
    app = app_with_quotas(model=model, suggest_title=suggest, tokens_per_day=100 * RESERVED_TOKENS)
    await app.chat("threads.create", input=message("hi"))
    assert app.counters.sums.total() == 197


async def test_a_turn_without_usage_from_the_vendor_costs_its_reservation() -> None:
    """Some Chat Completions servers do not support `stream_options`."""
    model = ScriptedModel([[assistant_message("hello")]], default_usage=Usage(requests=1))
    app = app_with_quotas(model=model, tokens_per_day=100_000)
    assert (await app.chat("threads.create", input=message("hi"))).status == 200
    assert RESERVED_TOKENS < app.counters.sums.total() < 2 * RESERVED_TOKENS


async def test_an_ordinary_turn_reserves_once_and_settles_once() -> None:
    """A new thread also requests a title; the history of a long thread is reserved together with the message."""
    cost = Usage(requests=1, input_tokens=100, output_tokens=20, total_tokens=120)
    model = ScriptedModel([[assistant_message("word " * 300)]] * 8, default_usage=cost)
    app = app_with_quotas(model=model, stage_tokens_per_day=1_000_000)
    calls: list[tuple[str, int]] = []
    app.counters.add = recording(app.counters.add, calls, "add")  # type: ignore[method-assign]
    app.counters.correct = recording(app.counters.correct, calls, "correct")  # type: ignore[method-assign]
    created = await app.chat("threads.create", input=message("hi"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    for number in range(7):
        await app.chat("threads.add_user_message", thread_id=thread_id, input=message(f"word {number} " * 100))
    assert [name for name, _ in calls] == ["add", "correct"] * 8
    assert app.counters.sums.total() == 8 * 120


def recording(method: Callable[..., Any], calls: list[tuple[str, int]], name: str) -> Callable[..., Any]:
    def recorded(kind: str, amount: int, **more: Any) -> Any:
        calls.append((name, amount))
        return method(kind, amount, **more)

    return recorded


async def test_a_model_call_over_the_limit_is_never_sent() -> None:
    model = ScriptedModel([[assistant_message("hello")]])
    app = app_with_quotas(model=model, stage_tokens_per_day=10_000)
    refused = await app.chat("threads.create", input=message("x1 " * 3_000))
    assert (refused.status, refused.json["error"]) == (429, "quota")
    assert list(model.calls) == []
    assert app.counters.sums.total() == 0


async def test_an_interrupted_answer_costs_its_input_and_the_longest_possible_output() -> None:
    app = app_with_quotas(model=ScriptedModel([ZeroDivisionError("secret")]), stage_tokens_per_day=100_000)
    text = "word " * 1_000
    answer = await app.chat("threads.create", input=message(text))
    assert answer.of("error") != []
    assert token_estimate.at_most(text) + RESERVED_TOKENS < app.counters.sums.total() < 10_000


async def test_tool_descriptions_are_part_of_the_reservation() -> None:
    tool = function_tool(look_up, description_override="x" * 20_000)
    app = app_with_quotas(
        model=ScriptedModel([[assistant_message("hello")]]), tools=[tool], stage_tokens_per_day=12_000
    )
    answer = await app.chat("threads.create", input=message("hi"))
    assert [notice["title"] for notice in answer.of("notice")] == ["Stopped here"]
    assert app.counters.sums.total() == 0
