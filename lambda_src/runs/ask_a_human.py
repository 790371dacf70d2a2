"""The tool `ask_a_human`: ends the agent's run, and the thread then waits for a person (docs/how-to/operators.md).

The model is not called again: the user gets a fixed notice. The model does not see the tool where nobody answers.
"""

from typing import Any

from agents import AgentBase, RunContextWrapper, function_tool
from chatkit.agents import AgentContext

from lambda_src.context import RequestContext

Chat = RunContextWrapper[AgentContext[RequestContext]]


def _is_offered(chat: Chat, _agent: AgentBase[Any]) -> bool:
    turn = chat.context.request_context.turn
    return turn is not None and turn.offers_people


@function_tool(is_enabled=_is_offered)
def ask_a_human(chat: Chat) -> str:
    """Hand the conversation over to a person of the team. Use it when the user asks for a person, or when you cannot
    help.
    """
    turn = chat.context.request_context.turn
    assert turn is not None, "the tool is offered only in turns"
    turn.wants_person = True
    return "A person was asked to join."
