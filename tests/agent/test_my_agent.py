"""YOURS: two examples. The model is scripted; with `REAL_MODEL=1 make test-agent` a real one answers."""

from lambda_src.sdk.testing import AgentChat, calls, says


async def test_it_looks_at_the_clock_when_asked(chat: AgentChat) -> None:
    reply = await chat.say("What time is it?", script=[calls("current_time"), says("It is noon.")])
    assert reply.tools == ["current_time"]
    assert reply.text


async def test_each_user_has_a_thread_of_their_own(chat: AgentChat) -> None:
    await chat.say("My name is Ann.", user="ann", script=[says("Hello, Ann.")])
    reply = await chat.say("Who am I?", user="bob", script=[says("I do not know.")])
    assert [item.type for item in reply.items] == ["user_message", "assistant_message"]
