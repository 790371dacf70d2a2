"""Model providers: OpenAI's two APIs at any base URL and Bedrock, with the real client library and wire-level fakes."""

from dataclasses import replace

import pytest
from agents import function_tool

from lambda_src.composition.app import run_config
from lambda_src.errors import UnavailableError
from lambda_src.models.providers import bedrock_run_config, capped, chosen_run_config, openai_run_config
from lambda_src.settings import Settings
from tests.apps.chat import message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of
from tests.fakes.model_api import ANSWER, DONE, chunk, model_api, scripted_api

REQUIRED = {"CHAT_TABLE": "t", "CHAT_AUTH_ISSUER": "https://i.test/", "CHAT_AUTH_AUDIENCE": "a"}


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def text(words: str) -> bytes:
    """Return a complete answer over Chat Completions."""
    parts = [chunk({"role": "assistant", "content": word + " "}) for word in words.split()]
    return b"".join([*parts, chunk({}, finish="stop"), DONE])


def tool_call(name: str) -> bytes:
    """Return a tool call over Chat Completions."""
    function = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    done = chunk({}, finish="tool_calls")
    return chunk({"role": "assistant", "tool_calls": [function]}) + done + DONE


async def test_chat_completions_work_at_any_base_url(full_app: FullApp) -> None:
    async with scripted_api(text("one two three")) as (url, requests):
        config = openai_run_config("key", base_url=url, api="chat_completions")
        answer = await full_app.chat(run_config=config)("threads.create", input=message("hi"))
    assert items_of(answer)[-1]["content"][0]["text"].split() == ["one", "two", "three"]
    assert requests[0][0].startswith("POST /v1/chat/completions ")
    assert requests[0][1]["messages"][-1]["content"] in ("hi", [{"type": "text", "text": "hi"}])


async def test_chat_completions_are_requested_with_usage_at_any_base_url(full_app: FullApp) -> None:
    async with scripted_api(text("one")) as (url, requests):
        config = capped(openai_run_config("key", base_url=url, api="chat_completions"), 100)
        await full_app.chat(run_config=config)("threads.create", input=message("hi"))
    assert requests[0][1]["stream_options"] == {"include_usage": True}
    assert requests[0][1]["max_tokens"] == 100


async def test_answers_with_the_same_id_stay_separate(full_app: FullApp) -> None:
    async with scripted_api(text("one"), text("two")) as (url, requests):
        config = openai_run_config("key", base_url=url, api="chat_completions")
        chat = full_app.chat(run_config=config)
        thread_id = thread_of(await chat("threads.create", input=message("first")))
        await chat("threads.add_user_message", thread_id=thread_id, input=message("second"))
    items = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    texts = [item["content"][0]["text"].strip() for item in items if item["type"] == "assistant_message"]
    assert texts == ["one", "two"]
    assert len({item["id"] for item in items}) == 4
    assert [entry["role"] for entry in requests[1][1]["messages"]] == ["user", "assistant", "user"]


async def test_tools_work_over_chat_completions(full_app: FullApp) -> None:
    @function_tool
    def roll_dice() -> str:
        """Rolls a die."""
        return "four"

    async with scripted_api(tool_call("roll_dice"), text("You threw a four.")) as (url, requests):
        config = openai_run_config("key", base_url=url, api="chat_completions")
        answer = await full_app.chat(run_config=config, tools=[roll_dice])("threads.create", input=message("roll"))
    assert "four" in items_of(answer)[-1]["content"][0]["text"]
    assert requests[1][1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "four"}


async def test_the_responses_api_works_at_any_base_url(full_app: FullApp) -> None:
    async with model_api() as api:
        config = openai_run_config("key", base_url=f"{api.url}/well")
        answer = await full_app.chat(run_config=config)("threads.create", input=message("hi"))
    assert items_of(answer)[-1]["content"][0]["text"] == ANSWER


async def test_bedrock_requests_are_signed_by_the_role_and_need_no_key(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "s", "SESSION_TOKEN": "t", "REGION": "eu-central-1"}
    for name, value in role.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with scripted_api(text("one"), text("two")) as (url, requests):
        chat = full_app.chat(run_config=bedrock_run_config(url, api="chat_completions"))
        answer = await chat("threads.create", input=message("first"))
        later = await chat("threads.add_user_message", thread_id=thread_of(answer), input=message("second"))
    assert items_of(later)[-1]["content"][0]["text"].strip() == "two"
    signed = next(line for line in requests[0][0].split("\r\n") if line.lower().startswith("authorization"))
    assert "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" in signed
    assert "/eu-central-1/bedrock-mantle/aws4_request" in signed
    assert "x-amz-security-token: t" in requests[0][0].lower()


@pytest.mark.parametrize(
    ("key", "base_url", "kind"),
    [
        (None, None, "DemoModel"),
        ("key", None, "OpenAIResponsesModel"),
        ("key", "https://models.test/v1", "OpenAIResponsesModel"),
        (None, "https://bedrock-mantle.eu-central-1.api.aws/openai/v1", "OpenAIResponsesModel"),
    ],
)
def test_the_model_class_depends_on_key_and_base_url(key: str | None, base_url: str | None, kind: str) -> None:
    config = chosen_run_config(key, base_url=base_url, api="responses")
    model = config.model if config.model is not None else config.model_provider.get_model("any")
    assert type(model).__name__ == kind


@pytest.mark.parametrize(
    "base_url",
    [
        "https://openrouter.ai/api/v1",
        "https://bedrock-mantle.eu-central-1.api.aws.evil.test/openai/v1",
        "https://bedrock-mantle.eu-central-1.api.aws@evil.test/openai/v1",
        "https://evil.test/bedrock-mantle.eu-central-1.api.aws/",
        "http://bedrock-mantle.eu-central-1.api.aws/openai/v1",
    ],
)
def test_only_bedrock_works_without_a_key_because_requests_carry_our_credentials(base_url: str) -> None:
    with pytest.raises(UnavailableError, match=r"No model key is set yet.*make chat ARGS=.secret set model-key"):
        chosen_run_config(None, base_url=base_url, api="chat_completions")


async def test_a_turn_without_a_model_key_sends_nothing_and_says_what_to_do(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "of-the-role")
    async with scripted_api(text("one")) as (url, requests):
        settings = replace(Settings.from_env(REQUIRED), model_base_url=url, model_api="chat_completions")
        chat = full_app.chat(build_run_config=lambda: run_config(None, settings))
        answer = await chat("threads.create", input=message("hi"))
    assert requests == []
    assert "No model key is set yet" in answer.of("error")[-1]["message"]


def test_base_url_and_api_are_settings() -> None:
    env = {**REQUIRED, "CHAT_MODEL_BASE_URL": "https://models.test/v1", "CHAT_MODEL_API": "chat_completions"}
    settings = Settings.from_env(env)
    provider = run_config("key", settings).model_provider
    assert (settings.model_base_url, settings.model_api) == ("https://models.test/v1", "chat_completions")
    assert type(provider.get_model("any")).__name__ == "OpenAIChatCompletionsModel"
