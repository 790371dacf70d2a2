"""The demo model with the real Runner: it introduces itself, streams words, and calls tools by name."""

from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, function_tool

from lambda_src.models.demo_model import PAUSE_S, DemoModel


@function_tool
def roll_dice() -> str:
    """Rolls dice."""
    return "four"


@function_tool
def add_numbers(a: int, b: int) -> int:
    """Needs arguments, which the demo model cannot invent."""
    return a + b


AGENT = Agent[Any](name="Test", tools=[roll_dice, add_numbers])


class Sleep:
    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)


async def deltas(prompt: str, sleep: Sleep) -> list[str]:
    run = Runner.run_streamed(AGENT, prompt, run_config=RunConfig(model=DemoModel(sleep=sleep), tracing_disabled=True))
    return [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]


async def test_it_answers_word_by_word_at_a_readable_pace() -> None:
    sleep = Sleep()
    words = await deltas("hello there", sleep)
    assert len(words) > 20
    assert sleep.slept_s == [PAUSE_S] * len(words)


async def test_it_says_what_it_is_and_repeats_the_prompt() -> None:
    text = "".join(await deltas("hello there", Sleep()))
    assert "demo model" in text
    assert "“hello there”" in text
    assert "OPENAI_API_KEY" in text
    assert "\n\n" in text, "splitting into words must keep paragraphs"


async def test_the_same_question_has_the_same_answer() -> None:
    assert await deltas("again", Sleep()) == await deltas("again", Sleep())


async def test_it_calls_a_tool_by_name_and_includes_its_output() -> None:
    assert "four" in "".join(await deltas("please Roll Dice for me", Sleep()))


@pytest.mark.parametrize("name", ["get env", "Get-Env", "get_env"])
async def test_a_tool_may_be_named_in_any_spelling(name: str) -> None:
    tool = function_tool(lambda: "PATH", name_override="get-env", description_override="")
    agent = Agent[Any](name="Test", tools=[tool])
    model = RunConfig(model=DemoModel(sleep=Sleep()), tracing_disabled=True)
    assert "PATH" in (await Runner.run(agent, f"please {name}", run_config=model)).final_output


async def test_a_tool_is_called_with_the_arguments_in_the_users_message() -> None:
    assert "answered: 5" in "".join(await deltas('add numbers {"a": 2, "b": 3}, please', Sleep()))


@pytest.mark.parametrize("words", ["add numbers", 'add numbers {"a": 2}', "add numbers {", "add numbers {}"])
async def test_missing_arguments_are_requested(words: str) -> None:
    text = "".join(await deltas(words, Sleep()))
    assert '`add numbers {"a": 1, "b": 1}`' in text
    assert "You said" not in text


async def test_it_answers_without_streaming() -> None:
    result = await Runner.run(AGENT, "hi", run_config=RunConfig(model=DemoModel(), tracing_disabled=True))
    assert "demo model" in result.final_output


async def test_it_counts_to_the_requested_number() -> None:
    words = await deltas("Please count to 1200.", Sleep())
    assert (len(words), words[0], words[-1].strip()) == (1200, "1", "1200")
