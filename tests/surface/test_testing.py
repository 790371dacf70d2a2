"""The fixture with which users test their agents: what it tells of an answer."""

from typing import Any

import pytest
from agents import Agent, function_tool

from lambda_src.dev import showcase
from lambda_src.dev.testing import AgentChat, calls, real_key, says


@function_tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"order {order} refunded"


def shop() -> Agent[Any]:
    return Agent(name="Shop", tools=[refund])


async def test_text_tools_events_and_items_of_an_answer() -> None:
    chat = AgentChat(shop)
    reply = await chat.say("refund order 17", script=[calls("refund", order=17), says("Done.")])
    assert (reply.text, reply.tools, reply.error) == ("Done.", ["refund"], None)
    assert [item.type for item in reply.items] == ["user_message", "assistant_message"]
    assert reply.events[0]["type"] == "thread.created"


async def test_a_user_goes_on_in_their_thread_until_a_new_one() -> None:
    chat = AgentChat(shop)
    first = await chat.say("one", script=[says("1")])
    second = await chat.say("two", script=[says("2")])
    chat.new_thread()
    third = await chat.say("three", script=[says("3")])
    assert first.thread_id == second.thread_id != third.thread_id
    assert (len(second.items), len(third.items)) == (4, 2)


async def test_widgets_and_their_buttons() -> None:
    chat = AgentChat(showcase.build_agent, build_actions=lambda: showcase.actions)
    shown = await chat.say("show me a widget")
    assert shown.widgets[0]["children"][1]["value"] == "open"
    pressed = await chat.press("order.ship", {"order_id": 17})
    assert pressed.widgets[0]["children"][1]["value"] == "shipped"


async def test_a_script_that_ends_too_early_is_an_error_of_the_reply() -> None:
    reply = await AgentChat(shop).say("refund order 17", script=[calls("refund", order=17)])
    assert reply.error is not None


async def test_a_refused_request_says_why() -> None:
    chat = AgentChat(showcase.build_agent)
    await chat.say("lock this thread")
    with pytest.raises(AssertionError, match="locked on request"):
        await chat.say("more")


@pytest.mark.parametrize(
    ("environ", "key"),
    [({}, None), ({"OPENAI_API_KEY": "k"}, None), ({"OPENAI_API_KEY": "k", "REAL_MODEL": "1"}, "k")],
    ids=["nothing", "a key alone", "both"],
)
def test_a_real_model_answers_only_when_it_is_asked_for(environ: dict[str, str], key: str | None) -> None:
    assert real_key(environ.get) == key
