"""Two browser tabs on one thread: concurrent client tool results, forms, Regenerate and messages without duplicates.

Uses the whole app with the showcase agent; each tab has its own turns on the same rows.
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
    """The demo model's pauses, which last while the gate is closed."""

    def __init__(self) -> None:
        self.opened, self.reached, self.runs = asyncio.Event(), asyncio.Event(), 0
        self.opened.set()

    async def __call__(self, _: float) -> None:
        self.reached.set()
        await self.opened.wait()


class CountingModel(DemoModel):
    """A demo model that counts its calls."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(sleep=gate)
        self.calls = 0

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Count the call and stream the demo model's answer."""
        self.calls += 1
        async for event in super().stream_response(*args, **kwargs):
            yield event


class Tabs:
    """Two tabs with the same model."""

    def __init__(self, full_app: FullApp) -> None:
        self.gate = Gate()
        self.model = CountingModel(self.gate)
        self.first, self.second = (
            full_app.chat(model=self.model, agent=build_agent(), actions=actions) for _ in range(2)
        )

    async def kinds(self, thread_id: str) -> list[str]:
        """Return the types of the thread's items."""
        items = (await self.second("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
        return [item["type"] for item in items]


@pytest.fixture
def tabs() -> Tabs:
    return Tabs(full_app_without_files())


async def run_all_tasks() -> None:
    """Run all tasks as far as possible without time passing."""
    for _ in range(500):
        await asyncio.sleep(0)


async def both(tabs: Tabs, operation: str, **params: Any) -> tuple[Answer, Answer]:
    """Send the same request in the second tab while the first tab's is being answered."""
    body = json.dumps({"type": operation, "params": params}).encode()
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    first = asyncio.create_task(tabs.first.post(body))
    await tabs.gate.reached.wait()
    second = asyncio.create_task(tabs.second.post(body))
    await run_all_tasks()
    tabs.gate.opened.set()
    return await first, await second


async def create_thread(chat: Chat, text: str) -> str:
    """Create a thread whose turn ends with a question to the page."""
    return thread_of(await chat("threads.create", input=message(text)))


async def test_a_tool_result_sent_twice_at_once_is_one_run_with_two_equal_streams(tabs: Tabs) -> None:
    thread_id = await create_thread(tabs.first, "read my clipboard")
    before = tabs.model.calls
    first, second = await both(
        tabs, "threads.add_client_tool_output", thread_id=thread_id, result={"text": "forty-two"}
    )
    assert first.status == second.status == 200
    assert first.body == second.body
    assert tabs.model.calls == before + 1
    assert await tabs.kinds(thread_id) == ["user_message", "workflow", "client_tool_call", "assistant_message"]


@pytest.mark.parametrize("operation", ["threads.add_client_tool_output", "threads.add_structured_input"])
async def test_of_two_different_answers_to_a_question_one_runs_and_one_is_refused(
    tabs: Tabs, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second tab's check sees the open question, but it reaches the lease while the first tab's answer runs."""
    text = "read my clipboard" if operation == "threads.add_client_tool_output" else "ask me something"
    thread_id = await create_thread(tabs.first, text)
    question = (await tabs.first("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][-1]
    checked, may_continue = asyncio.Event(), asyncio.Event()
    check = Checks.check

    async def slow_check(checks: Checks, request: Any, context: Any) -> None:
        await check(checks, request, context)
        if not checked.is_set():
            checked.set()
            await may_continue.wait()

    monkeypatch.setattr(Checks, "check", slow_check)

    async def answer(tab: Chat, word: str) -> Answer:
        if operation == "threads.add_client_tool_output":
            return await tab(operation, thread_id=thread_id, result={"text": word})
        sent = {"status": "answered", "answers": {"color": {"values": [word]}}}
        return await tab(operation, thread_id=thread_id, item_id=question["id"], input=sent)

    late = asyncio.create_task(answer(tabs.second, "green"))
    await checked.wait()
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    first = asyncio.create_task(answer(tabs.first, "red"))
    await tabs.gate.reached.wait()
    turn_path = f"/chatkit/threads/{thread_id}/turn"
    running = (await tabs.second.post(b"", turn_path, "GET")).json["turn_id"]
    may_continue.set()
    assert (await late).status == 409
    assert (await tabs.second.post(b"", turn_path, "GET")).json["turn_id"] == running is not None
    tabs.gate.opened.set()
    assert items_of(await first)[-1]["type"] == "assistant_message"
    assert (await tabs.kinds(thread_id))[-1] == "assistant_message"


async def test_a_form_answered_twice_at_once_is_one_run_with_two_equal_streams(tabs: Tabs) -> None:
    thread_id = await create_thread(tabs.first, "ask me something")
    form = (await tabs.first("threads.get_by_id", thread_id=thread_id)).json["items"]["data"][-1]
    before = tabs.model.calls
    sent = {"status": "answered", "answers": {"color": {"values": ["green"]}}}
    first, second = await both(
        tabs, "threads.add_structured_input", thread_id=thread_id, item_id=form["id"], input=sent
    )
    assert first.body == second.body
    assert tabs.model.calls == before + 1
    assert await tabs.kinds(thread_id) == ["user_message", "workflow", "structured_input", "assistant_message"]


async def test_a_message_in_another_tab_skips_the_pending_tool_call(tabs: Tabs) -> None:
    thread_id = await create_thread(tabs.first, "read my clipboard")
    await tabs.second("threads.add_user_message", thread_id=thread_id, input=message("never mind"))
    late = await tabs.first("threads.add_client_tool_output", thread_id=thread_id, result={"text": "too late"})
    assert late.status == 409
    again = await tabs.first("threads.add_user_message", thread_id=thread_id, input=message("go on"))
    assert items_of(again)[-1]["type"] == "assistant_message"


async def test_regenerate_in_both_tabs_is_one_run_with_one_answer(tabs: Tabs) -> None:
    created = await tabs.first("threads.create", input=message("hi"))
    thread_id, message_id = thread_of(created), items_of(created)[0]["id"]
    first, second = await both(tabs, "threads.retry_after_item", thread_id=thread_id, item_id=message_id)
    assert first.body == second.body
    assert tabs.model.calls == 2
    assert await tabs.kinds(thread_id) == ["user_message", "assistant_message"]


@pytest.mark.parametrize("first_ends", ["by itself", "when it notices"])
async def test_regenerate_during_a_running_answer_leaves_one_answer(tabs: Tabs, first_ends: str) -> None:
    """Regenerate removes the older run's items, so the older run must have stopped writing by then."""
    thread_id = thread_of(await tabs.first("threads.create", input=message("hi")))
    tabs.gate.reached.clear()
    tabs.gate.opened.clear()
    asking = asyncio.create_task(tabs.first("threads.add_user_message", thread_id=thread_id, input=message("more")))
    await tabs.gate.reached.wait()
    items = (await tabs.second("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    message_id = next(item["id"] for item in items if item.get("content", [{}])[0].get("text") == "more")
    retried = asyncio.create_task(tabs.second("threads.retry_after_item", thread_id=thread_id, item_id=message_id))
    await run_all_tasks()
    if first_ends == "when it notices":
        tabs.gate.reached.clear()
        await tabs.gate.reached.wait()  # the second turn's model has begun
    tabs.gate.opened.set()
    await asyncio.gather(asking, retried)
    assert await tabs.kinds(thread_id) == ["user_message", "assistant_message"] * 2
