"""Each thing that ChatKit can show: the phrase, the events that come, what a reload shows, what the model sees."""

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


async def shown(chat: Chat, thread_id: str) -> list[dict[str, Any]]:
    """What a reload shows."""
    items: list[dict[str, Any]] = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    return items


async def said(chat: Chat, phrase: str) -> tuple[str, list[dict[str, Any]]]:
    """The thread in which a phrase was said, and its events."""
    answer = await chat("threads.create", input=message(phrase))
    assert not answer.of("error"), answer.of("error")
    return thread_of(answer), answer.events


KEPT = [
    ("show me a widget", ["widget", "assistant_message"]),
    ("stream a widget", ["widget", "assistant_message"]),
    ("ask me something", ["structured_input"]),
    ("read my clipboard", ["client_tool_call"]),
    ("give a refund", ["structured_input"]),
    ("end the turn", ["end_of_turn"]),
    ("work through steps", ["workflow", "assistant_message"]),
    ("show a task", ["task", "assistant_message"]),
    ("show progress", ["assistant_message"]),
    ("change my page", ["assistant_message"]),
    ("show a notice", ["assistant_message"]),
    ("cite your sources", ["assistant_message", "assistant_message"]),
    ("who is mentioned", ["assistant_message"]),
    ("remember something", ["assistant_message"]),
    ("lock this thread", ["assistant_message"]),
]


@pytest.mark.parametrize(("phrase", "kinds"), KEPT, ids=[phrase for phrase, _ in KEPT])
async def test_a_phrase_shows_it_and_a_reload_shows_what_is_kept(chat: Chat, phrase: str, kinds: list[str]) -> None:
    thread_id, _ = await said(chat, phrase)
    assert [item["type"] for item in await shown(chat, thread_id)] == ["user_message", *kinds]


def test_every_tool_has_its_phrase() -> None:
    assert {tool.name.replace("_", " ") for tool in TOOLS} == {phrase for phrase, _ in KEPT}


EVENTS = [
    ("show progress", "progress_update", {"text": "Looking ...", "icon": "search"}),
    ("change my page", "client_effect", {"name": "set_theme", "data": {"theme": "dark"}}),
    ("show a notice", "notice", {"level": "info", "title": "Notice"}),
]


@pytest.mark.parametrize(("phrase", "kind", "fields"), EVENTS, ids=[kind for _, kind, _ in EVENTS])
async def test_what_is_only_told_is_told_once(chat: Chat, phrase: str, kind: str, fields: dict[str, Any]) -> None:
    _, events = await said(chat, phrase)
    told = next(event for event in events if event["type"] == kind)
    assert fields.items() <= told.items()


async def test_a_widgets_text_streams_and_is_whole_on_reload(chat: Chat) -> None:
    thread_id, events = await said(chat, "stream a widget")
    deltas = [e["update"] for e in events if e.get("update", {}).get("type") == "widget.streaming_text.value_delta"]
    kept = (await shown(chat, thread_id))[1]["widget"]["children"][0]["value"]
    assert "".join(delta["delta"] for delta in deltas) == kept
    assert len(deltas) > 5


async def test_sources_stand_beside_the_sentence_they_are_for(chat: Chat) -> None:
    thread_id, _ = await said(chat, "cite your sources")
    annotations = (await shown(chat, thread_id))[1]["content"][0]["annotations"]
    assert [annotation["source"]["type"] for annotation in annotations] == ["url", "file", "entity"]


async def test_a_workflow_ends_with_its_steps_and_its_summary(chat: Chat) -> None:
    thread_id, events = await said(chat, "work through steps")
    workflow = (await shown(chat, thread_id))[1]["workflow"]
    assert [task["type"] for task in workflow["tasks"]] == ["custom", "web_search"]
    assert workflow["summary"] == {"title": "Two steps"}
    updates = [event["update"]["type"] for event in events if event["type"] == "thread.item.updated"]
    assert {"workflow.task.added", "workflow.task.updated"} <= set(updates)


