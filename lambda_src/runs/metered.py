"""Agents SDK run hooks that reserve tokens before each request to a model. Knows no counter and no thread."""

from typing import Any

from agents import Agent, FunctionTool, ModelResponse, RunContextWrapper, RunHooks, TResponseInputItem
from agents.items import TResponseStreamEvent
from openai.types import responses as r

from lambda_src.context import Turn
from lambda_src.meter import Call, Meter
from lambda_src.quotas import token_estimate

HOSTED_TOOL_TOKENS = 1_000  # what the vendor adds to the input for a hosted tool or an output schema
HANDOFF_TOKENS = 200
TOOL_SERVER_TOKENS = 5_000  # the tools of one MCP server; listing them again would take a round trip
DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
    }
)


class Metered(RunHooks[Any]):
    """The hooks of one run. `output_tokens` is the limit of each answer, or the assumed length without a limit.

    `watched` are the types of stream events that `on_event` needs; none if the turn has no meter.
    """

    watched: frozenset[str]

    def __init__(self, turn: Turn | None, *, output_tokens: int) -> None:
        self._meter: Meter | None = None if turn is None else turn.meter
        self._output_tokens = output_tokens
        self._call: Call | None = None
        self.watched = frozenset() if self._meter is None else DELTAS

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """The SDK's hook. A QuotaError ends the run before the request is sent."""
        if self._meter is None:
            return
        tokens = token_estimate.input_at_most(system_prompt, input_items, _schemas(agent)) + _fixed(agent)
        self._call = await self._meter.begin(input_tokens=tokens, output_tokens=self._output_tokens)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """The SDK's hook."""
        if self._meter is not None and self._call is not None:
            self._meter.end(self._call, response.usage.total_tokens)
            self._call = None

    def refused(self) -> None:
        """The vendor refused the request, which is sent again in another form: the refused one costs nothing."""
        if self._meter is not None and self._call is not None:
            self._meter.drop(self._call)
            self._call = None

    def cut(self, used: int) -> None:
        """The vendor ended the answer early. `used` are the tokens that it reported, 0 if it reported none."""
        if self._meter is not None and self._call is not None and used:
            self._meter.end(self._call, used)
            self._call = None

    async def on_event(self, event: TResponseStreamEvent) -> None:
        """Count the tokens of the answer as they arrive. Raises QuotaError when none are left."""
        match event:
            case (
                r.ResponseTextDeltaEvent(delta=delta)
                | r.ResponseFunctionCallArgumentsDeltaEvent(delta=delta)
                | r.ResponseReasoningTextDeltaEvent(delta=delta)
                | r.ResponseReasoningSummaryTextDeltaEvent(delta=delta)
            ) if self._meter is not None and self._call is not None:
                await self._meter.arrived(self._call, max(1, token_estimate.about(delta)))
            case _:
                pass


def _schemas(agent: Agent[Any]) -> list[dict[str, Any]]:
    return [
        {"name": tool.name, "description": tool.description, "parameters": tool.params_json_schema}
        for tool in agent.tools
        if isinstance(tool, FunctionTool)
    ]


def _fixed(agent: Agent[Any]) -> int:
    """Estimated tokens of hosted tools, handoffs and MCP tools, whose schemas are not in the agent."""
    hosted = sum(not isinstance(tool, FunctionTool) for tool in agent.tools) + (agent.output_type is not None)
    return (
        hosted * HOSTED_TOOL_TOKENS + len(agent.handoffs) * HANDOFF_TOKENS + len(agent.mcp_servers) * TOOL_SERVER_TOKENS
    )
