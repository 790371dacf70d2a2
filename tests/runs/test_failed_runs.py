"""Failed and truncated runs: the message for the user and the log line for each SDK error, through the whole app.

The expected messages are the tables of docs/reference/events.md. The tests fail if an SDK update adds a class or code.
"""

import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, get_args

import agents
import httpx2
import openai
import pytest
from agents import Model, ModelResponse, RunConfig
from agents.items import TResponseStreamEvent
from openai import _exceptions as openai_exceptions
from openai.types import responses as r
from openai.types.chat import chat_completion_chunk
from openai.types.responses.response import IncompleteDetails

from lambda_src.models.demo_model import events_of, message_of
from lambda_src.models.errors import CODES as CLASSIFIED
from lambda_src.models.providers import openai_run_config
from lambda_src.runs.run_events import CUT_NOTE
from lambda_src.settings import ModelApi
from tests.apps.chat import Answer, Chat, message
from tests.apps.full import full_app_without_files, thread_of
from tests.content_markers import MARKERS
from tests.docs import events_page
from tests.fakes.model_api import USAGE, model_api, scripted_api, sse

SECRET = MARKERS["exception"]
PARTIAL = "one two three"
STALL_S = 0.5  # how long the real client waits for a byte, in real time: as short as a busy machine allows
JSON = "application/json\r\nretry-after-ms: 1"  # the client library retries without a pause
REQUEST = httpx2.Request("POST", "https://model.test/")


@dataclass
class Outcome:
    """The result of a turn with one message."""

    chat: Chat
    answer: Answer
    items: list[dict[str, Any]]  # after a reload, without the user's message
    requests: list[tuple[str, dict[str, Any]]]
    logged: list[str]

    @property
    def text(self) -> str:
        return "".join(part["text"] for item in self.items for part in item.get("content", []))

    @property
    def row(self) -> tuple[str, str, str]:
        """The documented columns: user reads, retry, log."""
        error = (self.answer.of("error") or [{}])[-1]
        notices = [f"{notice['title']}. {notice['message']}" for notice in self.answer.of("notice")]
        reads = error.get("message") or ("ChatKit's own words" if error else " ".join(notices))
        return reads, "yes" if error.get("allow_retry") else "no", " ".join(self.logged)


