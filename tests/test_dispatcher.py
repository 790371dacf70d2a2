"""The dispatcher: built on first use, once, and again after a failure."""

import asyncio
from typing import Any

import pytest
from agents import Agent, RunConfig

from lambda_src.dispatcher import AgentDispatcher


async def test_nothing_is_built_before_it_is_needed_and_then_once_for_all() -> None:
    built: list[str] = []

    def build() -> Agent[Any]:
        built.append("agent")
        return Agent(name="Test")

    dispatcher = AgentDispatcher(build, build_run_config=RunConfig)
    assert built == []
    await asyncio.gather(*(dispatcher.ensure_initialized() for _ in range(20)))
    assert built == ["agent"]
    assert dispatcher.agent is dispatcher.agent


def test_using_it_unbuilt_says_what_to_do() -> None:
    dispatcher = AgentDispatcher(lambda: Agent(name="Test"), build_run_config=RunConfig)
    with pytest.raises(RuntimeError, match="ensure_initialized"):
        _ = dispatcher.agent


async def test_a_failed_building_is_tried_anew() -> None:
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
