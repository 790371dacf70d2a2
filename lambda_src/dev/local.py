"""The handler of `make dev`: the deployed handler, but every caller is one local user. Never in the zip."""

import logging
import os
from typing import Any

from agents import Agent

from lambda_src.cli.secrets import local as local_secrets
from lambda_src.composition.app import Parts, build_handler, dictation, run_config
from lambda_src.composition.aws import Clients
from lambda_src.composition.stores import upload_origin
from lambda_src.context import User
from lambda_src.dev import showcase
from lambda_src.dev.broken import reports_broken_agent
from lambda_src.dev.embed_demo import EmbedDemo
from lambda_src.dev.local_settings import local_key, local_settings
from lambda_src.http.page import page_of
from lambda_src.languages import FOLDERS, SHIPPED, Languages
from lambda_src.observability.faults import show_tracebacks
from lambda_src.observability.logs import configure_logging
from lambda_src.runs.assistants import (
    Assistants,
    ToolTitles,
    shipped,
    shipped_actions,
    shipped_agent,
    shipped_tool_titles,
)
from lambda_src.runs.hooks import shipped_hooks
from lambda_src.runs.tool_secrets import ToolSecrets
from lambda_src.runs.widget_actions import Actions

SHOWCASE = "CHATKIT_SHOWCASE"  # set by the flag
ORIGINS = "CHATKIT_ORIGINS"  # set by --origin, separated by spaces


ISSUER = "urn:chatkit-lambda:local"


async def local_user(authorization: str | None) -> User:
    """Authenticate every caller on loopback as the user `local`, who is also the operator if there are operators."""
    operates = () if settings.operators is None else settings.operators.assistants
    return User(id="local", issuer=ISSUER, subject="local", operates=frozenset(operates))


def local_agent() -> Agent[Any]:
    """Your agent, or the showcase with `make dev FLAGS=--showcase`."""
    with reports_broken_agent():
        return showcase.build_agent() if SHOWCASE in os.environ else shipped_agent()


def local_actions() -> Actions:
    """The actions of that agent."""
    with reports_broken_agent():
        return showcase.actions if SHOWCASE in os.environ else shipped_actions()


def local_tool_titles() -> ToolTitles:
    """The tool titles of that agent; the showcase has none."""
    with reports_broken_agent():
        return {} if SHOWCASE in os.environ else shipped_tool_titles()


def local_assistants() -> Assistants:
    """Your named assistants."""
    with reports_broken_agent():
        return shipped()


configure_logging(root=logging.getLogger(), quiet=False)  # show the libraries' log lines, too
show_tracebacks()
settings = local_settings(os.environ)
key = local_key(settings, os.environ)
languages = (SHIPPED,) if SHOWCASE in os.environ else FOLDERS  # the showcase shows nothing of agent/
handler = build_handler(
    settings,
    Parts(
        authenticate=local_user,
        build_agent=local_agent,
        build_actions=local_actions,
        tool_titles=local_tool_titles,
        load_assistants=local_assistants,
        load_hooks=shipped_hooks,
        build_run_config=lambda: run_config(key, settings),
        transcribe=dictation(lambda: key or "", settings) if key else None,
        tool_secrets=ToolSecrets(lambda name: local_secrets.read(name, env=os.environ)),
        middleware=[EmbedDemo],
        languages=languages,
        page=page_of(
            settings,
            upload_origin=upload_origin(settings, Clients()),
            dictation=bool(key),
            is_open=True,
            embedded_by=os.environ.get(ORIGINS, "").split(),
            languages=Languages(settings.page.languages, languages),
        ),
    ),
)
