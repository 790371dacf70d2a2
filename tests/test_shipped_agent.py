"""The one thing that is asked of the folder agent/, whatever its owner made of it."""

from agents import Agent

from lambda_src.composition import run_config
from lambda_src.dispatcher import AgentDispatcher, shipped_agent


async def test_the_folder_agent_builds_an_agent() -> None:
    dispatcher = AgentDispatcher(shipped_agent, build_run_config=lambda: run_config(None))
    await dispatcher.ensure_initialized()
    assert isinstance(dispatcher.agent, Agent)
