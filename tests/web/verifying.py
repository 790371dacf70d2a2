"""The handler for tests with a certified provider: verifies tokens as a deployed stage does, with the demo model."""

import os

from agents import Agent, RunConfig

from lambda_src.composition.access import authenticator
from lambda_src.composition.app import Parts, build_handler
from lambda_src.models.demo_model import DemoModel
from lambda_src.settings import Settings

settings = Settings.from_env(os.environ)
handler = build_handler(
    settings,
    Parts(
        authenticate=authenticator(settings, None),
        build_agent=lambda: Agent(name="Demo"),
        build_run_config=lambda: RunConfig(model=DemoModel(), tracing_disabled=True),
    ),
)
