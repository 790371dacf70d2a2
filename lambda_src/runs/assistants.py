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

from lambda_src.runs.widget_actions import Actions
from lambda_src.settings import ModelFile, QuotaSettings, Settings

if TYPE_CHECKING:  # agents takes over a second to import on Lambda: a thread list must not pay for it
    from agents import Agent

BuildAgent = Callable[[], "Agent[Any]"]
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)  # it is part of URLs and keys
TAKEN = ("attachments", "handoff", "link", "stop", "threads", "turns", "upload")  # routes of the unnamed assistant
QUOTAS = {quota.name for quota in fields(QuotaSettings)}


@dataclass(frozen=True, slots=True)
class Assistant:
    """One assistant: a function that builds its agent, and the actions of its widgets.

    The agent is built once per process, on the first message; one with MCP servers is built again for each turn. Every
    other field overrides the setting or quota of the same name (docs/reference/settings.md) for this assistant; None
    keeps it. Messages, running turns and tokens are counted separately for each assistant.
    """

    build_agent: BuildAgent
    _: KW_ONLY
    actions: Actions = field(default_factory=Actions)
    models: Sequence[str] | None = None
    model_files: Sequence[ModelFile] | None = None
    tool_choices: Sequence[str] | None = None
    messages_per_minute: int | None = None
    messages_per_day: int | None = None
    running_turns: int | None = None
    tokens_per_day: int | None = None

    def settings(self, settings: Settings) -> Settings:
        """The settings with this assistant's overrides."""
        changes = self.changes()
        limits = {name: changes.pop(name) for name in [*changes] if name in QUOTAS}
        return replace(settings, quotas=replace(settings.quotas, **limits), **changes)

    def changes(self) -> dict[str, Any]:
        """The overridden settings, by name."""
        names = [field.name for field in fields(self) if field.name not in ("build_agent", "actions")]
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
    return agents


def shipped_agent() -> "Agent[Any]":
    """The agent of the unnamed assistant."""
    return shipped()[""].build_agent()


def shipped_actions() -> Actions:
    """The widget actions of the unnamed assistant."""
    return shipped()[""].actions
