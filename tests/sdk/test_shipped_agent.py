"""The agent in lambda_src/agent, whatever its owner has changed: it must build."""

from agents import Agent, RunConfig

from lambda_src.runs.assistants import shipped_agent
from lambda_src.runs.dispatcher import AgentDispatcher


async def test_the_users_folder_builds_an_agent() -> None:
    dispatcher = AgentDispatcher(shipped_agent, build_run_config=RunConfig)
    await dispatcher.ensure_initialized()
    assert isinstance(dispatcher.agent, Agent)
