"""Widget actions, streamed and synchronous, and the errors for invalid ones."""

from typing import Any

import pytest
from chatkit.errors import CustomStreamError
from chatkit.widgets import DynamicWidgetRoot, WidgetRoot

from lambda_src.dev.showcase import actions, build_agent
from lambda_src.runs.widget_actions import ActionCall, Actions
from tests.apps.chat import Chat, message
from tests.apps.full import FullApp, full_app_without_files, items_of, thread_of


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


@pytest.fixture
def chat(full_app: FullApp) -> Chat:
    return full_app.chat(agent=build_agent(), actions=actions)


async def widget_of(chat: Chat) -> tuple[str, str]:
    """Create a thread with a widget; return both ids."""
    answer = await chat("threads.create", input=message("show me a widget"))
    return thread_of(answer), next(item["id"] for item in items_of(answer) if item["type"] == "widget")


def state(item: dict[str, Any]) -> str:
    return str(item["widget"]["children"][1]["value"])


async def test_an_action_replaces_the_widget_in_the_stream_and_on_reload(chat: Chat) -> None:
    thread_id, item_id = await widget_of(chat)
    action = {"type": "order.ship", "payload": {"order_id": 17}}
    answer = await chat("threads.custom_action", thread_id=thread_id, item_id=item_id, action=action)
    [replaced] = answer.of("thread.item.replaced")
    assert (replaced["item"]["id"], state(replaced["item"])) == (item_id, "shipped")
    listed = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    assert (listed[2]["id"], state(listed[2])) == (item_id, "shipped")


async def test_a_synchronous_action_is_stored_before_it_is_answered(chat: Chat) -> None:
    thread_id, item_id = await widget_of(chat)
    action = {"type": "order.cancel", "payload": {"order_id": 17}}
    answer = await chat("threads.sync_custom_action", thread_id=thread_id, item_id=item_id, action=action)
    assert state(answer.json["updated_item"]) == "cancelled"
    listed = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"]
    assert state(listed[2]) == "cancelled"


@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
async def test_an_action_without_an_item_adds_a_new_widget(chat: Chat, operation: str) -> None:
    thread_id, _ = await widget_of(chat)
    answer = await chat(operation, thread_id=thread_id, action={"type": "order.ship", "payload": {"order_id": 3}})
    assert answer.status == 200
    newest = (await chat("items.list", thread_id=thread_id)).json["data"][0]
    assert (newest["type"], state(newest)) == ("widget", "shipped")


async def test_an_action_may_let_the_agent_answer(chat: Chat, full_app: FullApp) -> None:
    thread_id, item_id = await widget_of(chat)
    action = {"type": "order.explain", "payload": None}
    answer = await chat("threads.custom_action", thread_id=thread_id, item_id=item_id, action=action)
    assert [item["type"] for item in items_of(answer)] == ["assistant_message"]
    assert b"pressed Explain on an order" not in answer.body.split(b"thread.item.added")[0]
    assert "pressed Explain" in "".join(await full_app.stored_lines())


BAD = [
    ({"type": "order.explode", "payload": {}}, "is not registered"),
    ({"type": "x" * 5000, "payload": {}}, "is not registered"),
    ({"type": "order.ship", "payload": {"order_id": "many"}}, "order_id"),
    ({"type": "order.ship", "payload": {"order_id": 0}}, "order_id"),
    ({"type": "order.ship", "payload": None}, "payload"),
    ({"type": "order.ship", "payload": {}}, "order_id"),
]


@pytest.mark.parametrize(("action", "words"), BAD, ids=lambda value: str(value)[:40])
async def test_an_invalid_action_is_an_error_and_changes_nothing(
    chat: Chat, full_app: FullApp, action: dict[str, Any], words: str
) -> None:
    thread_id, item_id = await widget_of(chat)
    before = await full_app.stored_lines()
    answer = await chat("threads.custom_action", thread_id=thread_id, item_id=item_id, action=action)
    [error] = answer.of("error")
    assert (words in error["message"], error["allow_retry"], len(error["message"]) < 300) == (True, False, True)
    sync = await chat("threads.sync_custom_action", thread_id=thread_id, item_id=item_id, action=action)
    assert (sync.status, words in sync.json["message"]) == (422, True)
    assert await full_app.stored_lines() == before


@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
async def test_only_a_widget_can_send_an_action(chat: Chat, operation: str) -> None:
    thread_id, _ = await widget_of(chat)
    message_id = (await chat("items.list", thread_id=thread_id, order="asc")).json["data"][0]["id"]
    action = {"type": "order.ship", "payload": {"order_id": 1}}
    answer = await chat(operation, thread_id=thread_id, item_id=message_id, action=action)
    assert (answer.status, answer.json["error"]) == (422, "invalid_request")


async def test_a_streaming_action_cannot_be_called_synchronously(chat: Chat) -> None:
    thread_id, _ = await widget_of(chat)
    action = {"type": "order.explain", "payload": None}
    assert (await chat("threads.sync_custom_action", thread_id=thread_id, action=action)).status == 422


async def test_an_action_can_refuse_with_a_message_and_other_exceptions_stay_hidden(full_app: FullApp) -> None:
    own = Actions()

    @own.on("no")
    async def no(_: dict[str, Any], call: ActionCall) -> WidgetRoot:
        raise CustomStreamError("Not before noon.")

    @own.on("broken")
    async def broken(_: dict[str, Any], call: ActionCall) -> WidgetRoot:
        raise ZeroDivisionError("secret detail")

    chat = full_app.chat(actions=own)
    thread_id = thread_of(await chat("threads.create", input=message("hi")))
    for kind, streamed, status in (("no", "Not before noon.", 409), ("broken", None, 500)):
        action = {"type": kind, "payload": {}}
        answer = await chat("threads.custom_action", thread_id=thread_id, action=action)
        assert answer.of("error")[0].get("message") == streamed
        sync = await chat("threads.sync_custom_action", thread_id=thread_id, action=action)
        assert sync.status == status
        assert b"secret detail" not in answer.body + sync.body


async def test_an_action_that_returns_none_changes_nothing(full_app: FullApp) -> None:
    own = Actions()

    @own.on("nothing")
    async def nothing(_: None, call: ActionCall) -> None:
        return None

    chat = full_app.chat(actions=own)
    thread_id = thread_of(await chat("threads.create", input=message("hi")))
    before = await full_app.stored_lines()
    answer = await chat("threads.sync_custom_action", thread_id=thread_id, action={"type": "nothing"})
    assert answer.json == {}
    assert (await chat("threads.custom_action", thread_id=thread_id, action={"type": "nothing"})).of("error") == []
    assert await full_app.stored_lines() == before


def test_an_invalid_action_function_fails_on_registration() -> None:
    own = Actions()

    async def fine(payload: dict[str, Any], call: ActionCall) -> None:
        return None

    def not_async(payload: dict[str, Any], call: ActionCall) -> DynamicWidgetRoot:
        raise NotImplementedError

    async def untyped(payload, call) -> None:  # type: ignore[no-untyped-def] # untyped on purpose
        return None

    own.on("fine")(fine)
    for kind, function in (("fine", fine), ("other", not_async), ("third", untyped)):
        with pytest.raises(TypeError):
            own.on(kind)(function)
