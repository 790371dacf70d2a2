"""The handler that the emulator runs in these tests: the deployed composition with the agent of the showcase."""

import os

from agents import RunConfig
from chatkit.types import AudioInput

from lambda_src.composition import build_handler
from lambda_src.dev import showcase
from lambda_src.settings import Settings
from tests.chat import known_by_name
from tests.surface.painter import DemoPainter


async def heard(audio: AudioInput) -> str:
    """Dictation that works: it tells how much it heard."""
    return f"{len(audio.data)} bytes"


handler = build_handler(
    Settings.from_env(os.environ),
    authenticate=known_by_name,
    build_agent=showcase.build_agent,
    build_actions=lambda: showcase.actions,
    build_run_config=lambda: RunConfig(model=DemoPainter(), tracing_disabled=True),
    transcribe=heard,
)
