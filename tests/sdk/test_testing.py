"""The chat fixture for users' agent tests (lambda_src.sdk.testing): replies, scripts, approvals, errors, models."""

from typing import Any

import pytest
from agents import Agent, function_tool
from agents.mcp import MCPServerStreamableHttp

from lambda_src.dev import showcase
from lambda_src.dev.testing import AgentChat, RefusedError, calls, real_model, says
from lambda_src.errors import SettingsError
from lambda_src.runs.widget_actions import ActionCall, Actions
from lambda_src.sdk import ask_a_human
from tests.fakes.mcp_server import mcp_process
from tests.fakes.model_api import ANSWER, model_api


@function_tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"order {order} refunded"


def shop() -> Agent[Any]:
    return Agent(name="Shop", tools=[refund])


async def test_a_reply_has_text_tools_events_and_items() -> None:
    chat = AgentChat(shop)
    reply = await chat.say("refund order 17", script=[calls("refund", order=17), says("Done.")])
    assert (reply.text, reply.tools, reply.error) == ("Done.", ["refund"], None)
    assert [item.type for item in reply.items] == ["user_message", "workflow", "assistant_message"]
    assert reply.events[0]["type"] == "thread.created"


async def test_an_answer_may_contain_any_unicode_separator() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x1cf"
    assert (await AgentChat(shop).say("hi", script=[says(text)])).text == text


async def test_messages_continue_the_thread_until_a_new_one() -> None:
    chat = AgentChat(shop)
    first = await chat.say("one", script=[says("1")])
    second = await chat.say("two", script=[says("2")])
    chat.new_thread()
    third = await chat.say("three", script=[says("3")])
    assert first.thread_id == second.thread_id != third.thread_id
    assert (len(second.items), len(third.items)) == (4, 2)


async def test_a_reply_has_widgets_whose_buttons_can_be_pressed() -> None:
    chat = AgentChat(showcase.build_agent, build_actions=lambda: showcase.actions)
    reply = await chat.say("show me a widget")
    assert reply.widgets[0]["children"][1]["value"] == "open"
    pressed = await chat.press("order.ship", {"order_id": 17})
    assert pressed.widgets[0]["children"][1]["value"] == "shipped"


async def test_a_person_answers_and_returns_the_thread() -> None:
    chat = AgentChat(lambda: Agent[Any](name="Shop", tools=[ask_a_human]))
    olga = chat.operator("olga")
    reply = await chat.say("a person please", script=[calls("ask_a_human")])
    assert (reply.tools, reply.held) == (["ask_a_human"], "waiting")
    await olga.take()
    assert await olga.write("I am here.", author="Olga") == "**Olga:** I am here."
    reply = await chat.say("great", script=[says("never said")])
    assert (reply.text, reply.held, reply.items[-1].type) == ("", "person", "user_message")
    await olga.give_back()
    reply = await chat.say("and you?", script=[says("I am the assistant.")])
    assert (reply.text, reply.held) == ("I am the assistant.", None)


async def test_one_of_two_operators_has_a_thread_and_can_close_it() -> None:
    chat = AgentChat(shop)
    with pytest.raises(RefusedError, match="ann has no thread yet"):
        await chat.operator("olga").take()
    await chat.say("hello", script=[says("hi")])
    await chat.operator("olga").take()
    with pytest.raises(RefusedError, match="Somebody else has this conversation"):
        await chat.operator("otto").take()
    await chat.operator("olga").close()
    with pytest.raises(RefusedError, match="This conversation is closed"):
        await chat.say("one more thing")


async def test_people_answer_at_a_named_assistant() -> None:
    chat = AgentChat(shop, assistant="sales")
    await chat.say("hello", script=[says("hi")])
    await chat.operator("olga").take()
    assert (await chat.say("who is there?")).held == "person"


async def test_a_script_that_ends_too_early_is_an_error_in_the_reply() -> None:
    reply = await AgentChat(shop).say("refund order 17", script=[calls("refund", order=17)])
    assert reply.error is not None


async def test_a_refused_request_raises_with_the_reason() -> None:
    chat = AgentChat(showcase.build_agent)
    await chat.say("lock this thread")
    with pytest.raises(RefusedError, match="locked on request"):
        await chat.say("more")


