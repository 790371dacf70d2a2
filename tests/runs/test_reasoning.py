"""A model's reasoning, through the whole app into the store."""

import pytest

from tests.fakes.model_api import DONE, chunk, sse
from tests.runs.model_streams import LLAMA, RAW_THOUGHT, TEXT, Turn, reasoning, turn_over


def thoughts(turn: Turn) -> list[str]:
    """Return the reasoning that a reload shows."""
    workflows = [item["workflow"] for item in turn.reloaded if item["type"] == "workflow"]
    return [task["content"] for workflow in workflows for task in workflow["tasks"]]


async def test_raw_reasoning_is_shown_and_stored() -> None:
    turn = await turn_over(sse(LLAMA[0], *reasoning(RAW_THOUGHT, RAW_THOUGHT), *LLAMA[1:]))
    assert not turn.errors
    assert thoughts(turn) == ["Six by six." * 2]
    assert turn.text == TEXT


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_over_chat_completions_is_shown_and_stored(field: str) -> None:
    chunks = [chunk({"role": "assistant", field: "Six "}), chunk({field: "by six."}), chunk({"content": TEXT})]
    turn = await turn_over(b"".join([*chunks, chunk({}, finish="stop"), DONE]), api="chat_completions")
    assert not turn.errors
    assert thoughts(turn) == ["Six by six."]
    assert turn.text == TEXT


async def test_empty_reasoning_leaves_no_item() -> None:
    turn = await turn_over(sse(LLAMA[0], *reasoning(), *LLAMA[1:]))
    assert not turn.errors
    assert [item["type"] for item in turn.reloaded] == ["assistant_message"]
