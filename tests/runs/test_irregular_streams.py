"""Streams with missing, repeated or reordered events, and streams that break off: no text is lost."""

from typing import Any

import pytest
from agents import function_tool

from lambda_src.errors import BROKEN_OFF
from tests.fakes.model_api import chunk, sse
from tests.runs.model_streams import COMPLETED, EMPTY, LLAMA, TEXT, Turn, turn_over


async def test_a_responses_api_without_indices_and_annotations_works() -> None:
    turn = await turn_over(sse(*LLAMA))
    assert not turn.errors
    assert turn.text == TEXT
    assert [event["update"]["delta"] for event in deltas(turn)] == ["Pairs are ", "rare."]


def deltas(turn: Turn) -> list[dict[str, Any]]:
    """Return the events that streamed text."""
    return [event for event in turn.answer.of("thread.item.updated") if event["update"]["type"].endswith("text_delta")]


def without(*types: str, events: list[dict[str, Any]] = LLAMA) -> list[dict[str, Any]]:
    """Return the events except those of these types."""
    return [event for event in events if event["type"] not in types]


@pytest.mark.parametrize(
    "events",
    [
        without("response.output_item.added"),
        without("response.content_part.added", "response.output_text.done"),
        without("response.output_item.done"),
        without("response.created"),
        [LLAMA[0], LLAMA[-1]],
        [LLAMA[0], LLAMA[3], LLAMA[2], LLAMA[1], *LLAMA[4:]],
        [*LLAMA[:-1], LLAMA[-2], LLAMA[-1]],
        [*LLAMA, LLAMA[-1]],
        [*LLAMA[:-1], LLAMA[3], LLAMA[5], LLAMA[-1]],
        [*LLAMA[:2], *(event | {"item_id": "another"} for event in LLAMA[2:7]), *LLAMA[7:]],
        [LLAMA[0], *(event | {"item_id": "another"} for event in LLAMA[2:7]), *LLAMA[7:]],
        [*LLAMA[:2], *LLAMA[3:5], LLAMA[2], *LLAMA[5:]],
        [*LLAMA[:5], LLAMA[5] | {"text": ""}, LLAMA[7] | {"item": LLAMA[1]["item"]}, LLAMA[8]],
        [*LLAMA[:2], *({key: event[key] for key in event if key != "item_id"} for event in LLAMA[2:7]), *LLAMA[7:]],
    ],
    ids=[
        "no item added",
        "deltas alone",
        "no item done",
        "not created",
        "completed alone",
        "text before its message",
        "a message done twice",
        "completed twice",
        "text after its message",
        "text under another id",
        "text under another id alone",
        "text before its part",
        "text that is empty when it is done",
        "text without an id",
    ],
)
async def test_missing_repeated_or_reordered_events_lose_no_text(events: list[dict[str, Any]]) -> None:
    turn = await turn_over(sse(*events))
    assert not turn.errors
    assert turn.text == TEXT
    assert len(turn.reloaded) == 1


async def test_an_unfinished_message_is_kept_and_reported_as_broken_off() -> None:
    turn = await turn_over(sse(*LLAMA[:5], EMPTY))
    [error] = turn.errors
    assert error["message"] == BROKEN_OFF
    assert turn.text == TEXT


async def test_a_completed_event_without_a_response_keeps_the_text() -> None:
    turn = await turn_over(sse(*LLAMA[:-1], {"type": "response.completed"}))
    assert [error["message"] for error in turn.errors] == [BROKEN_OFF]
    assert turn.text == TEXT


async def test_a_tool_call_without_the_optional_item_id_is_executed() -> None:
    @function_tool
    def roll() -> str:
        """Roll a die."""
        return "four"

    call = {"type": "function_call", "call_id": "c_1", "name": "roll", "arguments": "{}", "status": "completed"}
    tool_call = sse(
        LLAMA[0],
        {"type": "response.output_item.added", "item": call},
        {"type": "response.output_item.done", "item": call},
        COMPLETED | {"response": COMPLETED["response"] | {"output": [call]}},
    )
    turn = await turn_over(tool_call, sse(*LLAMA), tools=[roll])
    assert not turn.errors
    assert turn.text == TEXT


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"], ids=["cut", "done"])
async def test_a_chat_completion_without_a_finish_reason_is_reported_as_broken_off(end: bytes) -> None:
    turn = await turn_over(chunk({"role": "assistant", "content": TEXT}) + end, api="chat_completions")
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (BROKEN_OFF, True)
    assert turn.text == TEXT


async def test_a_response_that_ends_without_completed_is_reported_as_broken_off() -> None:
    turn = await turn_over(sse(*LLAMA[:5]))
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (BROKEN_OFF, True)
    assert turn.text == TEXT