@pytest.fixture
def outcome(caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """Return a function that sends one message through the app; `config` selects the model."""
    caplog.set_level(logging.INFO, "lambda_src")

    async def turn(config: RunConfig, requests: Any = (), **more: Any) -> Outcome:
        caplog.clear()
        chat = full_app_without_files().chat(run_config=config, **more)
        answer = await chat("threads.create", input=message("hi"))
        items = (await chat("threads.get_by_id", thread_id=thread_of(answer))).json["items"]["data"]
        assert SECRET.encode() not in answer.body
        assert SECRET not in str([vars(record) for record in caplog.records if record.name.startswith("lambda_src")])
        return Outcome(
            chat, answer, items[1:], list(requests), [line for record in caplog.records if (line := log_line(record))]
        )

    return turn


def log_line(record: logging.LogRecord) -> str:
    """Format a log record as the page does: its event and the fields about the model."""
    if record.msg not in ("run_failed", "answer_cut", "file_refused"):
        return ""
    names = ("error_type", "kind", "status", "code", "model")
    fields = [f"{name}={value}" for name in names if (value := vars(record).get(name)) is not None]
    return " ".join([record.msg, *fields])


async def over_the_wire(
    outcome: Any, *bodies: bytes, status: str = "200 OK", content_type: str = "", api: ModelApi = "responses"
) -> Outcome:
    kind = content_type or ("text/event-stream" if status == "200 OK" else JSON)
    async with scripted_api(*bodies, status=status, content_type=kind) as (url, requests):
        config = openai_run_config("key", base_url=url, api=api)
        config.model = "gpt-of-the-test"
        result: Outcome = await outcome(config)
        result.requests = requests
        return result


def body(message: str = SECRET, **fields: Any) -> bytes:
    """Return the body of a vendor's error."""
    return json.dumps({"error": {"message": message, **fields}}).encode()


def answering(*last: dict[str, Any], is_item_done: bool = False) -> bytes:
    """Return a response with the text PARTIAL and these last events; `is_item_done` includes the message's end."""
    events = [json.loads(event.model_dump_json()) for event in events_of(message_of(PARTIAL))]
    end = "response.completed" if is_item_done else "response.output_text.done"
    return sse(*events[: [event["type"] for event in events].index(end)], *last)


def response(**fields: Any) -> dict[str, Any]:
    ended = next(event for event in events_of(message_of(PARTIAL)) if isinstance(event, r.ResponseCompletedEvent))
    return {**json.loads(ended.response.model_dump_json()), "output": [], **fields}


def ending(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 99, "response": response(status=kind, **fields)}


def chunks(*words: str, finish: str | None, **delta: Any) -> bytes:
    """Return a streamed chat completion."""

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        whole = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(whole).encode() + b"\n\n"

    deltas = [chunk({"role": "assistant", "content": word}) for word in words]
    return b"".join([*deltas, chunk(delta, finish), b"data: [DONE]\n\n"])


class Raising(Model):
    """A model that raises an error in the middle of its answer that no server can cause."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise self._error

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        for event in events_of(message_of(PARTIAL))[:5]:
            yield event
        raise self._error


def classes(*modules: Any) -> dict[str, type[Exception]]:
    """Return the public exception classes of an SDK's modules."""
    return {
        name: kind
        for module in modules
        for name in dir(module)
        if not name.startswith("_")
        and isinstance(kind := getattr(module, name), type)
        and issubclass(kind, Exception)
        and kind.__module__.startswith(("openai", "agents"))
    }


OPENAI = classes(openai, openai_exceptions)
AGENTS = classes(agents, agents.exceptions)
CODES = get_args(r.ResponseError.model_fields["code"].annotation)
STATUSES = {
    "BadRequestError": "400 Bad Request",
    "AuthenticationError": "401 Unauthorized",
    "PermissionDeniedError": "403 Forbidden",
    "NotFoundError": "404 Not Found",
    "ConflictError": "409 Conflict",
    "UnprocessableEntityError": "422 Unprocessable Entity",
    "RateLimitError": "429 Too Many Requests",
    "InternalServerError": "500 Internal Server Error",
    "APIStatusError": "418 I'm a teapot",
}


def instance_of(kind: type[Exception]) -> Exception:
    """Create an instance of an exception class, whatever its constructor requires."""
    answer = httpx2.Response(400, request=REQUEST)
    match kind.__name__:
        case "OAuthError" | "APIResponseValidationError":
            return kind(response=answer, body={"error": "invalid_grant"})  # type: ignore[call-arg]
        case "ModelRefusalError":
            return kind("I cannot do that.")
        case _:
            error = kind.__new__(kind, SECRET)
            error.run_data = None  # type: ignore[attr-defined]
            return error


WIRE_ERRORS = [f"openai.{name}" for name in [*STATUSES, "APIConnectionError", "APITimeoutError"]]  # with either API


async def error_of(outcome: Any, name: str, *, api: ModelApi = "responses") -> Outcome:
    """Run a turn that fails with a row's error."""
    if name.startswith("response.failed "):
        failed = ending("failed", error={"code": name.partition(" ")[2], "message": SECRET})
        return await over_the_wire(outcome, answering(failed))
    kind = (OPENAI if name.startswith("openai.") else AGENTS)[name.partition(".")[2]]
    if kind.__name__ in STATUSES:
        return await over_the_wire(outcome, *[body()] * 3, status=STATUSES[kind.__name__], api=api)
    if kind.__name__ == "APIError":
        return await over_the_wire(outcome, answering({"error": {"message": SECRET}}))
    if behavior := {"APIConnectionError": "reset", "APITimeoutError": "stall"}.get(kind.__name__):
        async with model_api() as vendor:
            broken: Outcome = await outcome(
                openai_run_config("key", base_url=f"{vendor.url}/{behavior}", api=api, stall_s=STALL_S)
            )
            return broken
    result: Outcome = await outcome(RunConfig(model=Raising(instance_of(kind)), tracing_disabled=True))
    return result


CLASSES = [f"openai.{name}" for name in sorted(OPENAI)] + [f"agents.{name}" for name in sorted(AGENTS)]
ERRORS = CLASSES + [f"response.failed {code}" for code in CODES]


def test_every_error_of_the_sdks_is_documented() -> None:
    assert not events_page.unknown("Errors", set(ERRORS))
    assert set(CODES) <= set(CLASSIFIED)


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_produces_the_documented_message_and_log_line(name: str, outcome: Any) -> None:
    expected = events_page.rows("Errors")[name]
    result = await error_of(outcome, name)
    assert result.row == (expected["user reads"], expected["retry"], expected["log"])
    if name in ("openai.APIError", "openai.APIConnectionError", "openai.APITimeoutError") or name not in CLASSES:
        assert result.text, "the partial answer must be kept"


@pytest.mark.parametrize("name", WIRE_ERRORS)
async def test_an_error_over_chat_completions_produces_the_same_message(name: str, outcome: Any) -> None:
    expected = events_page.rows("Errors")[name]
    result = await error_of(outcome, name, api="chat_completions")
    assert result.row == (expected["user reads"], expected["retry"], expected["log"])


INCOMPLETE = [
    f"incomplete_details.reason {reason}"
    for reason in get_args(get_args(IncompleteDetails.model_fields["reason"].annotation)[0])
]
FINISHED = [
    f"finish_reason {reason}"
    for reason in get_args(get_args(chat_completion_chunk.Choice.model_fields["finish_reason"].annotation)[0])
]


def test_every_finish_reason_is_documented() -> None:
    assert not events_page.unknown("Ends of answers", {*INCOMPLETE, *FINISHED, "no finish_reason"})


@pytest.mark.parametrize("is_item_done", [True, False])
@pytest.mark.parametrize("name", INCOMPLETE)
async def test_a_truncated_response_keeps_its_text_and_explains_why(
    name: str, is_item_done: bool, outcome: Any
) -> None:
    expected = events_page.rows("Ends of answers")[name]
    last = ending("incomplete", incomplete_details={"reason": name.partition(" ")[2]})
    result = await over_the_wire(outcome, answering(last, is_item_done=is_item_done))
    assert result.row == (expected["user reads"], expected["retry"], expected["log"])
    assert result.text == PARTIAL
    assert [event["item"]["content"][0]["text"] for event in result.answer.of("thread.item.done")][1:] == [PARTIAL]


@pytest.mark.parametrize("name", [*FINISHED, "no finish_reason"])
async def test_a_chat_completion_ends_as_documented(name: str, outcome: Any) -> None:
    expected = events_page.rows("Ends of answers")[name]
    reason = None if name == "no finish_reason" else name.partition(" ")[2]
    result = await over_the_wire(outcome, chunks(PARTIAL, finish=reason), api="chat_completions")
    assert result.row == (expected["user reads"], expected["retry"], expected["log"])
    assert result.text == PARTIAL


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_continue_resumes_after_an_answer_that_reached_its_limit(api: ModelApi, outcome: Any) -> None:
    if api == "responses":
        cut = answering(ending("incomplete", incomplete_details={"reason": "max_output_tokens"}))
        whole = sse(*[json.loads(event.model_dump_json()) for event in events_of(message_of("four"))])
    else:
        cut, whole = chunks(PARTIAL, finish="length"), chunks("four", finish="stop")
    async with scripted_api(cut, whole) as (url, requests):
        result = await outcome(openai_run_config("key", base_url=url, api=api))
        more = await result.chat(
            "threads.add_user_message", thread_id=thread_of(result.answer), input=message("continue")
        )
    sent = json.dumps(requests[1][1])
    assert PARTIAL in sent
    assert CUT_NOTE in sent
    assert sent.index(PARTIAL) < sent.index(CUT_NOTE) < sent.index("continue", sent.index(CUT_NOTE) + len(CUT_NOTE))
    assert not more.of("error")
    assert not more.of("notice")


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_a_model_that_reaches_its_limit_while_thinking_gets_a_notice(api: ModelApi, outcome: Any) -> None:
    thinking = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                "item": {"id": "rs_1", "type": "reasoning", "summary": []}}  # fmt: skip
    cut = (
        sse(thinking, ending("incomplete", incomplete_details={"reason": "max_output_tokens"}))
        if api == "responses"
        else chunks(finish="length")
    )
    result = await over_the_wire(outcome, cut, api=api)
    (notice,) = result.answer.of("notice")
    assert "thinking" in notice["message"]
    assert not result.answer.of("error")
    assert result.text == ""


