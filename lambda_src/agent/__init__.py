"""YOUR AGENT. This folder is yours: change it, add files beside it; no release of ours touches it.

The one thing the server asks for: `build_agent()`, which returns an Agent. What your tools import goes into the
dependency group `agent`: `make add NAME=...`.
"""

from agents import Agent
from chatkit.agents import AgentContext

from lambda_src.agent.model import MODEL
from lambda_src.agent.tools import current_time, account_status
from lambda_src.sdk import RequestContext

INSTRUCTIONS = """\
You are a friendly and precise assistant. Answer briefly, in the user's language.
Say so when you do not know something.
"""


def build_agent() -> Agent[AgentContext[RequestContext]]:
    """Called once a process, on the first message."""
    return Agent(name="Assistant", instructions=INSTRUCTIONS, model=MODEL, tools=[current_time, account_status])
