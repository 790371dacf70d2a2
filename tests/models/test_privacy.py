"""What a vendor is asked to keep, and what it learns of a user: `store` and `safety_identifier`, seen on the wire."""

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
    """An answer of the Responses API."""
    return sse(*(event.model_dump(mode="json") for event in numbered(words)))


def ended(*output: dict[str, Any]) -> bytes:
    """The last event of an answer of the Responses API, which has all of it."""
    done = numbered("")[-1].model_dump(mode="json")
    done["response"]["output"] = list(output)
    return sse(done)


def config_of(base_url: str | None, **settings: str) -> RunConfig:
    """The run config of a function with a key and these settings."""
    found = Settings.from_env({**REQUIRED, **{f"CHAT_{name.upper()}": value for name, value in settings.items()}})
    object.__setattr__(found, "model_base_url", base_url)  # a setting takes https only, and the fake has none
    return run_config("key", found)


@pytest.mark.parametrize(("api", "answer"), [("responses", answered("one")), ("chat_completions", text("one"))])
async def test_a_vendor_is_asked_to_keep_nothing_and_told_the_user_as_a_hash(
    full_app: FullApp, api: ModelApi, answer: bytes
) -> None:
    async with scripted_api(answer) as (url, requests):
        config = config_of(url, model_api=api, model_privacy="true")
        await full_app.chat(run_config=config)("threads.create", input=message("hi"))
    [(_, asked)] = requests
    assert asked["store"] is False
    assert asked["safety_identifier"] == "ann", "the user's id, which is a hash wherever people sign in"


@pytest.mark.parametrize(("api", "answer"), [("responses", answered("one")), ("chat_completions", text("one"))])
async def test_a_vendor_that_may_refuse_such_fields_does_not_get_them(
    full_app: FullApp, api: ModelApi, answer: bytes
) -> None:
    async with scripted_api(answer) as (url, requests):
        await full_app.chat(run_config=config_of(url, model_api=api))("threads.create", input=message("hi"))
    [(_, asked)] = requests
    assert not {"store", "safety_identifier"} & set(asked)


def test_openai_is_asked_so_unless_a_setting_says_otherwise() -> None:
    def store(base_url: str | None, **settings: str) -> bool | None:
        chosen = config_of(base_url, **settings).model_settings
        return None if chosen is None else chosen.store

    assert store(None) is False
    assert store("https://eu.api.openai.com/v1") is False
    assert store(None, model_privacy="false") is None
    assert store("https://models.example.com/v1") is None
    assert not is_openai("https://api.openai.com.example.com/v1")


def test_a_limit_on_answers_stays_beside_it() -> None:
    chosen = config_of(None, quotas='{"max_output_tokens": 100}').model_settings
    assert chosen is not None
    assert (chosen.store, chosen.max_tokens) == (False, 100)


@pytest.mark.parametrize("encrypted", [None, "gAAAA"])
async def test_reasoning_that_the_vendor_did_not_keep_is_not_referred_to(
    full_app: FullApp, encrypted: str | None
) -> None:
    @function_tool
    def roll_dice() -> str:
        """A throw."""
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


async def test_what_the_agent_itself_sends_beside_it_stays(full_app: FullApp) -> None:
    agent = Agent[Any](name="A", model_settings=ModelSettings(extra_args={"service_tier": "flex"}, temperature=0.5))
    async with scripted_api(answered("one")) as (url, requests):
        config = private(openai_run_config("key", base_url=url))
        await full_app.chat(run_config=config, agent=agent)("threads.create", input=message("hi"))
    [(_, asked)] = requests
    assert (asked["service_tier"], asked["temperature"], asked["safety_identifier"]) == ("flex", 0.5, "ann")


class Recording(DemoModel):
    """Answers as the demo model does, and notes how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[ModelSettings] = []

    async def get_response(self, *args: Any, **more: Any) -> ModelResponse:
        """The SDK's call for an answer at once."""
        self.asked.append(more["model_settings"])
        return await super().get_response(*args, **more)


async def test_a_title_is_asked_for_in_the_same_way() -> None:
    model = Recording()

    class Provider(ModelProvider):
        def get_model(self, model_name: str | None) -> Model:
            """The one model."""
            return model

    config = private(RunConfig(model_provider=Provider(), tracing_disabled=True))
    dispatcher = AgentDispatcher(lambda: Agent[Any](name="A"), build_run_config=lambda: config)
    await dispatcher.ensure_initialized()
    await by_model(dispatcher)("hello", RequestContext(User(id="f00d"), "r"))
    [asked] = model.asked
    assert (asked.store, asked.extra_args) == (False, {"safety_identifier": "f00d"})
