"""Two tabs of one user on one thread: client tools, forms, Regenerate and messages that meet; nothing is doubled.

The whole app with the showcase's agent; each tab has turns of its own over the same rows.
"""

import asyncio
import json
from typing import Any

import pytest

from lambda_src.chat.validation import Checks
from lambda_src.dev.showcase import actions, build_agent
from lambda_src.models.demo_model import DemoModel
from tests.apps.chat import Answer, Chat, message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of


class Gate:
    """The demo model's pauses: they last while the gate is shut."""

    def __init__(self) -> None:
        self.opened, self.reached, self.runs = asyncio.Event(), asyncio.Event(), 0
        self.opened.set()

    async def __call__(self, _: float) -> None:
        self.reached.set()
        await self.opened.wait()


class Counted(DemoModel):
    """A demo model that counts how often it was asked."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(sleep=gate)
        self.asked = 0

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """The demo model's own answer."""
        self.asked += 1
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Tabs:
    """Two tabs, one model."""

    def __init__(self, full_app: FullApp) -> None:
        self.gate = Gate()
        self.model = Counted(self.gate)
        self.one, self.two = (full_app.chat(model=self.model, agent=build_agent(), actions=actions) for _ in range(2))

    async def kinds(self, thread_id: str) -> list[str]:
        """What the thread shows."""
        shown = (await self.two("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
        return [item["type"] for item in shown]


@pytest.fixture
def tabs() -> Tabs:
    return Tabs(full_app_without_files())


async def rest() -> None:
    """Let everything run that waits for no time."""
    for _ in range(500):
        await asyncio.sleep(0)


async def both(tabs: Tabs, operation: str, **params: Any) -> tuple[Answer, Answer]:
    """The same request from the second tab while the first one's is being answered."""
    body = json.dumps({"type": operation, "params": params}).encode()
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    one = asyncio.create_task(tabs.one.post(body))
    await tabs.gate.reached.wait()
    two = asyncio.create_task(tabs.two.post(body))
    await rest()
    tabs.gate.opened.set()
    return await one, await two


async def waiting(chat: Chat, text: str) -> str:
    """A thread whose turn ended with a question to the page."""
    return thread_of(await chat("threads.create", input=message(text)))


async def test_a_tools_output_sent_twice_at_once_is_one_run_and_two_equal_streams(tabs: Tabs) -> None:
    thread_id = await waiting(tabs.one, "read my clipboard")
    before = tabs.model.asked
    one, two = await both(tabs, "threads.add_client_tool_output", thread_id=thread_id, result={"text": "forty-two"})
    assert one.status == two.status == 200
    assert one.body == two.body
    assert tabs.model.asked == before + 1
    assert await tabs.kinds(thread_id) == ["user_message", "client_tool_call", "assistant_message"]


@pytest.mark.parametrize("operation", ["threads.add_client_tool_output", "threads.add_structured_input"])
async def test_two_different_answers_to_one_question_are_one_run_and_one_refusal(
    tabs: Tabs, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second tab looked while the question was open, and comes to the lease when the first one's answer runs."""
    asked = "read my clipboard" if operation == "threads.add_client_tool_output" else "ask me something"
    thread_id = await waiting(tabs.one, asked)
    question = (await tabs.one("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][-1]
    looked, go_on = asyncio.Event(), asyncio.Event()
    look = Checks.check

    async def slow_look(checks: Checks, request: Any, context: Any) -> None:
        await look(checks, request, context)
        if not looked.is_set():
            looked.set()
            await go_on.wait()

    monkeypatch.setattr(Checks, "check", slow_look)

    async def answer(tab: Chat, word: str) -> Answer:
        if operation == "threads.add_client_tool_output":
            return await tab(operation, thread_id=thread_id, result={"text": word})
        sent = {"status": "answered", "answers": {"color": {"values": [word]}}}
        return await tab(operation, thread_id=thread_id, item_id=question["id"], input=sent)

    late = asyncio.create_task(answer(tabs.two, "green"))
    await looked.wait()
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    first = asyncio.create_task(answer(tabs.one, "red"))
    await tabs.gate.reached.wait()
    running = f"/chatkit/threads/{thread_id}/turn"
    runs = (await tabs.two.post(b"", running, "GET")).json["turn_id"]
    go_on.set()
    assert (await late).status == 409
    assert (await tabs.two.post(b"", running, "GET")).json["turn_id"] == runs is not None
    tabs.gate.opened.set()
    assert items_of(await first)[-1]["type"] == "assistant_message"
    assert (await tabs.kinds(thread_id))[-1] == "assistant_message"


async def test_a_form_answered_twice_at_once_is_one_run_and_two_equal_streams(tabs: Tabs) -> None:
    thread_id = await waiting(tabs.one, "ask me something")
    form = (await tabs.one("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][-1]
    before = tabs.model.asked
    sent = {"status": "answered", "answers": {"color": {"values": ["green"]}}}
    one, two = await both(tabs, "threads.add_structured_input", thread_id=thread_id, item_id=form["id"], input=sent)
    assert one.body == two.body
    assert tabs.model.asked == before + 1
    assert await tabs.kinds(thread_id) == ["user_message", "structured_input", "assistant_message"]


async def test_a_message_from_another_tab_leaves_no_tool_call_that_blocks_the_thread(tabs: Tabs) -> None:
    thread_id = await waiting(tabs.one, "read my clipboard")
    await tabs.two("threads.add_user_message", thread_id=thread_id, input=message("never mind"))
    late = await tabs.one("threads.add_client_tool_output", thread_id=thread_id, result={"text": "too late"})
    assert late.status == 409
    again = await tabs.one("threads.add_user_message", thread_id=thread_id, input=message("go on"))
    assert items_of(again)[-1]["type"] == "assistant_message"


async def test_regenerate_pressed_in_both_tabs_is_one_run_and_one_answer(tabs: Tabs) -> None:
    created = await tabs.one("threads.create", input=message("hi"))
    thread_id, asked = thread_of(created), items_of(created)[0]["id"]
    one, two = await both(tabs, "threads.retry_after_item", thread_id=thread_id, item_id=asked)
    assert one.body == two.body
    assert tabs.model.asked == 2
    assert await tabs.kinds(thread_id) == ["user_message", "assistant_message"]


@pytest.mark.parametrize("first_ends", ["by itself", "when it notices"])
async def test_regenerate_while_the_answer_is_being_written_leaves_one_answer(tabs: Tabs, first_ends: str) -> None:
    """Regenerate takes away what the older run wrote; what that still writes must be there by then."""
    thread_id = thread_of(await tabs.one("threads.create", input=message("hi")))
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    asking = asyncio.create_task(tabs.one("threads.add_user_message", thread_id=thread_id, input=message("more")))
    await tabs.gate.reached.wait()
    shown = (await tabs.two("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    asked = next(item["id"] for item in shown if item.get("content", [{}])[0].get("text") == "more")
    retried = asyncio.create_task(tabs.two("threads.retry_after_item", thread_id=thread_id, item_id=asked))
    await rest()
    if first_ends == "when it notices":
        tabs.gate.reached.clear()
        await tabs.gate.reached.wait()  # the second one's model speaks
    tabs.gate.opened.set()
    await asyncio.gather(asking, retried)
    assert await tabs.kinds(thread_id) == ["user_message", "assistant_message"] * 2
