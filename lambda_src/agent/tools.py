"""The tools of your agent. A tool is a function with a docstring and type annotations."""

from datetime import UTC, datetime

from agents import RunContextWrapper, function_tool
from chatkit.agents import AgentContext

from lambda_src.sdk import RequestContext


@function_tool
def current_time() -> str:
    """The current date and time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@function_tool
def account_status(chat: RunContextWrapper[AgentContext[RequestContext]]) -> str:
    """Whether the user is signed in."""
    user = chat.context.request_context.user  # look up your customer by user.subject; the model needs no id
    return "a guest, not signed in" if user.is_guest else "signed in"
