"""Model privacy: `store` and `safety_identifier` in the requests that a vendor receives."""

from typing import Any

import pytest
from agents import Agent, Model, ModelProvider, ModelResponse, ModelSettings, RunConfig, function_tool

from lambda_src.composition.app import run_config
from lambda_src.context import RequestContext, User
from lambda_src.models.demo_model import DemoModel, tool_call_of
from lambda_src.models.providers import is_openai, openai_run_config, private
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.runs.titles import by_model
from lambda_src.settings import ModelApi, Settings
from tests.apps.chat import message
from tests.apps.full import FullApp, full_app_without_files
from tests.fakes.model_api import numbered, scripted_api, sse
from tests.models.test_providers import text

REQUIRED = {"CHAT_TABLE": "t", "CHAT_AUTH_ISSUER": "https://i.test/", "CHAT_AUTH_AUDIENCE": "a"}


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def answered(words: str) -> bytes:
    """Return a Responses API answer with this text."""
    return sse(*(event.model_dump(mode="json") for event in numbered(words)))


def ended(*output: dict[str, Any]) -> bytes:
    """Return the last event of a Responses API answer, which contains the whole output."""
    done = numbered("")[-1].model_dump(mode="json")
    done["response"]["output"] = list(output)
    return sse(done)


def config_of(base_url: str | None, **settings: str) -> RunConfig:
    """Return the run config of a function with a model key and these settings."""
    parsed = Settings.from_env({**REQUIRED, **{f"CHAT_{name.upper()}": value for name, value in settings.items()}})
    object.__setattr__(parsed, "model_base_url", base_url)  # the setting requires https, which the fake lacks
    return run_config("key", parsed)


@pytest.mark.parametrize(("api", "answer"), [("responses", answered("one")), ("chat_completions", text("one"))])
async def test_the_vendor_is_told_to_store_nothing_and_gets_the_users_id(
    full_app: FullApp, api: ModelApi, answer: bytes
) -> None:
    async with scripted_api(answer) as (url, requests):
        config = config_of(url, model_api=api, model_privacy="true")
        await full_app.chat(run_config=config)("threads.create", input=message("hi"))
    [(_, body)] = requests
    assert body["store"] is False
    assert body["safety_identifier"] == "ann", "the user's id, which is a hash except in tests"


@pytest.mark.parametrize(("api", "answer"), [("responses", answered("one")), ("chat_completions", text("one"))])
async def test_other_vendors_do_not_get_these_fields(full_app: FullApp, api: ModelApi, answer: bytes) -> None:
    async with scripted_api(answer) as (url, requests):
        await full_app.chat(run_config=config_of(url, model_api=api))("threads.create", input=message("hi"))
    [(_, body)] = requests
    assert not {"store", "safety_identifier"} & set(body)


def test_openai_gets_these_fields_unless_a_setting_disables_them() -> None:
    def store(base_url: str | None, **settings: str) -> bool | None:
        chosen = config_of(base_url, **settings).model_settings
        return None if chosen is None else chosen.store

    assert store(None) is False
    assert store("https://eu.api.openai.com/v1") is False
    assert store(None, model_privacy="false") is None
    assert store("https://models.example.com/v1") is None
    assert not is_openai("https://api.openai.com.example.com/v1")


def test_the_limit_on_answers_is_kept() -> None:
    chosen = config_of(None, quotas='{"max_output_tokens": 100}').model_settings
    assert chosen is not None
    assert (chosen.store, chosen.max_tokens) == (False, 100)


@pytest.mark.parametrize("encrypted", [None, "gAAAA"])
async def test_reasoning_that_the_vendor_did_not_store_is_not_referenced(
    full_app: FullApp, encrypted: str | None
) -> None:
    @function_tool
    def roll_dice() -> str:
        """Rolls a die."""
        return "four"

    reasoning: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted}
    call = tool_call_of("roll_dice").model_dump(mode="json")
    async with scripted_api(ended(reasoning, call), answered("four")) as (url, requests):
        config = private(openai_run_config("key", base_url=url))
        await full_app.chat(run_config=config, tools=[roll_dice])("threads.create", input=message("roll"))
    sent_back = [item.get("type") for item in requests[1][1]["input"]]
    assert sent_back[-2:] == ["function_call", "function_call_output"]
    assert ("reasoning" in sent_back) is (encrypted is not None)
    assert requests[1][1]["store"] is False


async def test_the_agents_own_extra_arguments_are_kept(full_app: FullApp) -> None:
    agent = Agent[Any](name="A", model_settings=ModelSettings(extra_args={"service_tier": "flex"}, temperature=0.5))
    async with scripted_api(answered("one")) as (url, requests):
        config = private(openai_run_config("key", base_url=url))
        await full_app.chat(run_config=config, agent=agent)("threads.create", input=message("hi"))
    [(_, body)] = requests
    assert (body["service_tier"], body["temperature"], body["safety_identifier"]) == ("flex", 0.5, "ann")


class Recording(DemoModel):
    """The demo model; records the settings of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[ModelSettings] = []

    async def get_response(self, *args: Any, **more: Any) -> ModelResponse:
        """Answer without streaming."""
        self.settings.append(more["model_settings"])
        return await super().get_response(*args, **more)


async def test_titles_are_requested_with_the_same_fields() -> None:
    model = Recording()

    class Provider(ModelProvider):
        def get_model(self, model_name: str | None) -> Model:
            """Return the only model."""
            return model

    config = private(RunConfig(model_provider=Provider(), tracing_disabled=True))
    dispatcher = AgentDispatcher(lambda: Agent[Any](name="A"), build_run_config=lambda: config)
    await dispatcher.ensure_initialized()
    await by_model(dispatcher)("hello", RequestContext(User(id="f00d"), "r"))
    [used] = model.settings
    assert (used.store, used.extra_args) == (False, {"safety_identifier": "f00d"})
