"""The showcase: one tool per ChatKit feature (docs/reference/chatkit.md). Run `make dev FLAGS=--showcase`.

The demo model calls the tool that the message names, so no key is needed. Not part of the zip.
"""

from typing import Any

from agents import Agent, StopAtTools

from lambda_src.dev.showcase.actions import actions
from lambda_src.dev.showcase.asking import ask_me_something, end_the_turn, give_a_refund, read_my_clipboard
from lambda_src.dev.showcase.showing import (
    change_my_page,
    cite_your_sources,
    lock_this_thread,
    remember_something,
    show_a_notice,
    show_a_task,
    show_progress,
    who_is_mentioned,
    work_through_steps,
)
from lambda_src.dev.showcase.widgets import show_me_a_widget, stream_a_widget

__all__ = ["actions", "build_agent"]

TOOLS = [
    show_me_a_widget, stream_a_widget, ask_me_something, read_my_clipboard, give_a_refund, end_the_turn,
    work_through_steps, show_a_task, show_progress, change_my_page, show_a_notice, cite_your_sources, who_is_mentioned,
    remember_something, lock_this_thread,
]  # fmt: skip
WAITING = [ask_me_something.name, read_my_clipboard.name, end_the_turn.name]  # the user or the page continues the run


def build_agent() -> Agent[Any]:
    """The agent of the showcase."""
    return Agent(
        name="Showcase",
        instructions="You show what ChatKit can do. Call the tool that the user names.",
        tools=list(TOOLS),
        tool_use_behavior=StopAtTools(stop_at_tool_names=WAITING),
    )
