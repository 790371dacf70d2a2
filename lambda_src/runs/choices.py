"""What the user picked beside a message: the model, a tool. Knows no thread and no store.

A turn without a message of its own (a client tool answered, a form came in) goes on with the choice of the last one.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from agents import Agent, Model, ModelSettings, RunConfig, RunContextWrapper
from chatkit.agents import AgentContext
from chatkit.errors import CustomStreamError
from chatkit.types import InferenceOptions, ThreadItem, UserMessageItem

from lambda_src.context import RequestContext

NOTHING = InferenceOptions()


def options_of(newest_first: Iterable[ThreadItem]) -> InferenceOptions:
    """The choice that came with the newest user message."""
    return next((item.inference_options for item in newest_first if isinstance(item, UserMessageItem)), NOTHING)


async def applied(
    options: InferenceOptions,
    agent: Agent[Any],
    run_config: RunConfig,
    *,
    models: Sequence[str],
    tools: Collection[str],
    context: AgentContext[RequestContext],
) -> tuple[Agent[Any], RunConfig]:
    """Agent and run as chosen. CustomStreamError: the tool is not one of `tools`, or this agent does not have it.

    A model that is no longer offered (an old message's) gives way to the default: the first of `models`, or, when
    there is no list, the agent's own. A run whose model is an object, as the demo's, keeps it.
    """
    named = options.model if options.model in models else next(iter(models), None)
    if named is not None and not isinstance(run_config.model, Model):
        run_config = replace(run_config, model=named)
    if options.tool_choice is None:
        return agent, run_config
    tool = options.tool_choice.id
    if tool not in tools or tool not in {one.name for one in await agent.get_all_tools(RunContextWrapper(context))}:
        raise CustomStreamError("This assistant does not have the tool that was chosen.")
    chosen = agent.model_settings.resolve(ModelSettings(tool_choice=tool))
    return agent.clone(model_settings=chosen), run_config
