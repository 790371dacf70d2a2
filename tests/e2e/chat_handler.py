"""The handler that the emulator runs in end-to-end tests: the deployed composition with a test agent."""

import asyncio
import os

from agents import Agent, RunConfig

from lambda_src.composition.app import Parts, build_handler
from lambda_src.models.demo_model import DemoModel
from lambda_src.models.providers import openai_run_config
from lambda_src.settings import Settings
from tests.apps.chat import known_by_name


async def pause(planned_s: float) -> None:
    """Wait between two words of the demo model: WORD_S if it is set."""
    await asyncio.sleep(float(os.environ.get("WORD_S", planned_s)))


def run_config() -> RunConfig:
    """The demo model, or the real client of the fake model API at MODEL_URL."""
    if (url := os.environ.get("MODEL_URL")) is not None:
        return openai_run_config("key", base_url=url)
    return RunConfig(model=DemoModel(sleep=pause), tracing_disabled=True)


handler = build_handler(
    Settings.from_env(os.environ),
    Parts(
        authenticate=known_by_name,
        build_agent=lambda: Agent(name="Test"),
        build_run_config=run_config,
    ),
)