async def test_a_client_tools_output_goes_to_the_model_and_the_run_goes_on(chat: Chat) -> None:
    thread_id, _ = await said(chat, "read my clipboard")
    answer = await chat("threads.add_client_tool_output", thread_id=thread_id, result={"text": "forty-two"})
    assert "forty-two" in items_of(answer)[-1]["content"][0]["text"]
    again = await chat("threads.add_client_tool_output", thread_id=thread_id, result={"text": "again"})
    assert again.status == 409


async def test_a_form_is_answered_once_and_the_run_goes_on(chat: Chat) -> None:
    thread_id, _ = await said(chat, "ask me something")
    form = (await shown(chat, thread_id))[-1]
    answers = {"color": {"values": ["green", "red"]}, "why": {"values": ["because"]}, "unknown": {"values": ["x"]}}
    sent = {"thread_id": thread_id, "item_id": form["id"], "input": {"status": "answered", "answers": answers}}
    answer = await chat("threads.add_structured_input", **sent)
    replaced = answer.of("thread.item.replaced")[0]["item"]
    assert (replaced["status"], replaced["inputs"][0]["answer"]["values"]) == ("answered", ["green"])
    assert items_of(answer)[-1]["type"] == "assistant_message"
    assert (await shown(chat, thread_id))[1]["status"] == "answered"
    second = await chat("threads.add_structured_input", **{**sent, "input": {"status": "skipped", "answers": {}}})
    assert (second.status, second.json["error"]) == (409, "conflict")
    assert (await shown(chat, thread_id))[1]["status"] == "answered"


async def test_hidden_context_is_seen_by_the_model_and_by_nobody_else(chat: Chat, full_app: FullApp) -> None:
    thread_id, events = await said(chat, "remember something")
    assert "green socks" not in str(events)
    assert "green socks" in "".join(await full_app.kept())
    assert "green socks" not in str(await shown(chat, thread_id))


LOCKED: list[tuple[str, dict[str, Any]]] = [
    ("threads.add_user_message", {"input": message("more")}),
    ("threads.retry_after_item", {"item_id": "ITEM"}),
    ("threads.custom_action", {"action": {"type": "order.ship", "payload": {"order_id": 1}}}),
    ("threads.sync_custom_action", {"action": {"type": "order.ship", "payload": {"order_id": 1}}}),
]


@pytest.mark.parametrize(("operation", "params"), LOCKED, ids=[operation for operation, _ in LOCKED])
async def test_a_locked_thread_takes_nothing_and_says_why(
    chat: Chat, full_app: FullApp, operation: str, params: dict[str, Any]
) -> None:
    thread_id, events = await said(chat, "lock this thread")
    assert [e["title"] for e in events if e["type"] == "notice"] == ["Locked"]
    assert [e["thread"]["status"]["type"] for e in events if e["type"] == "thread.updated"][-1] == "locked"
    before = await full_app.kept()
    item_id = (await shown(chat, thread_id))[0]["id"]
    named = {name: item_id if value == "ITEM" else value for name, value in params.items()}
    answer = await chat(operation, thread_id=thread_id, **named)
    assert (answer.status, "locked on request" in answer.json["message"]) == (409, True)
    assert await full_app.kept() == before
    assert (await chat("threads.update", thread_id=thread_id, title="Still mine")).status == 200


@pytest.mark.parametrize("reason", ["Solved.", None])
async def test_a_closed_thread_takes_nothing_with_or_without_a_reason(
    chat: Chat, full_app: FullApp, reason: str | None
) -> None:
    thread_id, _ = await said(chat, "hello")
    thread = await full_app.store.load_thread(thread_id, ANN)
    thread.status = ClosedStatus(reason=reason)
    await full_app.store.save_thread(thread, ANN)
    answer = await chat("threads.add_user_message", thread_id=thread_id, input=message("more"))
    assert (answer.status, answer.json["message"]) == (409, f"This conversation is closed. {reason or ''}".strip())
    assert (await chat("threads.get_by_id", thread_id=thread_id)).json["status"]["type"] == "closed"
