"""Every stream event class of openai, and broken streams, through the whole app: docs/reference/events.md."""

import asyncio
import base64
import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lambda_src.models.openai_client import CLASSES
from tests.docs import events_page
from tests.fakes.model_api import DONE, sse
from tests.runs.model_streams import LLAMA, RAW_THOUGHT, TEXT, URL, citation_event, reasoning, turn_over

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
SECRET = "marker-of-the-vendor"


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Build the smallest event that its class accepts, with a marker in every text except ids."""
    return {name: _example(field.annotation, name) for name, field in model.model_fields.items() if field.is_required()}


def _example(kind: Any, name: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _example(get_args(kind)[0], name)
    if origin is Literal:
        return get_args(kind)[0]
    if origin in (Union, types.UnionType):
        return _example(next(option for option in get_args(kind) if option is not type(None)), name)
    if origin is list:
        return []
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return example_of(kind)
    if kind is str:
        return "msg_1" if name in ("item_id", "id") else SECRET
    plain: dict[Any, Any] = {bool: False, int: 0, float: 0.0}
    return plain.get(kind, {})


@pytest.fixture(params=["whole", "bare"])
def event(request: pytest.FixtureRequest, kind: str) -> dict[str, Any]:
    """An event of this type, with all required fields or only with its type."""
    return example_of(CLASSES[kind]) if request.param == "whole" else {"type": kind}


def test_every_event_class_of_the_library_is_documented() -> None:
    assert not events_page.unknown("Model events", set(CLASSES))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in ENDS])
async def test_an_event_within_an_answer_becomes_what_is_documented(kind: str, event: dict[str, Any]) -> None:
    row = events_page.rows("Model events")[kind]
    turn = await turn_over(sse(*LLAMA[:5], event, *LLAMA[5:]))
    assert TEXT in turn.text
    assert len(turn.errors) == len(turn.answer.of("notice")) == 0
    assert (SECRET in turn.answer.body.decode()) <= (row["becomes"] != "")
    assert row["user reads"] == row["retry"] == row["log"] == ""


@pytest.mark.parametrize("kind", [kind for kind in ENDS if kind != "response.completed"])
async def test_an_event_that_ends_an_answer_keeps_its_text_and_explains_the_end(
    kind: str, event: dict[str, Any]
) -> None:
    turn = await turn_over(sse(*LLAMA[:5], event))
    assert turn.text == TEXT
    assert len(turn.errors) + len(turn.answer.of("notice")) == 1
    assert SECRET not in turn.answer.body.decode()


@pytest.mark.parametrize("kind", CLASSES)
async def test_an_event_alone_ends_with_an_error_or_a_notice(kind: str, event: dict[str, Any]) -> None:
    """The stream has neither a message nor an end."""
    turn = await turn_over(sse(event))
    assert len(turn.errors) + len(turn.answer.of("notice")) == 1
    assert all(text_or_reasoning(item) for item in turn.reloaded)


def text_or_reasoning(item: dict[str, Any]) -> bool:
    """Whether a stored item has any content."""
    return bool(item["workflow"]["tasks"]) if item["type"] == "workflow" else bool(item["content"])


JUNK = st.sampled_from([None, True, -1, 10**20, 0.5, "", "text", [], [None], {}, {"type": "moon"}, [{"type": 7}]])


@st.composite
def broken_streams(draw: st.DrawFn, *whole: list[dict[str, Any]]) -> list[Any]:
    """Draw an answer's events with some dropped, repeated, moved, or with junk in a field."""
    events: list[Any] = json.loads(json.dumps(draw(st.sampled_from(whole))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(events) - 1)))
        match draw(st.sampled_from(["drop", "repeat", "move", "junk", "junk", "junk", "not an event"])):
            case "drop" if events:
                events.pop(at)
            case "repeat" if events:
                events.insert(draw(st.integers(0, len(events))), events[at])
            case "move" if events:
                events.insert(draw(st.integers(0, len(events) - 1)), events.pop(at))
            case "junk" if events and isinstance(events[at], dict):
                events[at] = broken(draw, events[at])
            case _:
                events.insert(at, draw(JUNK))
    return events


def broken(draw: st.DrawFn, value: Any) -> Any:
    """Replace or remove something in the value, at any depth."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        if not draw(st.integers(0, 5)):
            return {name: inner for name, inner in value.items() if name != key}
        return value | {key: broken(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], broken(draw, value[at]), *value[at + 1 :]]
    return draw(JUNK)


IMAGE_BASE64 = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
IMAGE: dict[str, Any] = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": IMAGE_BASE64}
RICH: list[dict[str, Any]] = [
    LLAMA[0],
    *reasoning(RAW_THOUGHT),
    {"type": "response.output_item.added", "item": IMAGE | {"result": None}},
    {"type": "response.image_generation_call.partial_image", "item_id": "ig_1", "partial_image_b64": IMAGE_BASE64},
    {"type": "response.output_item.done", "item": IMAGE},
    *LLAMA[1:5],
    citation_event(URL, item_id="msg_1"),
    *LLAMA[5:],
]


def test_the_intact_stream_has_text_reasoning_an_image_and_a_citation() -> None:
    turn = asyncio.run(turn_over(sse(*RICH)))
    assert not turn.errors
    assert {item["type"] for item in turn.reloaded} == {"workflow", "generated_image", "assistant_message"}
    assert turn.text == TEXT


def completion_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "no_such_tool", "arguments": "{}"}}
CHUNKS = [
    completion_chunk({"role": "assistant", "reasoning": "Six by six."}),
    completion_chunk({"content": "Pairs are "}),
    completion_chunk({"content": "rare."}),
    completion_chunk({}, finish="stop"),
]
CALLING = [completion_chunk({"role": "assistant", "tool_calls": [CALL]}), completion_chunk({}, finish="tool_calls")]
fuzzed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@fuzzed
@given(broken_streams(LLAMA, RICH))
def test_a_broken_response_ends_with_content_or_an_explanation(events: list[Any]) -> None:
    turn = asyncio.run(turn_over(sse(*events)))
    assert turn.reloaded or turn.errors or turn.answer.of("notice")


@fuzzed
@given(broken_streams(CHUNKS, CALLING))
def test_a_broken_completion_ends_with_content_or_an_explanation(chunks: list[Any]) -> None:
    turn = asyncio.run(turn_over(sse(*chunks) + DONE, *[sse(*CHUNKS)] * 20, api="chat_completions"))
    assert turn.reloaded or turn.errors or turn.answer.of("notice")
