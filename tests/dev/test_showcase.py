"""lambda_src/dev/showcase.py: each ChatKit feature by its phrase: events, items after a reload, input of the model."""

from typing import Any

import pytest
from chatkit.types import ClosedStatus

from lambda_src.dev.showcase import TOOLS, actions, build_agent
from tests.apps.chat import Chat, message
from tests.apps.full import ANN, FullApp, full_app_without_files, items_of, thread_of


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


@pytest.fixture
def chat(full_app: FullApp) -> Chat:
    return full_app.chat(agent=build_agent(), actions=actions)


async def reloaded(chat: Chat, thread_id: str) -> list[dict[str, Any]]:
    """The items of a thread as a reload of the page loads them."""
    items: list[dict[str, Any]] = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    return items


async def say(chat: Chat, phrase: str) -> tuple[str, list[dict[str, Any]]]:
    """Sends a phrase in a new thread; returns the thread's ID and the events of the answer."""
    response = await chat("threads.create", input=message(phrase))
    assert not response.of("error"), response.of("error")
    return thread_of(response), response.events


PHRASES = [
    ("show me a widget", ["workflow", "widget", "assistant_message"]),
    ("stream a widget", ["workflow", "widget", "assistant_message"]),
    ("ask me something", ["workflow", "structured_input"]),
    ("read my clipboard", ["workflow", "client_tool_call"]),
    ("give a refund", ["structured_input"]),
    ("end the turn", ["workflow", "end_of_turn"]),
    ("work through steps", ["workflow", "assistant_message"]),
    ("show a task", ["workflow", "task", "assistant_message"]),
    ("show progress", ["workflow", "assistant_message"]),
    ("change my page", ["workflow", "assistant_message"]),
    ("show a notice", ["workflow", "assistant_message"]),
    ("cite your sources", ["workflow", "assistant_message", "assistant_message"]),
    ("who is mentioned", ["workflow", "assistant_message"]),
    ("remember something", ["workflow", "assistant_message"]),
    ("lock this thread", ["workflow", "assistant_message"]),
]


@pytest.mark.parametrize(("phrase", "kinds"), PHRASES, ids=[phrase for phrase, _ in PHRASES])
async def test_each_phrase_leaves_the_expected_items_after_a_reload(chat: Chat, phrase: str, kinds: list[str]) -> None:
    thread_id, _ = await say(chat, phrase)
    assert [item["type"] for item in await reloaded(chat, thread_id)] == ["user_message", *kinds]


def test_every_tool_has_a_phrase() -> None:
    assert {tool.name.replace("_", " ") for tool in TOOLS} == {phrase for phrase, _ in PHRASES}


EVENTS = [
    ("show progress", "progress_update", {"text": "Looking ...", "icon": "search"}),
    ("change my page", "client_effect", {"name": "set_theme", "data": {"theme": "dark"}}),
    ("show a notice", "notice", {"level": "info", "title": "Notice"}),
]


@pytest.mark.parametrize(("phrase", "kind", "fields"), EVENTS, ids=[kind for _, kind, _ in EVENTS])
async def test_progress_effects_and_notices_are_sent_as_events(
    chat: Chat, phrase: str, kind: str, fields: dict[str, Any]
) -> None:
    _, events = await say(chat, phrase)
    sent = next(event for event in events if event["type"] == kind)
    assert fields.items() <= sent.items()


async def test_a_widgets_text_streams_and_is_complete_after_a_reload(chat: Chat) -> None:
    thread_id, events = await say(chat, "stream a widget")
    deltas = [e["update"] for e in events if e.get("update", {}).get("type") == "widget.streaming_text.value_delta"]
    stored = (await reloaded(chat, thread_id))[2]["widget"]["children"][0]["value"]
    assert "".join(delta["delta"] for delta in deltas) == stored
    assert len(deltas) > 5


async def test_sources_annotate_the_sentence_that_they_belong_to(chat: Chat) -> None:
    thread_id, _ = await say(chat, "cite your sources")
    annotations = (await reloaded(chat, thread_id))[2]["content"][0]["annotations"]
    assert [annotation["source"]["type"] for annotation in annotations] == ["url", "file", "entity"]


