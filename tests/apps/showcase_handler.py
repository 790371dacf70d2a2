"""Lambda handler for the emulator: the deployed composition with the showcase agent and a second assistant."""

import os
from typing import Any

from agents import Agent, RunConfig, function_tool
from chatkit.types import AudioInput

from lambda_src.composition.app import Parts, build_handler
from lambda_src.dev import showcase
from lambda_src.dev.showcase.chat import Chat
from lambda_src.models.transcription import Transcript
from lambda_src.runs.assistants import Assistant
from lambda_src.settings import Settings
from tests.apps.chat import known_by_name
from tests.fakes.image_model import DemoPainter


async def transcribe_size(audio: AudioInput) -> Transcript:
    """Fake dictation: returns the size of the audio."""
    return Transcript(f"{len(audio.data)} bytes")


@function_tool
def sell_socks(chat: Chat) -> str:
    """The second assistant's tool."""
    return f"sold to {chat.context.request_context.user.person}"


def build_shop() -> Agent[Any]:
    """Build the second assistant's agent."""
    return Agent(name="Shop", tools=[sell_socks])


handler = build_handler(
    Settings.from_env(os.environ),
    Parts(
        authenticate=known_by_name,
        build_agent=showcase.build_agent,
        build_actions=lambda: showcase.actions,
        load_assistants=lambda: {"": Assistant(showcase.build_agent), "shop": Assistant(build_shop)},
        build_run_config=lambda: RunConfig(model=DemoPainter(), tracing_disabled=True),
        transcribe=transcribe_size,
    ),
)
