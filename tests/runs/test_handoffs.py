"""Handoffs: a thread continues with the agent that took over last."""

import json
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from tests.apps.chat import message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of

TO_CLERK = [function_call("transfer_to_clerk", "{}", call_id="over")]
SAYS = [assistant_message("hello")]


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def team(*, tools: Any = (), hands_back: bool = False) -> Agent[Any]:
    """Return a front agent that can hand off to a clerk."""
    clerk = Agent[Any](name="Clerk", instructions="I am the clerk.", tools=list(tools))
    front = Agent[Any](name="Front", instructions="I am the front.", handoffs=[clerk])
    if hands_back:
        clerk.handoffs = [front]
    return front


def speakers(model: ScriptedModel) -> list[str | None]:
    return [call.system_instructions for call in model.calls]


async def test_the_next_message_goes_to_the_agent_that_took_over(full_app: FullApp) -> None:
    model = ScriptedModel([TO_CLERK, SAYS, SAYS])
    chat = full_app.chat(model=model, agent=team())
    first = await chat("threads.create", input=message("refund"))
    await chat("threads.add_user_message", thread_id=thread_of(first), input=message("again"))
    assert speakers(model) == ["I am the front.", "I am the clerk.", "I am the clerk."]


async def test_a_new_thread_begins_with_the_first_agent(full_app: FullApp) -> None:
    model = ScriptedModel([TO_CLERK, SAYS, SAYS])
    chat = full_app.chat(model=model, agent=team())
    await chat("threads.create", input=message("refund"))
    await chat("threads.create", input=message("a new one"))
    assert speakers(model)[-1] == "I am the front."


async def test_a_thread_of_a_removed_agent_continues_with_the_first_agent(full_app: FullApp) -> None:
    before = full_app.chat(model=ScriptedModel([TO_CLERK, SAYS]), agent=team())
    first = await before("threads.create", input=message("refund"))
    model = ScriptedModel([SAYS])
    after = full_app.chat(model=model, agent=Agent(name="Front", instructions="I am the front."))
    answer = await after("threads.add_user_message", thread_id=thread_of(first), input=message("again"))
    assert answer.of("error") == []
    assert speakers(model) == ["I am the front."]


async def test_a_handoff_back_continues_with_the_first_agent(full_app: FullApp) -> None:
    back = [function_call("transfer_to_front", "{}", call_id="back")]
    model = ScriptedModel([TO_CLERK, SAYS, back, SAYS, SAYS])
    chat = full_app.chat(model=model, agent=team(hands_back=True))
    thread_id = thread_of(await chat("threads.create", input=message("refund")))
    for text in ("thanks", "and now"):
        await chat("threads.add_user_message", thread_id=thread_id, input=message(text))
    assert speakers(model)[-2:] == ["I am the front.", "I am the front."]


async def test_a_client_neither_sees_nor_chooses_the_agent(full_app: FullApp) -> None:
    model = ScriptedModel([SAYS, TO_CLERK, SAYS])
    chat = full_app.chat(model=model, agent=team())
    forged = {"metadata": {"chat_agent": "Clerk"}}
    body = {"type": "threads.create", "params": {"input": message("hi"), **forged}, **forged}
    first = await chat.post(json.dumps(body).encode())
    second = await chat("threads.add_user_message", thread_id=thread_of(first), input=message("refund"))
    assert speakers(model) == ["I am the front.", "I am the front.", "I am the clerk."]
    read = await chat("threads.get_by_id", thread_id=thread_of(first))
    assert read.status == 200
    for answer in (first, second, read):
        assert b"Clerk" not in answer.body
        assert b"chat_agent" not in answer.body


async def test_an_approval_of_the_agent_that_took_over_still_works(full_app: FullApp) -> None:
    @function_tool(needs_approval=True)
    def refund() -> str:
        """Refund."""
        return "refunded"

    script = [TO_CLERK, SAYS, [function_call("refund", "{}", call_id="r")], [assistant_message("Refunded.")]]
    chat = full_app.chat(model=ScriptedModel(script), agent=team(tools=[refund]))
    thread_id = thread_of(await chat("threads.create", input=message("clerk, please")))
    request = await chat("threads.add_user_message", thread_id=thread_id, input=message("refund"))
    sent = {"status": "answered", "answers": {"0": {"values": ["Approve"]}}}
    form_id = items_of(request)[-1]["id"]
    after = await chat("threads.add_structured_input", thread_id=thread_id, item_id=form_id, input=sent)
    assert items_of(after)[-1]["content"][0]["text"] == "Refunded."
