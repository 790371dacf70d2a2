"""Tools of the showcase that wait for the user or the page: a form, a client tool, an approval, the end of a turn."""

from agents import function_tool
from chatkit.agents import ClientToolCall
from chatkit.types import (
    EndOfTurnItem,
    StructuredInput,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    ThreadItemDoneEvent,
)

from lambda_src.dev.showcase.chat import Chat, base


@function_tool
async def ask_me_something(chat: Chat) -> str:
    """Show a form with two questions; the run continues when it is answered."""
    colors = [StructuredInputMultipleChoiceOption(value=value) for value in ("red", "green")]
    inputs: list[StructuredInput] = [
        StructuredInputMultipleChoice(id="color", question="Which color?", options=colors),
        StructuredInputFreeform(id="why", question="And why?"),
    ]
    await chat.context.stream(ThreadItemDoneEvent(item=StructuredInputItem(**base(chat), inputs=inputs)))
    return "asked"


@function_tool
async def read_my_clipboard(chat: Chat) -> str:
    """Ask the page for the content of the clipboard (its `onClientTool` answers)."""
    chat.context.client_tool_call = ClientToolCall(name="read_clipboard", arguments={"format": "text"})
    return "asked"


@function_tool(needs_approval=True)
async def give_a_refund(chat: Chat) -> str:
    """Refund order 17, once the user approves."""
    return f"order 17 of {chat.context.request_context.user.person} is refunded"


@function_tool
async def end_the_turn(chat: Chat) -> str:
    """End the turn without a word."""
    await chat.context.stream(ThreadItemDoneEvent(item=EndOfTurnItem(**base(chat))))
    return "ended"
