"""The assistants of this server by name, as lambda_src/agent/ declares them. Knows no HTTP, no thread, no model.

A single assistant needs only `build_agent()`, and `actions` if it has any. Several assistants are a dict:

    AGENTS = {"": Assistant(build_agent), "sales": Assistant(build_sales, models=["gpt-6.1-sol"], messages_per_day=20)}

The unnamed assistant answers at POST /chatkit, the others at POST /chatkit/{name}. A named assistant can override
settings; the unnamed one uses the settings as they are.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from lambda_src.json_settings import QuotaSettings
from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import ModelFile, Settings

if TYPE_CHECKING:  # agents takes over a second to import on Lambda: a thread list must not pay for it
    from agents import Agent

BuildAgent = Callable[[], "Agent[Any]"]
ToolTitles = Mapping[str, str]
"""What users read while a tool runs, by the tool's name."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)  # it is part of URLs and keys
TAKEN = ("attachments", "handoff", "link", "stop", "threads", "turns", "upload")  # routes of the unnamed assistant
TITLE_CHARS = 80  # of a tool's title: one line on a phone is half of it
QUOTAS = {quota.name for quota in fields(QuotaSettings)}


@dataclass(frozen=True, slots=True)
class Assistant:
    """One assistant: a function that builds its agent, and the actions of its widgets.

    The agent is built once per process, on the first message; one with MCP servers is built again for each turn. Every
    other field overrides the setting or quota of the same name (docs/reference/settings.md) for this assistant; None
    keeps it. Messages, running turns and tokens are counted separately for each assistant.

    `tool_titles` says what users read while a tool runs, by the tool's name: {"lookup_order": "Looking up your order"}.
    Other tools are shown by their names.
    """

    build_agent: BuildAgent
    _: KW_ONLY
    actions: Actions = field(default_factory=Actions)
    tool_titles: ToolTitles = field(default_factory=dict)
    models: Sequence[str] | None = None
    model_files: Sequence[ModelFile] | None = None
    tool_choices: Sequence[str] | None = None
    messages_per_minute: int | None = None
    messages_per_day: int | None = None
    running_turns: int | None = None
    tokens_per_day: int | None = None

    def built(self) -> "Agent[Any]":
        """The agent. Raises TypeError if a tool title is for a tool that it does not have."""
        agent = self.build_agent()
        if self.tool_titles:
            known = tool_names(agent)
            if known is not None and (unknown := [name for name in self.tool_titles if name not in known]):
                raise TypeError(
                    f"tool_titles names {', '.join(map(repr, unknown))}, which {agent.name} does not have. "
                    f"Its tools: {', '.join(sorted(known)) or 'none'}."
                )
        return agent

    def settings(self, settings: Settings) -> Settings:
        """The settings with this assistant's overrides."""
        changes = self.changes()
        limits = {name: changes.pop(name) for name in [*changes] if name in QUOTAS}
        return replace(settings, quotas=replace(settings.quotas, **limits), **changes)

    def changes(self) -> dict[str, Any]:
        """The overridden settings, by name."""
        names = [field.name for field in fields(self) if field.name not in ("build_agent", "actions", "tool_titles")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


Assistants = Mapping[str, Assistant]
LoadAssistants = Callable[[], Assistants]


def shipped() -> Assistants:
    """The assistants of lambda_src/agent/. Raises TypeError if its AGENTS is not valid."""
    declared = vars(importlib.import_module("lambda_src.agent"))
    if "AGENTS" in declared:
        return checked(declared["AGENTS"])
    return {"": Assistant(declared["build_agent"], actions=declared.get("actions") or Actions())}


def checked(agents: object) -> Assistants:
    """`agents`, if it is a valid dict of assistants. Raises TypeError with the reason if not."""
    if not isinstance(agents, Mapping) or not all(isinstance(agent, Assistant) for agent in agents.values()):
        raise TypeError('AGENTS must be a dict of Assistant by name: {"": Assistant(build_agent), "sales": ...}.')
    if "" not in agents or agents[""].changes():
        raise TypeError('AGENTS needs an entry "", which names no models or limits: CHAT_MODELS and others do.')
    for name in agents:
        if name and (not isinstance(name, str) or not NAME.fullmatch(name) or name in TAKEN):
            raise TypeError(
                f"AGENTS names an assistant {name!r}: take up to 31 of a-z, 0-9 and -, a letter first, "
                f"and none of {', '.join(TAKEN)}."
            )
    for name, assistant in agents.items():
        if (problem := _titles_problem(assistant.tool_titles)) is not None:
            raise TypeError(f"AGENTS[{name!r}]: {problem}")
    return agents


def _titles_problem(titles: object) -> str | None:
    """What is wrong with `tool_titles`, as a sentence; None if nothing is."""
    if not isinstance(titles, Mapping):
        return 'tool_titles must be a dict of titles by tool: {"lookup_order": "Looking up your order"}.'
    for tool, title in titles.items():
        if not isinstance(title, str) or not title.strip() or len(title) > TITLE_CHARS:
            return f"the title of {tool!r} in tool_titles must be a text of 1 to {TITLE_CHARS} characters."
    return None


def tool_names(agent: "Agent[Any]") -> set[str] | None:
    """The names of all tools and handoffs of the agent and those it hands off to; None if an MCP server has others."""
    from agents import Handoff, HostedMCPTool  # noqa: PLC0415 - off the cold path

    from lambda_src.runs.mcp_servers import agents_of  # noqa: PLC0415 - as above

    names: set[str] = set()
    for member in agents_of(agent):
        if member.mcp_servers or any(isinstance(tool, HostedMCPTool) for tool in member.tools):
            return None
        names |= {tool.name for tool in member.tools}
        for handoff in member.handoffs:
            names.add(handoff.tool_name if isinstance(handoff, Handoff) else Handoff.default_tool_name(handoff))
    return names


def shipped_agent() -> "Agent[Any]":
    """The agent of the unnamed assistant."""
    return shipped()[""].built()


def shipped_actions() -> Actions:
    """The widget actions of the unnamed assistant."""
    return shipped()[""].actions


def shipped_tool_titles() -> ToolTitles:
    """The tool titles of the unnamed assistant."""
    return shipped()[""].tool_titles