async def test_a_finished_workflow_has_its_steps_and_a_summary(chat: Chat) -> None:
    thread_id, events = await say(chat, "work through steps")
    workflow = (await reloaded(chat, thread_id))[1]["workflow"]
    assert [task["type"] for task in workflow["tasks"]] == ["custom", "web_search"]
    assert workflow["summary"] == {"title": "Two steps"}
    updates = [event["update"]["type"] for event in events if event["type"] == "thread.item.updated"]
    assert {"workflow.task.added", "workflow.task.updated"} <= set(updates)


async def test_a_client_tools_output_goes_to_the_model_and_the_run_continues(chat: Chat) -> None:
    thread_id, _ = await say(chat, "read my clipboard")
    response = await chat("threads.add_client_tool_output", thread_id=thread_id, result={"text": "forty-two"})
    assert "forty-two" in items_of(response)[-1]["content"][0]["text"]
    again = await chat("threads.add_client_tool_output", thread_id=thread_id, result={"text": "again"})
    assert again.status == 409


async def test_a_form_can_be_answered_once_and_the_run_continues(chat: Chat) -> None:
    thread_id, _ = await say(chat, "ask me something")
    form = (await reloaded(chat, thread_id))[-1]
    answers = {"color": {"values": ["green", "red"]}, "why": {"values": ["because"]}, "unknown": {"values": ["x"]}}
    sent = {"thread_id": thread_id, "item_id": form["id"], "input": {"status": "answered", "answers": answers}}
    response = await chat("threads.add_structured_input", **sent)
    replacement = response.of("thread.item.replaced")[0]["item"]
    assert (replacement["status"], replacement["inputs"][0]["answer"]["values"]) == ("answered", ["green"])
    assert items_of(response)[-1]["type"] == "assistant_message"
    assert (await reloaded(chat, thread_id))[2]["status"] == "answered"
    second = await chat("threads.add_structured_input", **{**sent, "input": {"status": "skipped", "answers": {}}})
    assert (second.status, second.json["error"]) == (409, "conflict")
    assert (await reloaded(chat, thread_id))[2]["status"] == "answered"


async def test_only_the_model_sees_hidden_context(chat: Chat, full_app: FullApp) -> None:
    thread_id, events = await say(chat, "remember something")
    assert "green socks" not in str(events)
    assert "green socks" in "".join(await full_app.stored_lines())
    assert "green socks" not in str(await reloaded(chat, thread_id))


LOCKED: list[tuple[str, dict[str, Any]]] = [
    ("threads.add_user_message", {"input": message("more")}),
    ("threads.retry_after_item", {"item_id": "ITEM"}),
    ("threads.custom_action", {"action": {"type": "order.ship", "payload": {"order_id": 1}}}),
    ("threads.sync_custom_action", {"action": {"type": "order.ship", "payload": {"order_id": 1}}}),
]


@pytest.mark.parametrize(("operation", "params"), LOCKED, ids=[operation for operation, _ in LOCKED])
async def test_a_locked_thread_refuses_everything_and_says_why(
    chat: Chat, full_app: FullApp, operation: str, params: dict[str, Any]
) -> None:
    thread_id, events = await say(chat, "lock this thread")
    assert [e["title"] for e in events if e["type"] == "notice"] == ["Locked"]
    assert [e["thread"]["status"]["type"] for e in events if e["type"] == "thread.updated"][-1] == "locked"
    before = await full_app.stored_lines()
    item_id = (await reloaded(chat, thread_id))[0]["id"]
    with_item_id = {name: item_id if value == "ITEM" else value for name, value in params.items()}
    response = await chat(operation, thread_id=thread_id, **with_item_id)
    assert (response.status, "locked on request" in response.json["message"]) == (409, True)
    assert await full_app.stored_lines() == before
    assert (await chat("threads.update", thread_id=thread_id, title="Still mine")).status == 200


@pytest.mark.parametrize("reason", ["Solved.", None])
async def test_a_closed_thread_refuses_messages_with_or_without_a_reason(
    chat: Chat, full_app: FullApp, reason: str | None
) -> None:
    thread_id, _ = await say(chat, "hello")
    thread = await full_app.store.load_thread(thread_id, ANN)
    thread.status = ClosedStatus(reason=reason)
    await full_app.store.save_thread(thread, ANN)
    response = await chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert (response.status, response.json["message"]) == (409, f"This conversation is closed. {reason or ''}".strip())
    assert (await chat("threads.get_by_id", thread_id=thread_id)).json["status"]["type"] == "closed"
