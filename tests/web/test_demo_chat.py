"""The demo model on the page: every tool that it lists can be called by its name, also one with arguments."""

from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, RunConfig, function_tool
from playwright.sync_api import Page, expect

from lambda_src.models.demo_model import DemoModel
from tests.apps.chat import no_pause
from tests.web.chat_page import ChatPage
from tests.web.conftest import HOSTED, served_in_process, sign_in

pytestmark = pytest.mark.xdist_group("browser")


@function_tool(name_override="get-env")
def get_env(name: str) -> str:
    """Return a variable."""
    return f"{name} is set"


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """A server whose agent has a tool with an argument, and the demo model."""
    agent = Agent[Any](name="Demo", tools=[get_env])
    config = RunConfig(model=DemoModel(sleep=no_pause), tracing_disabled=True)
    with served_in_process(HOSTED, build_agent=lambda: agent, build_run_config=lambda: config) as url:
        yield url


def test_a_tool_with_arguments_is_listed_explained_and_called(tab: Page, demo: str) -> None:
    sign_in(tab)
    chat = ChatPage(tab, demo).open()
    chat.ask("hello")
    expect(chat.answer).to_contain_text("ask me for one by its name: “get env”")
    chat.ask("get env")
    expect(chat.answer.locator("code")).to_have_text('get env {"name": "..."}')
    chat.ask('Get-Env {"name": "HOME"}')
    expect(chat.answer).to_contain_text("it answered: HOME is set")
    expect(chat.page.locator(".workflow")).to_have_text("Get env")
