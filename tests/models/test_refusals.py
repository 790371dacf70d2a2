"""Vendor refusals: the user's message for each, which requests are retried, and files that a model does not accept."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from lambda_src.models.errors import Kind
from lambda_src.models.providers import REFUSALS_OF_KEYS, RenewedKey, openai_client, openai_run_config
from lambda_src.rotating_secret import REREAD_S, Secret
from lambda_src.runs.user_errors import FAULTS
from lambda_src.settings import ModelApi
from tests.apps.chat import message
from tests.apps.full import FullApp, attached, full_app_on_moto, full_app_without_files, thread_of
from tests.fakes.model_api import scripted_api
from tests.models.test_providers import text

JSON = "application/json\r\nretry-after-ms: 1"
REASONS = {
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 404: "Not Found", 413: "Content Too Large",
    422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
REFUSALS: list[tuple[str, int, dict[str, Any], Kind]] = [
    ("OpenAI, retired model", 404, {"message": "The model `gpt-5-mini` does not exist", "code": "model_not_found"},
     "model_gone"),
    ("as a 400", 400, {"message": "Not served here", "code": "model_not_found"}, "model_gone"),
    ("LiteLLM, unknown model", 400, {"message": "Invalid model name passed in model=x", "code": "400"}, "model_gone"),
    ("Ollama, unknown model", 404, {"message": 'model "x" not found, try pulling it first', "type": "api_error"},
     "model_gone"),
    ("Groq, retired model", 400, {"message": "has been decommissioned", "code": "model_decommissioned"}, "model_gone"),
    ("OpenAI, no credit", 429, {"message": "You exceeded your current quota", "code": "insufficient_quota"},
     "no_credit"),
    ("DeepSeek, no credit", 402, {"message": "Insufficient Balance"}, "no_credit"),
    ("LiteLLM, wrong key", 400, {"message": "No connected db.", "type": "no_db_connection", "code": "400"},
     "wrong_key"),
    ("a parameter", 400, {"message": "Unsupported parameter: 'temperature'", "code": "unsupported_parameter"},
     "settings"),
    ("a body that is not understood", 422, {"message": "Input should be a valid string"}, "settings"),
    ("the policy", 400, {"message": "Your request was rejected", "code": "content_policy_violation"}, "blocked"),
    ("too long", 400, {"message": "This model's maximum context length is 8192 tokens"}, "too_long"),
    ("too large", 413, {"message": "Request too large"}, "too_long"),
    ("overloaded", 503, {"message": "Overloaded", "code": "server_overloaded"}, "busy"),
]  # fmt: skip


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "lambda_src")
    return caplog


@pytest.fixture(scope="module")
def full_app() -> Iterator[FullApp]:
    with full_app_on_moto() as full_app:
        yield full_app


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
@pytest.mark.parametrize(("name", "status", "error", "kind"), REFUSALS, ids=[refusal[0] for refusal in REFUSALS])
async def test_a_refusal_is_explained_by_its_cause(
    name: str, status: int, error: dict[str, Any], kind: Kind, api: ModelApi, logged: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"error": error}).encode()
    async with scripted_api(*[body] * 3, status=f"{status} {REASONS[status]}", content_type=JSON) as (url, requests):
        config = openai_run_config("key", base_url=url, api=api)
        config.model = "gpt-of-the-test"
        answer = await full_app_without_files().chat(run_config=config)("threads.create", input=message("hi"))
    (event,) = answer.of("error")
    assert (event["message"], event.get("allow_retry", False)) == FAULTS[kind], name
    (record,) = [vars(record) for record in logged.records if record.msg == "run_failed"]
    assert (record["kind"], record["status"], record["model"]) == (kind, status, "gpt-of-the-test")
    assert record.get("code") in (error.get("code"), error.get("type"), None)
    assert error["message"] not in str(record)
    is_temporary = FAULTS[kind][1]
    assert len(requests) == (3 if is_temporary else 1), "only temporary failures are retried"


@pytest.mark.parametrize("status", REFUSALS_OF_KEYS)
async def test_a_corrected_key_is_read_again_whatever_the_status_of_the_refusal(status: int) -> None:
    now, stored, seen = [0.0], ["wrong"], list[str]()
    secret = Secret(lambda: stored[0], known="wrong", now=lambda: now[0])

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        if seen[-1] == "Bearer right":
            return httpx2.Response(200, json={"object": "list", "data": []})
        return httpx2.Response(status, json={"error": {"message": "No connected db.", "type": "no_db_connection"}})

    client = openai_client("wrong", renewal=RenewedKey(secret), transport=httpx2.MockTransport(answer))
    stored[0] = "right"
    now[0] += REREAD_S
    await client.models.list()
    assert seen == ["Bearer wrong", "Bearer right"]


async def test_if_the_key_cannot_be_read_again_the_vendors_answer_is_used() -> None:
    def unreadable() -> str:
        raise OSError("not now")

    secret = Secret(unreadable, known="wrong", now=iter(range(0, 10_000, 100)).__next__)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(401))
    async with httpx2.AsyncClient(auth=RenewedKey(secret), transport=transport) as client:
        assert (await client.get("https://model.test/")).status_code == 401


FILES: dict[str, dict[str, Any]] = {
    "image": {"name": "a.png", "kind": "image/png"},
    "pdf": {"name": "a.pdf", "kind": "application/pdf", "data": b"%PDF-1.4 hello"},
}
FILE_REFUSALS = [
    ("image", 500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
    ("pdf", 400, "unsupported content[].type"),
    ("image", 404, "No endpoints found that support image input"),
    ("image", 400, "Invalid content type. image_url is only supported by certain models."),
    ("image", 422, "unknown variant `image_url`, expected `text`"),
    ("pdf", 413, "Request Entity Too Large"),
]


@pytest.mark.parametrize(("kind", "status", "vendor_message"), FILE_REFUSALS)
async def test_a_file_that_the_model_refuses_becomes_a_note_and_the_thread_continues(
    kind: str, status: int, vendor_message: str, full_app: FullApp, logged: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.content.decode())
        if "base64," in seen[-1]:
            return httpx2.Response(status, json={"error": {"message": vendor_message, "code": status}})
        return httpx2.Response(200, content=text("I cannot see it."), headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(answer)
    config = openai_run_config("key", base_url="https://m.test/v1", api="chat_completions", transport=transport)
    chat = full_app.chat(run_config=config)
    attachment_id = await attached(chat, full_app, **FILES[kind])
    first = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert not first.of("error")
    assert len(seen) == 2, "refused once, then retried without the file"
    assert "This model cannot read" in seen[1]
    assert "file_refused" in [record.msg for record in logged.records]
    later = await chat("threads.add_user_message", thread_id=thread_of(first), input=message("and now?"))
    assert not later.of("error")


async def test_a_file_type_that_the_settings_exclude_is_never_sent(full_app: FullApp) -> None:
    async with scripted_api(text("No.")) as (url, requests):
        config = openai_run_config("key", base_url=url, api="chat_completions")
        chat = full_app.chat(run_config=config, model_files=())
        attachment_id = await attached(chat, full_app)
        await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert "base64" not in json.dumps(requests[0][1])
    assert "This model cannot read pictures" in json.dumps(requests[0][1])


async def test_a_refusal_unrelated_to_the_file_is_reported_after_one_retry_without_it(
    full_app: FullApp,
) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(400, json={"error": {"message": "no"}})

    transport = httpx2.MockTransport(answer)
    config = openai_run_config("key", base_url="https://m.test/v1", api="chat_completions", transport=transport)
    chat = full_app.chat(run_config=config)
    attachment_id = await attached(chat, full_app)
    result = await chat("threads.create", input=message("look", attachments=[attachment_id]))
    assert result.of("error")[0]["message"] == FAULTS["rejected"][0]
    assert len(seen) == 2