async def test_a_truncated_tool_call_is_not_executed(outcome: Any) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "roll", "arguments": '{"si'}}
    result = await over_the_wire(outcome, chunks(finish="length", tool_calls=[call]), api="chat_completions")
    assert len(result.requests) == 1
    assert result.answer.of("notice")


async def test_a_truncated_answer_costs_the_vendors_usage(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    usage = USAGE.model_dump()
    last = ending("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=usage)
    await over_the_wire(outcome, answering(last))
    (turn,) = [vars(record) for record in caplog.records if record.msg == "turn"]
    assert (turn["tokens_in"], turn["tokens_out"]) == (USAGE.input_tokens, USAGE.output_tokens)


@pytest.mark.parametrize(
    ("bad", "status", "content_type"),
    [
        (b"<html>" + SECRET.encode(), "200 OK", "text/html; charset=utf-8"),
        (b"<html>" + SECRET.encode(), "502 Bad Gateway", "text/html\r\nretry-after-ms: 1"),
        (SECRET.encode(), "400 Bad Request", "text/plain"),
        (b"\xff\xfe{", "400 Bad Request", "application/json"),
        (b"", "400 Bad Request", "application/json"),
        (b"[1, 2]", "429 Too Many Requests", JSON),
        (b'{"error": "%s"}' % SECRET.encode(), "400 Bad Request", "application/json"),
        (body(SECRET * 8_000), "400 Bad Request", "application/json"),
        (body(SECRET * 8_000), "500 Internal Server Error", JSON),
        (b"data: <html>%s\n\n" % SECRET.encode(), "200 OK", "text/event-stream"),
        (b"%s" % SECRET.encode(), "200 OK", "text/event-stream"),
    ],
)
@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_an_invalid_answer_becomes_an_error_message(
    bad: bytes, status: str, content_type: str, api: ModelApi, outcome: Any
) -> None:
    result = await over_the_wire(outcome, *[bad] * 3, status=status, content_type=content_type, api=api)
    (error,) = result.answer.of("error")
    assert error.get("message", "").endswith(".") or error["code"] == "stream.error"


async def test_an_error_within_an_answer_keeps_the_text_however_long_its_message(outcome: Any) -> None:
    for last in ({"error": {"message": SECRET * 8_000}}, {"error": SECRET}, {"type": "error", "message": SECRET}):
        result = await over_the_wire(outcome, answering(last))
        assert result.text == PARTIAL
        assert result.answer.of("error")[0]["message"].endswith(".")
