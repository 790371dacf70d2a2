"""The agent dispatcher: builds the agent on first use, once, and again after a failure."""

import asyncio
from typing import Any

import pytest
from agents import Agent, RunConfig

from lambda_src.runs.dispatcher import AgentDispatcher, Provisional


async def test_the_agent_is_built_once_on_first_use() -> None:
    built: list[str] = []

    def build() -> Agent[Any]:
        built.append("agent")
        return Agent(name="Test")

    dispatcher = AgentDispatcher(build, build_run_config=RunConfig)
    assert built == []
    await asyncio.gather(*(dispatcher.ensure_initialized() for _ in range(20)))
    assert built == ["agent"]
    assert dispatcher.agent is dispatcher.agent


def test_the_error_for_a_missing_initialization_says_what_to_do() -> None:
    dispatcher = AgentDispatcher(lambda: Agent(name="Test"), build_run_config=RunConfig)
    with pytest.raises(RuntimeError, match="ensure_initialized"):
        _ = dispatcher.agent


async def test_a_failed_build_is_retried() -> None:
    answers: list[Agent[Any] | Exception] = [ImportError("no module named toolbox"), Agent(name="Test")]

    def build() -> Agent[Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    dispatcher = AgentDispatcher(build, build_run_config=RunConfig)
    with pytest.raises(ImportError):
        await dispatcher.ensure_initialized()
    await dispatcher.ensure_initialized()
    assert dispatcher.agent.name == "Test"


async def test_a_provisional_run_config_is_replaced_when_it_expires_and_the_agent_stays() -> None:
    now_s, final = [0.0], RunConfig()
    answers: list[RunConfig | Provisional] = [Provisional(RunConfig(), 30), final]
    dispatcher = AgentDispatcher(
        lambda: Agent(name="Test"), build_run_config=lambda: answers.pop(0), now=lambda: now_s[0]
    )
    await dispatcher.ensure_initialized()
    agent, first = dispatcher.agent, dispatcher.run_config
    now_s[0] = 29.9
    await dispatcher.ensure_initialized()
    assert dispatcher.run_config is first
    now_s[0] = 30.0
    await dispatcher.ensure_initialized()
    assert (dispatcher.run_config, dispatcher.agent) == (final, agent)
    now_s[0] = 1e9
    await dispatcher.ensure_initialized()  # would fail: there is no third answer
