"""The model and the tool that a user picked: an allow-list, and a choice that holds for turns without a message."""

from typing import Any

import pytest
from agents import Agent, Model, ModelProvider, ModelSettings, RunConfig, function_tool
from agents.testing import ScriptedModel, assistant_message
from chatkit.types import InferenceOptions, ToolChoice

from lambda_src.choices import applied
from lambda_src.demo_model import DemoModel
from lambda_src.dev.showcase import actions, build_agent
from tests.chat import message, no_pause
from tests.surface.house import House, house_without_files, thread_of

MODELS = ("small", "large")


class Named(ModelProvider):
    """Notes which model was asked for."""

    def __init__(self, model: Model) -> None:
        self.model, self.asked = model, list[str | None]()

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return self.model


@pytest.fixture
def house() -> House:
    return house_without_files()


def picked(text: str, **options: Any) -> dict[str, Any]:
    return {**message(text), "inference_options": options}


async def test_the_first_model_is_the_default_and_a_listed_one_may_be_picked(house: House) -> None:
    provider = Named(DemoModel(sleep=no_pause))
    chat = house.chat(run_config=RunConfig(model_provider=provider, tracing_disabled=True), models=MODELS)
    await chat("threads.create", input=message("hi"))
    await chat("threads.create", input=picked("hi there", model="large"))
    assert provider.asked == ["small", "large"]


async def test_the_choice_holds_when_a_client_tool_has_answered(house: House) -> None:
    provider = Named(DemoModel(sleep=no_pause))
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    chat = house.chat(run_config=config, models=MODELS, agent=build_agent(), actions=actions)
    thread_id = thread_of(await chat("threads.create", input=picked("read my clipboard", model="large")))
    await chat("threads.add_client_tool_output", thread_id=thread_id, result="text")
    assert provider.asked == ["large", "large"]


@pytest.mark.parametrize("model", ["huge", "", "x" * 5000], ids=["other", "empty", "long"])
async def test_a_model_that_is_not_allowed_is_refused_before_anything_is_kept(house: House, model: str) -> None:
    answer = await house.chat(models=MODELS)("threads.create", input=picked("hi", model=model))
    assert (answer.status, "small, large" in answer.json["message"]) == (422, True)
    assert await house.kept() == []


async def test_without_a_list_nothing_can_be_picked(house: House) -> None:
    answer = await house.chat()("threads.create", input=picked("hi", model="large"))
    assert (answer.status, "nothing to choose" in answer.json["message"]) == (422, True)


@function_tool
def roll_dice() -> str:
    """A throw."""
    return "four"


async def test_a_picked_tool_must_be_called_and_an_unknown_one_is_an_error_in_words(house: House) -> None:
    model = ScriptedModel([[assistant_message("rolled")]])
    chat = house.chat(model=model, tools=[roll_dice])
    await chat("threads.create", input=picked("go", tool_choice={"id": "roll_dice"}))
    assert model.calls[0].model_settings.tool_choice == "roll_dice"
    answer = await chat("threads.create", input=picked("go on", tool_choice={"id": "rm_rf"}))
    assert [error["message"] for error in answer.of("error")] == [
        "This assistant does not have the tool that was chosen."
    ]


def test_an_old_choice_that_is_no_longer_offered_gives_way_to_the_default() -> None:
    agent, config = applied(InferenceOptions(model="gone"), Agent(name="A"), RunConfig(), models=MODELS)
    assert (agent.name, config.model) == ("A", "small")


def test_the_agents_other_settings_stay_when_a_tool_is_picked() -> None:
    agent: Agent[Any] = Agent(name="A", tools=[roll_dice], model_settings=ModelSettings(temperature=0.5))
    chosen, _ = applied(InferenceOptions(tool_choice=ToolChoice(id="roll_dice")), agent, RunConfig(), models=())
    assert (chosen.model_settings.temperature, chosen.model_settings.tool_choice) == (0.5, "roll_dice")
    assert agent.model_settings.tool_choice is None
