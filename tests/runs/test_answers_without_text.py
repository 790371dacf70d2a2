"""Answers without text, and refusals: what the user reads, as docs/reference/events.md says."""

from typing import Any

import pytest

from lambda_src.errors import BROKEN_OFF
from lambda_src.runs.run_events import NO_ANSWER, ONLY_REASONING
from tests.docs import events_page
from tests.fakes.model_api import DONE, chunk, sse
from tests.runs.model_streams import EMPTY, LLAMA, RAW_THOUGHT, message_with, reasoning, turn_over


@pytest.mark.parametrize(
    ("events", "explanation"),
    [
        ([LLAMA[0], EMPTY], NO_ANSWER),
        ([EMPTY], NO_ANSWER),
        (message_with(), NO_ANSWER),
        (message_with({"type": "output_text", "text": "  \n", "annotations": []}), NO_ANSWER),
        ([LLAMA[0], *reasoning(), EMPTY], NO_ANSWER),
        ([LLAMA[0], *reasoning(RAW_THOUGHT), EMPTY], ONLY_REASONING),
        ([LLAMA[0], *reasoning(RAW_THOUGHT, done=False), EMPTY], ONLY_REASONING),
    ],
    ids=["no output", "nothing else", "no part", "blank", "silent reasoning", "only reasoning", "unfinished reasoning"],
)
async def test_an_answer_without_text_is_explained(
    events: list[dict[str, Any]], explanation: str, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await turn_over(sse(*events))
    [error] = turn.errors
    assert (error["message"], error["allow_retry"]) == (explanation, True)
    assert not turn.text
    name = "only reasoning" if explanation == ONLY_REASONING else "empty"
    logged = events_page.rows("Answers without text")[name]["log"]
    [record] = [record for record in caplog.records if record.message == logged]
    assert vars(record)["has_reasoning"] is (explanation == ONLY_REASONING)
    assert all(item["workflow"]["summary"] for item in turn.reloaded), "reasoning must be kept and finished"


async def test_a_chat_completion_without_text_is_explained() -> None:
    turn = await turn_over(chunk({"role": "assistant", "content": ""}, finish="stop") + DONE, api="chat_completions")
    assert [error["message"] for error in turn.errors] == [NO_ANSWER]
    assert not turn.reloaded


REFUSAL = "I can't help with that."


async def test_a_refusal_becomes_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "lambda_src")
    part = {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "refusal", "refusal": ""}}
    delta = {"type": "response.refusal.delta", "item_id": "msg_1", "delta": REFUSAL}
    events = message_with({"type": "refusal", "refusal": REFUSAL})
    turn = await turn_over(sse(*events[:2], part, delta, *events[2:]))
    assert not turn.errors
    assert events_page.rows("Answers without text")["a refusal"]["log"] in [record.message for record in caplog.records]
    assert turn.text == REFUSAL
    assert len(turn.reloaded) == 1


async def test_a_refusal_over_chat_completions_becomes_the_answer() -> None:
    chunks = [chunk({"role": "assistant", "refusal": REFUSAL}), chunk({}, finish="stop"), DONE]
    turn = await turn_over(b"".join(chunks), api="chat_completions")
    assert not turn.errors
    assert turn.text == REFUSAL
    assert len(turn.reloaded) == 1


@pytest.mark.parametrize(
    ("name", "sentence"), [("empty", NO_ANSWER), ("only reasoning", ONLY_REASONING), ("broken off", BROKEN_OFF)]
)
def test_the_messages_for_answers_without_text_are_documented(name: str, sentence: str) -> None:
    row = events_page.rows("Answers without text")[name]
    assert (row["user reads"], row["retry"]) == (sentence, "yes")
