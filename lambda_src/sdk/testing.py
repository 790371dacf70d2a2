"""What the tests of your agent import: the fixture `chat`, scripted models and what a reply contains.

    from lambda_src.sdk.testing import AgentChat, calls, chat, says

    async def test_it_tells_the_time(chat: AgentChat) -> None:
        reply = await chat.say("What time is it?", script=[calls("current_time"), says("Noon.")])
        assert reply.tools == ["current_time"]

Not deployed. docs/how-to/testing.md explains each name.
"""

from lambda_src.dev.testing import AgentChat, Operator, RefusedError, Reply, calls, chat, real_model, says, served

__all__ = ["AgentChat", "Operator", "RefusedError", "Reply", "calls", "chat", "real_model", "says", "served"]
