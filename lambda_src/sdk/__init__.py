"""What your code in `lambda_src/agent/` imports from this project.

Everything here is public and documented in docs/reference/sdk.md. Import nothing else of `lambda_src` (except your own
folder): any release may move or change it. `lambda_src.sdk.testing` and `lambda_src.sdk.store_contract` are for tests;
they are not deployed.
"""

from typing import TYPE_CHECKING, Any

from lambda_src.context import Claim, RequestContext, User
from lambda_src.runs.assistants import Assistant
from lambda_src.runs.hooks import UploadedFile
from lambda_src.runs.mcp_servers import optional
from lambda_src.runs.tool_secrets import SecretError, secret
from lambda_src.runs.widget_actions import ActionCall, Actions

if TYPE_CHECKING:
    from lambda_src.runs.ask_a_human import ask_a_human

__all__ = [
    "ActionCall",
    "Actions",
    "Assistant",
    "Claim",
    "RequestContext",
    "SecretError",
    "UploadedFile",
    "User",
    "ask_a_human",
    "optional",
    "secret",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a tool
    """Import the tool on first use, since it needs the Agents SDK."""
    if name != "ask_a_human":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lambda_src.runs.ask_a_human import ask_a_human  # noqa: PLC0415 - see above

    return ask_a_human
