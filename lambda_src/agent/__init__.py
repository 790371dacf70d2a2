"""Your agent. This folder belongs to you: change it and add files to it. No release of the project changes it.

The server needs only the function `build_agent()`, which returns an Agent. Add the packages that your tools import with
`make add NAME=...`, which puts them into the dependency group `agent`.
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
    """Return the agent. The server calls this once in each process, for the first message."""
    return Agent(name="Assistant", instructions=INSTRUCTIONS, model=MODEL, tools=[current_time, account_status])
