"""The user's choice of model and tool: allow lists, and turns without a message that keep the choice."""

from datetime import UTC, datetime
from typing import Any

import pytest
from agents import Agent, Model, ModelProvider, ModelSettings, RunConfig, function_tool
from agents.mcp import MCPServerStreamableHttp
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.agents import AgentContext
from chatkit.types import InferenceOptions, ThreadMetadata, ToolChoice

from lambda_src.context import RequestContext
from lambda_src.dev.showcase import actions, build_agent
from lambda_src.models.demo_model import DemoModel
from lambda_src.runs.run import with_choices
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import message, no_pause
from tests.apps.full import ANN, FullApp, full_app_without_files, thread_of
from tests.fakes.mcp_server import mcp_process

MODELS = ("small", "large")


class RecordingProvider(ModelProvider):
    """A model provider that records the requested model names."""

    def __init__(self, model: Model) -> None:
        self.model, self.requested = model, list[str | None]()

    def get_model(self, model_name: str | None) -> Model:
        self.requested.append(model_name)
        return self.model


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def choosing(text: str, **options: Any) -> dict[str, Any]:
    return {**message(text), "inference_options": options}


async def test_the_first_model_is_the_default_and_a_listed_one_can_be_chosen(full_app: FullApp) -> None:
    provider = RecordingProvider(DemoModel(sleep=no_pause))
    chat = full_app.chat(run_config=RunConfig(model_provider=provider, tracing_disabled=True), models=MODELS)
    await chat("threads.create", input=message("hi"))
    await chat("threads.create", input=choosing("hi there", model="large"))
    assert provider.requested == ["small", "large"]


async def test_the_choice_still_applies_after_a_client_tools_result(full_app: FullApp) -> None:
    provider = RecordingProvider(DemoModel(sleep=no_pause))
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    chat = full_app.chat(run_config=config, models=MODELS, agent=build_agent(), actions=actions)
    thread_id = thread_of(await chat("threads.create", input=choosing("read my clipboard", model="large")))
    await chat("threads.add_client_tool_output", thread_id=thread_id, result="text")
    assert provider.requested == ["large", "large"]


@pytest.mark.parametrize("model", ["huge", "", "x" * 5000], ids=["other", "empty", "long"])
async def test_a_model_that_is_not_listed_is_refused_before_anything_is_stored(full_app: FullApp, model: str) -> None:
    answer = await full_app.chat(models=MODELS)("threads.create", input=choosing("hi", model=model))
    assert (answer.status, "small, large" in answer.json["message"]) == (422, True)
    assert await full_app.stored_lines() == []


async def test_without_a_list_no_model_can_be_chosen(full_app: FullApp) -> None:
    answer = await full_app.chat()("threads.create", input=choosing("hi", model="large"))
    assert (answer.status, "nothing to choose" in answer.json["message"]) == (422, True)


@function_tool
def roll_dice() -> str:
    """Rolls a die."""
    return "four"


def choosing_tool(name: str) -> dict[str, Any]:
    return choosing("go", tool_choice={"id": name})


async def test_a_chosen_tool_must_be_called(full_app: FullApp) -> None:
    model = ScriptedModel([[assistant_message("rolled")]])
    chat = full_app.chat(model=model, tools=[roll_dice], tool_choices=["roll_dice"])
    await chat("threads.create", input=choosing_tool("roll_dice"))
    assert model.calls[0].model_settings.tool_choice == "roll_dice"


@pytest.mark.parametrize("offered", [[], ["another"]])
async def test_a_tool_that_is_not_offered_is_refused_before_anything_is_stored(
    full_app: FullApp, offered: list[str]
) -> None:
    chat = full_app.chat(tools=[roll_dice], tool_choices=offered)
    answer = await chat("threads.create", input=choosing_tool("roll_dice"))
    assert answer.status == 422
    assert (offered or ["nothing to choose"])[0] in answer.json["message"]
    assert await full_app.stored_lines() == []


async def test_an_offered_tool_that_the_agent_lacks_is_a_clear_error(full_app: FullApp) -> None:
    chat = full_app.chat(tools=[roll_dice], tool_choices=["gone"])
    answer = await chat("threads.create", input=choosing_tool("gone"))
    assert [error["message"] for error in answer.of("error")] == [
        "This assistant does not have the tool that was chosen."
    ]


async def test_a_tool_that_is_switched_off_for_this_user_cannot_be_choosing(full_app: FullApp) -> None:
    @function_tool(is_enabled=False)
    def secret_tool() -> str:
        """Not for everybody."""
        return "secret"

    chat = full_app.chat(tools=[secret_tool], tool_choices=["secret_tool"])
    answer = await chat("threads.create", input=choosing_tool("secret_tool"))
    assert len(answer.of("error")) == 1


async def test_a_tool_of_an_mcp_server_can_be_choosing(full_app: FullApp) -> None:
    async with mcp_process() as server:
        model = ScriptedModel([[function_call("count_socks", "{}", call_id="c")], [assistant_message("42")]])
        chat = full_app.chat(
            build_agent=lambda: Agent(name="Test", mcp_servers=[MCPServerStreamableHttp({"url": server.url})]),
            model=model,
            tool_choices=["count_socks"],
        )
        answer = await chat("threads.create", input=choosing_tool("count_socks"))
    assert answer.of("error") == []
    assert [call.model_settings.tool_choice for call in model.calls] == ["count_socks", None]


def in_a_thread() -> AgentContext[RequestContext]:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(tz=UTC))
    return AgentContext(thread=thread, store=MemoryStore(), request_context=ANN)


async def test_an_old_choice_that_is_no_longer_offered_falls_back_to_the_default() -> None:
    agent, config = await with_choices(
        InferenceOptions(model="gone"), Agent(name="A"), RunConfig(), models=MODELS, tools=(), context=in_a_thread()
    )
    assert (agent.name, config.model) == ("A", "small")


async def test_the_agents_other_settings_stay_when_a_tool_is_choosing() -> None:
    agent: Agent[Any] = Agent(name="A", tools=[roll_dice], model_settings=ModelSettings(temperature=0.5))
    options = InferenceOptions(tool_choice=ToolChoice(id="roll_dice"))
    chosen, _ = await with_choices(options, agent, RunConfig(), models=(), tools=["roll_dice"], context=in_a_thread())
    assert (chosen.model_settings.temperature, chosen.model_settings.tool_choice) == (0.5, "roll_dice")
    assert agent.model_settings.tool_choice is None
