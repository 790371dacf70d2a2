"""Prewarming: the whole chat path is walked before the first request; what fails there does not end the function."""

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

EVENTS = range(8, 13)  # thread, message, options, then what a tool call and five words make; words may be joined


def late(store: MemoryStore, built: list[str], dispatcher: AgentDispatcher | None = None) -> LazyChatServer:
    def load() -> Any:
        built.append("server")
        return server_with(store)

    prepare = (dispatcher or dispatching(built)).prepare
    return LazyChatServer(load, prepare, checks=Checks(store), store_requests=StoreRequests(store, store))


def dispatching(built: list[str], *, fails: bool = False) -> AgentDispatcher:
    def build_agent() -> Agent[Any]:
        if fails:
            raise ModuleNotFoundError("a package of the user's that is not there")
        built.append("agent")
        return Agent(name="Test")

    def build_run_config() -> RunConfig:
        built.append("key")
        return RunConfig()

    return AgentDispatcher(build_agent, build_run_config=build_run_config)


async def test_the_canned_turn_goes_the_whole_way() -> None:
    assert await prewarm.canned_turn() in EVENTS


async def test_the_server_and_the_users_agent_are_ready_but_no_key_was_read() -> None:
    built: list[str] = []
    await prewarm.prewarm(late(MemoryStore(), built))
    assert built == ["server", "agent"]


async def test_the_first_message_builds_no_second_agent() -> None:
    built: list[str] = []
    dispatcher = dispatching(built)
    await dispatcher.prepare()
    await dispatcher.ensure_initialized()
    assert built == ["agent", "key"]


async def test_an_agent_that_cannot_be_built_is_told_by_its_kind_and_met_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built: list[str] = []
    dispatcher = dispatching(built, fails=True)
    with caplog.at_level(logging.WARNING, "lambda_src.chat.prewarm"):
        await prewarm.prewarm(late(MemoryStore(), built, dispatcher))
    [record] = caplog.records
    assert (record.getMessage(), vars(record)["error_type"]) == ("prewarm_failed", "ModuleNotFoundError")
    with pytest.raises(ModuleNotFoundError):
        await dispatcher.ensure_initialized()


async def test_nothing_of_it_reaches_the_store_of_the_deployment() -> None:
    store = MemoryStore()
    await prewarm.prewarm(late(store, []))
    assert not [record async for record in store.export_user(prewarm.NOBODY)]


async def test_it_runs_when_the_app_starts_before_any_request() -> None:
    ran: list[str] = []

    async def prewarming() -> None:
        ran.append("prewarm")

    store = MemoryStore()
    app = create_app(
        AssistantEndpoint(served(server_with(store)), Turns(TurnServices(store.ledger, AnswerStore(store)))),
        authenticate=known_by_name,
        sweeps=store,
        max_body_bytes=1,
        prewarm=prewarming,
    )
    async with app.router.lifespan_context(app):
        assert ran == ["prewarm"]


def test_the_agents_sdk_builds_no_exporter_for_traces_that_nobody_asked_for() -> None:
    before = get_trace_provider()
    try:
        providers.trace_nothing()
        provider: Any = get_trace_provider()
        assert provider is not before
        assert not provider._multi_processor._processors
    finally:
        import agents

        agents.set_trace_provider(before)


def test_all_model_clients_share_one_reading_of_the_authorities() -> None:
    one, other = providers.openai_client("a"), providers.openai_client("b")
    pools = [client._client._transport._pool for client in (one, other)]  # type: ignore[attr-defined]
    assert pools[0]._ssl_context is pools[1]._ssl_context is providers.TRUSTED
