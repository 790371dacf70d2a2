"""LiteLLM instead of our own model client, against the wire-level fake; run with `make test-litellm`."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise the library downloads prices from GitHub on import

from agents import Agent, RunConfig, function_tool
from agents.extensions.models.litellm_model import LitellmModel

from tests.apps.chat import message
from tests.apps.full import full_app_without_files, items_of, thread_of
from tests.fakes.model_api import scripted_api
from tests.models.test_providers import text, tool_call


@function_tool
def roll_dice() -> str:
    """Rolls a die."""
    return "four"


async def test_a_tool_is_called_and_two_answers_with_the_same_id_stay_separate() -> None:
    async with scripted_api(tool_call("roll_dice"), text("one two"), text("three")) as (url, requests):
        model = LitellmModel(model="openai/m", base_url=url, api_key="k")
        agent = Agent(name="Test", tools=[roll_dice], model=model)
        chat = full_app_without_files().chat(agent=agent, run_config=RunConfig(tracing_disabled=True))
        first = await chat("threads.create", input=message("roll"))
        second = await chat("threads.add_user_message", thread_id=thread_of(first), input=message("more"))
    assert [items_of(answer)[-1]["content"][0]["text"].strip() for answer in (first, second)] == ["one two", "three"]
    assert items_of(first)[-1]["id"] != items_of(second)[-1]["id"]
    assert len(requests) == 3
