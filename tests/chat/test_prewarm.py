"""Prewarming: a canned turn runs the whole chat path before the first request, and its failures are only logged."""

import logging
from typing import Any

import pytest
from agents import Agent, RunConfig
from agents.tracing import get_trace_provider

from lambda_src.chat import prewarm
from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.chat.registry import AssistantEndpoint
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.http.app import create_app
from lambda_src.models import providers
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import known_by_name, served, server_with

EVENTS = range(11, 16)  # thread, message, options, then those of a tool call and five words, which may be joined


def lazy_server(store: MemoryStore, built: list[str], dispatcher: AgentDispatcher | None = None) -> LazyChatServer:
    def load() -> Any:
        built.append("server")
        return server_with(store)

    prepare = (dispatcher or dispatching(built)).prepare
    return LazyChatServer(load, prepare, checks=Checks(store), store_requests=StoreRequests(store, store))


def dispatching(built: list[str], *, fails: bool = False) -> AgentDispatcher:
    def build_agent() -> Agent[Any]:
        if fails:
            raise ModuleNotFoundError("a missing package of the user's")
        built.append("agent")
        return Agent(name="Test")

    def build_run_config() -> RunConfig:
        built.append("key")
        return RunConfig()

    return AgentDispatcher(build_agent, build_run_config=build_run_config)


async def test_the_canned_turn_runs_to_its_end() -> None:
    assert await prewarm.canned_turn() in EVENTS


async def test_prewarming_builds_the_server_and_the_agent_but_reads_no_key() -> None:
    built: list[str] = []
    await prewarm.prewarm(lazy_server(MemoryStore(), built))
    assert built == ["server", "agent"]


async def test_the_first_message_reuses_the_prewarmed_agent() -> None:
    built: list[str] = []
    dispatcher = dispatching(built)
    await dispatcher.prepare()
    await dispatcher.ensure_initialized()
    assert built == ["agent", "key"]


async def test_an_agent_that_cannot_be_built_is_logged_by_type_and_fails_again_on_first_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built: list[str] = []
    dispatcher = dispatching(built, fails=True)
    with caplog.at_level(logging.WARNING, "lambda_src.chat.prewarm"):
        await prewarm.prewarm(lazy_server(MemoryStore(), built, dispatcher))
    [record] = caplog.records
    assert (record.getMessage(), vars(record)["error_type"]) == ("prewarm_failed", "ModuleNotFoundError")
    with pytest.raises(ModuleNotFoundError):
        await dispatcher.ensure_initialized()


async def test_prewarming_stores_nothing() -> None:
    store = MemoryStore()
    await prewarm.prewarm(lazy_server(store, []))
    assert not [record async for record in store.export_user(prewarm.NOBODY)]


async def test_prewarming_runs_at_startup_before_any_request() -> None:
    calls: list[str] = []

    async def prewarming() -> None:
        calls.append("prewarm")

    store = MemoryStore()
    app = create_app(
        AssistantEndpoint(served(server_with(store)), Turns(TurnServices(store.ledger, AnswerStore(store)))),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=1,
        prewarm=prewarming,
    )
    async with app.router.lifespan_context(app):
        assert calls == ["prewarm"]


def test_disabled_tracing_builds_no_trace_exporter() -> None:
    before = get_trace_provider()
    try:
        providers.trace_nothing()
        provider: Any = get_trace_provider()
        assert provider is not before
        assert not provider._multi_processor._processors
    finally:
        import agents

        agents.set_trace_provider(before)


def test_all_model_clients_share_one_ssl_context() -> None:
    clients = providers.openai_client("a"), providers.openai_client("b")
    pools = [client._client._transport._pool for client in clients]  # type: ignore[attr-defined]
    assert pools[0]._ssl_context is pools[1]._ssl_context is providers.TRUSTED
