"""The fixture with which users test their agents: what it tells of an answer."""

from typing import Any

import pytest
from agents import Agent, function_tool
from agents.mcp import MCPServerStreamableHttp

from lambda_src.dev import showcase
from lambda_src.dev.testing import AgentChat, RefusedError, calls, real_model, says
from lambda_src.errors import SettingsError
from lambda_src.runs.widget_actions import ActionCall, Actions
from tests.fakes.mcp_server import mcp_process
from tests.fakes.model_api import ANSWER, model_api


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


async def test_an_answer_may_contain_any_separator_of_unicode() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x1cf"
    assert (await AgentChat(shop).say("hi", script=[says(text)])).text == text


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
    with pytest.raises(RefusedError, match="locked on request"):
        await chat.say("more")


async def test_nothing_to_approve_and_an_answer_given_twice_are_refused() -> None:
    @function_tool(needs_approval=True)
    def pay(order: int) -> str:
        """Pay."""
        return "paid"

    chat = AgentChat(lambda: Agent[Any](name="Shop", tools=[pay]))
    plain = await chat.say("hello", script=[says("Hello.")])
    assert plain.approvals == []
    with pytest.raises(RefusedError, match="No tool call waits"):
        await plain.approve()
    asked = await chat.say("pay 17", script=[calls("pay", order=17), says("Paid.")])
    approved = await asked.approve()
    assert (approved.text, approved.tools, approved.approvals) == ("Paid.", ["pay"], [])
    with pytest.raises(RefusedError, match="409"):
        await asked.approve()


async def test_tools_of_an_agent_that_took_over_are_told_too() -> None:
    clerk = Agent[Any](name="Clerk", tools=[refund])
    front = Agent[Any](name="Front", handoffs=[clerk])
    clerk.handoffs = [front]
    script = [calls("transfer_to_clerk"), calls("refund", order=17), says("Done.")]
    reply = await AgentChat(lambda: front).say("refund order 17", script=script)
    assert (reply.text, reply.tools) == ("Done.", ["refund"])


async def test_tools_are_told_too_when_the_thread_continues_with_the_agent_that_took_over() -> None:
    chat = AgentChat(lambda: Agent(name="Front", handoffs=[Agent(name="Clerk", tools=[refund])]))
    await chat.say("the clerk, please", script=[calls("transfer_to_clerk"), says("Hello.")])
    reply = await chat.say("refund order 17", script=[calls("refund", order=17), says("Done.")])
    assert (reply.text, reply.tools) == ("Done.", ["refund"])


async def test_tools_of_an_mcp_server_work_in_every_turn_and_are_told() -> None:
    async with mcp_process() as server:
        chat = AgentChat(lambda: Agent(name="Shop", mcp_servers=[MCPServerStreamableHttp({"url": server.url})]))
        for _ in range(2):
            reply = await chat.say("count socks", script=[calls("count_socks"), says("42.")])
            assert (reply.text, reply.tools) == ("42.", ["count_socks"])


async def test_what_the_agent_raised_is_told_beside_what_the_user_was_told() -> None:
    def instructions(context: object, agent: object) -> str:
        raise LookupError("no prompt")

    chat = AgentChat(lambda: Agent(name="Shop", instructions=instructions))
    reply = await chat.say("hello", script=[says("never")])
    assert reply.error is not None
    assert isinstance(reply.cause, LookupError)


async def test_an_exception_in_a_tool_is_the_error_of_a_reply_that_arrived() -> None:
    @function_tool
    def refund(order: int) -> str:
        """Refund an order."""
        raise LookupError(f"no order {order}")

    chat = AgentChat(lambda: Agent(name="Shop", tools=[refund]))
    reply = await chat.say("refund order 17", script=[calls("refund", order=17), says("That failed.")])
    assert (reply.text, reply.error) == ("That failed.", "LookupError: no order 17")
    assert isinstance(reply.cause, LookupError)
    after = await chat.say("thanks", script=[says("Bye.")])
    assert (after.error, after.cause) == (None, None)


async def test_an_exception_in_an_action_is_the_cause_of_its_reply() -> None:
    actions = Actions()

    @actions.on("order.cancel")
    async def cancel(_: None, call: ActionCall) -> None:
        raise LookupError("no order")

    chat = AgentChat(shop, build_actions=lambda: actions)
    await chat.say("hello", script=[says("Hello.")])
    reply = await chat.press("order.cancel")
    assert reply.error is not None
    assert isinstance(reply.cause, LookupError)


async def test_a_tool_that_does_not_exist_is_told_to_the_model() -> None:
    reply = await AgentChat(shop).say("refund", script=[calls("pay_back"), says("I cannot do that.")])
    assert (reply.text, reply.tools, reply.error) == ("I cannot do that.", [], None)


async def test_a_real_model_on_this_machine_needs_no_key_and_its_tokens_are_told() -> None:
    async with model_api() as api:
        environ = {"REAL_MODEL": "1", "CHAT_MODEL_BASE_URL": f"{api.url}/counted"}
        chat = AgentChat(shop, real_model=real_model(environ))
        reply = await chat.say("count", script=[says("a script, which is passed over")])
    assert (reply.text, reply.tokens_in, reply.tokens_out) == (ANSWER, 11, 2)


def test_an_agent_that_cannot_be_built_says_so_at_once() -> None:
    def broken() -> Agent[Any]:
        raise LookupError("no prompt")

    with pytest.raises(LookupError):
        AgentChat(broken)


async def test_a_click_before_any_message_is_refused_with_a_sentence() -> None:
    with pytest.raises(RefusedError, match="say something first"):
        await AgentChat(shop).press("order.ship")


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "k"}, {"REAL_MODEL": "0", "OPENAI_API_KEY": "k"}])
def test_a_real_model_answers_only_when_it_is_asked_for(environ: dict[str, str]) -> None:
    assert real_model(environ) is None
    assert real_model({**environ, "OPENAI_API_KEY": "k", "REAL_MODEL": "1"}) is not None


def test_a_real_model_that_is_not_there_is_no_script_in_disguise() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        real_model({"REAL_MODEL": "1"})
