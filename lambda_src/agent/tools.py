"""What your agent can do. A function with a docstring and types is all it takes."""

from datetime import UTC, datetime

from agents import RunContextWrapper, function_tool
from chatkit.agents import AgentContext

from lambda_src.sdk import RequestContext


@function_tool
def current_time() -> str:
    """The present date and time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@function_tool
def my_user_id(chat: RunContextWrapper[AgentContext[RequestContext]]) -> str:
    """The id under which this chat knows the user: what your own services are asked with, on their behalf."""
    return chat.context.request_context.user.person