async def test_approving_without_a_pending_call_or_twice_is_refused() -> None:
    @function_tool(needs_approval=True)
    def pay(order: int) -> str:
        """Pay."""
        return "paid"

    chat = AgentChat(lambda: Agent[Any](name="Shop", tools=[pay]))
    plain = await chat.say("hello", script=[says("Hello.")])
    assert plain.approvals == []
    with pytest.raises(RefusedError, match="No tool call waits"):
        await plain.approve()
    pending = await chat.say("pay 17", script=[calls("pay", order=17), says("Paid.")])
    approved = await pending.approve()
    assert (approved.text, approved.tools, approved.approvals) == ("Paid.", ["pay"], [])
    with pytest.raises(RefusedError, match="409"):
        await pending.approve()


async def test_a_reply_includes_the_tools_of_a_handoff_agent() -> None:
    clerk = Agent[Any](name="Clerk", tools=[refund])
    front = Agent[Any](name="Front", handoffs=[clerk])
    clerk.handoffs = [front]
    script = [calls("transfer_to_clerk"), calls("refund", order=17), says("Done.")]
    reply = await AgentChat(lambda: front).say("refund order 17", script=script)
    assert (reply.text, reply.tools) == ("Done.", ["refund"])


async def test_a_reply_includes_tools_when_the_thread_continues_with_the_handoff_agent() -> None:
    chat = AgentChat(lambda: Agent(name="Front", handoffs=[Agent(name="Clerk", tools=[refund])]))
    await chat.say("the clerk, please", script=[calls("transfer_to_clerk"), says("Hello.")])
    reply = await chat.say("refund order 17", script=[calls("refund", order=17), says("Done.")])
    assert (reply.text, reply.tools) == ("Done.", ["refund"])


async def test_tools_of_an_mcp_server_work_in_every_turn_and_are_in_the_reply() -> None:
    async with mcp_process() as server:
        chat = AgentChat(lambda: Agent(name="Shop", mcp_servers=[MCPServerStreamableHttp({"url": server.url})]))
        for _ in range(2):
            reply = await chat.say("count socks", script=[calls("count_socks"), says("42.")])
            assert (reply.text, reply.tools) == ("42.", ["count_socks"])


async def test_a_reply_has_the_agents_exception_next_to_the_users_message() -> None:
    def instructions(context: object, agent: object) -> str:
        raise LookupError("no prompt")

    chat = AgentChat(lambda: Agent(name="Shop", instructions=instructions))
    reply = await chat.say("hello", script=[says("never")])
    assert reply.error is not None
    assert isinstance(reply.cause, LookupError)


async def test_an_exception_in_a_tool_is_the_error_of_a_completed_reply() -> None:
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


async def test_the_model_sees_that_a_tool_does_not_exist() -> None:
    reply = await AgentChat(shop).say("refund", script=[calls("pay_back"), says("I cannot do that.")])
    assert (reply.text, reply.tools, reply.error) == ("I cannot do that.", [], None)


async def test_a_local_real_model_needs_no_key_and_its_tokens_are_in_the_reply() -> None:
    async with model_api() as api:
        environ = {"REAL_MODEL": "1", "CHAT_MODEL_BASE_URL": f"{api.url}/counted"}
        chat = AgentChat(shop, real_model=real_model(environ))
        reply = await chat.say("count", script=[says("a script, which is ignored")])
    assert (reply.text, reply.tokens_in, reply.tokens_out) == (ANSWER, 11, 2)


def test_an_agent_that_cannot_be_built_raises_at_once() -> None:
    def broken() -> Agent[Any]:
        raise LookupError("no prompt")

    with pytest.raises(LookupError):
        AgentChat(broken)


async def test_pressing_a_button_before_any_message_is_refused_with_a_message() -> None:
    with pytest.raises(RefusedError, match="say something first"):
        await AgentChat(shop).press("order.ship")


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "k"}, {"REAL_MODEL": "0", "OPENAI_API_KEY": "k"}])
def test_a_real_model_answers_only_if_requested(environ: dict[str, str]) -> None:
    assert real_model(environ) is None
    assert real_model({**environ, "OPENAI_API_KEY": "k", "REAL_MODEL": "1"}) is not None


def test_requesting_a_real_model_without_a_key_is_an_error() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        real_model({"REAL_MODEL": "1"})
