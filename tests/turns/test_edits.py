"""Editing the last message: it is replaced with its answer or not at all, in one tab or two."""

import asyncio
import json
from typing import Any

import pytest
from chatkit.types import ClosedStatus, ThreadsAddUserMessageReq, UserMessageItem
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_src.chat.edits import EDITED
from lambda_src.errors import ConflictError, UnavailableError
from tests.apps.chat import Answer, Chat, message
from tests.apps.full import ANN, FullApp, attached, full_app_without_files, items_of, thread_of
from tests.quotas.test_quota_through_the_app import app_with_quotas
from tests.turns.test_newer_messages import Tab, TwoTabs, complete, tabs
from tests.turns.test_retried_messages import LostAnswers
from tests.turns.turn_fixture import THREAD

__all__ = ["tabs"]
LIMIT = 200  # characters of a message
NAMED = "an-edit-with-a-name"


async def edit(chat: Chat, thread_id: str, item_id: Any, text: str, *attachments: str, **headers: str) -> Answer:
    """Send a message that replaces another one."""
    params = {"thread_id": thread_id, "input": message(text, attachments=list(attachments))}
    body = {"type": "threads.add_user_message", "params": params, "metadata": {EDITED: item_id}}
    return await chat.post(json.dumps(body).encode(), **headers)


async def shown(chat: Chat, thread_id: str) -> list[dict[str, Any]]:
    """Return the thread's visible items."""
    items: list[dict[str, Any]] = (await chat("items.list", thread_id=thread_id, limit=100, order="asc")).json["data"]
    return items


def text_of(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item["content"])


async def texts_of(chat: Chat, thread_id: str) -> list[str]:
    """Return the user's texts, after checking that each has exactly one answer, which quotes it."""
    items = await shown(chat, thread_id)
    questions, answers = items[::2], items[1::2]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"] * len(questions)
    for question, answer in zip(questions, answers, strict=True):
        assert f"“{text_of(question)}”" in text_of(answer)
    return [text_of(question) for question in questions]


async def test_an_edited_message_keeps_its_id_and_place_and_gets_a_new_answer() -> None:
    chat = full_app_without_files().chat()
    thread_id = thread_of(await chat("threads.create", input=message("one")))
    await chat("threads.add_user_message", thread_id=thread_id, input=message("two"))
    _, _, old, answer = await shown(chat, thread_id)
    edited = await edit(chat, thread_id, old["id"], "three")
    assert edited.status == 200, edited.json
    assert [event["item_id"] for event in edited.of("thread.item.removed")] == [answer["id"]]
    assert items_of(edited)[0]["id"] == old["id"]
    assert await texts_of(chat, thread_id) == ["one", "three"]


async def test_the_model_never_sees_the_old_text_or_its_answer(tabs: TwoTabs) -> None:
    await complete(tabs, tabs.first.say("one"))
    await complete(tabs, tabs.first.say("two"))
    await complete(tabs, edited_in(tabs.first, (await tabs.items())[-2].id, "three"))
    assert tabs.model.inputs[-1][0] == "one"
    assert tabs.model.inputs[-1][-1] == "three"
    assert not any("two" in text for text in tabs.model.inputs[-1])


words = st.text("abcdefgh", min_size=1, max_size=8)
operations = st.one_of(
    st.tuples(st.just("say"), words),
    st.tuples(st.just("edit"), words),
    st.tuples(st.just("edit"), st.just("x" * (LIMIT + 1))),
    st.tuples(st.just("edit the first"), words),
    st.tuples(st.just("edit an answer"), words),
    st.tuples(st.just("edit nothing"), words),
    st.tuples(st.just("regenerate"), words),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(operations, max_size=8))
def test_after_any_requests_each_text_has_one_answer_and_a_refused_edit_changes_nothing(
    steps: list[tuple[str, str]],
) -> None:
    async def run() -> None:
        chat = full_app_without_files().chat(message_chars=LIMIT)
        thread_id = thread_of(await chat("threads.create", input=message("first")))
        expected = ["first"]
        for number, (kind, text) in enumerate(steps):
            text = text if len(text) > LIMIT else f"{text}{number}"  # another request than any before
            items = await shown(chat, thread_id)
            own = [item["id"] for item in items if item["type"] == "user_message"]
            match kind:
                case "say":
                    await chat("threads.add_user_message", thread_id=thread_id, input=message(text))
                    expected.append(text)
                case "regenerate":
                    await chat("threads.retry_after_item", thread_id=thread_id, item_id=own[-1])
                case _:
                    other = {"edit the first": own[0], "edit an answer": items[-1]["id"], "edit nothing": "msg_no"}
                    target = other.get(kind, own[-1])
                    answer = await edit(chat, thread_id, target, text)
                    status = 409 if target != own[-1] else 413 if len(text) > LIMIT else 200
                    assert answer.status == status
                    if status == 200:
                        expected[-1] = text
                    else:
                        assert await shown(chat, thread_id) == items
            assert await texts_of(chat, thread_id) == expected

    asyncio.run(run())


@pytest.mark.parametrize("item_id", [7, "", ["msg_1"], {"id": "msg_1"}, False])
async def test_an_edit_of_something_that_is_no_id_is_refused(item_id: Any) -> None:
    chat = full_app_without_files().chat()
    thread_id = thread_of(await chat("threads.create", input=message("one")))
    refused = await edit(chat, thread_id, item_id, "two")
    assert (refused.status, refused.json["message"]) == (
        422,
        "metadata.edited_item_id must be the id of your last message in the thread.",
    )
    assert await texts_of(chat, thread_id) == ["one"]


async def test_an_edit_over_the_quota_changes_nothing() -> None:
    chat = app_with_quotas(messages_per_minute=1).chat
    created = await chat("threads.create", input=message("one"))
    refused = await edit(chat, thread_of(created), items_of(created)[0]["id"], "two")
    assert refused.status == 429
    assert await texts_of(chat, thread_of(created)) == ["one"]


async def test_an_edit_of_a_megabyte_changes_nothing() -> None:
    chat = full_app_without_files().chat(max_body_bytes=2_000_000)
    created = await chat("threads.create", input=message("one"))
    refused = await edit(chat, thread_of(created), items_of(created)[0]["id"], "x" * 1_000_000)
    assert (refused.status, refused.json["message"][:40]) == (413, "This message has 1,000,000 characters, a")
    assert await texts_of(chat, thread_of(created)) == ["one"]


async def test_an_edit_in_a_closed_thread_changes_nothing() -> None:
    full_app = full_app_without_files()
    chat = full_app.chat()
    thread_id = thread_of(await chat("threads.create", input=message("one")))
    own = (await shown(chat, thread_id))[0]["id"]
    thread = await full_app.store.load_thread(thread_id, ANN)
    thread.status = ClosedStatus(reason="Solved.")
    await full_app.store.save_thread(thread, ANN)
    closed = await edit(chat, thread_id, own, "two")
    assert (closed.status, closed.json["message"]) == (409, "This conversation is closed. Solved.")
    assert await texts_of(chat, thread_id) == ["one"]


async def test_another_users_message_is_as_unknown_as_a_missing_one() -> None:
    full_app = full_app_without_files()
    ann = full_app.chat()
    bob = ann.as_("bob")
    thread_id = thread_of(await ann("threads.create", input=message("ann's")))
    own_thread_id = thread_of(await bob("threads.create", input=message("bob's")))
    own = (await shown(ann, thread_id))[0]["id"]
    for target, unknown in ((thread_id, ("thr_no", own)), (own_thread_id, (own_thread_id, "msg_no"))):
        foreign, missing = await edit(bob, target, own, "mine"), await edit(bob, *unknown, "mine")
        assert (foreign.status, foreign.body) == (missing.status, missing.body)
    assert await texts_of(ann, thread_id) == ["ann's"]
    assert await texts_of(bob, own_thread_id) == ["bob's"]


async def test_a_repeated_edit_is_one_turn_with_two_equal_streams() -> None:
    chat = full_app_without_files().chat()
    thread_id = thread_of(await chat("threads.create", input=message("one")))
    own = (await shown(chat, thread_id))[0]["id"]
    first, again = [await edit(chat, thread_id, own, "two", x_chat_turn=NAMED) for _ in range(2)]
    assert first.body == again.body
    assert await texts_of(chat, thread_id) == ["two"]


async def test_an_edit_may_keep_add_and_leave_out_files(full_app: FullApp) -> None:
    chat = full_app.chat()
    kept, dropped, added = [await attached(chat, full_app, name=f"{name}.png") for name in ("a", "b", "c")]
    created = await chat("threads.create", input=message("look", attachments=[kept, dropped]))
    thread_id, own = thread_of(created), items_of(created)[0]["id"]
    edited = await edit(chat, thread_id, own, "look again", kept, added)
    assert edited.status == 200, edited.json
    assert [file["id"] for file in (await shown(chat, thread_id))[0]["attachments"]] == [kept, added]
    objects = full_app.aws.objects(full_app.bucket)
    assert all(f"kept/ann/{file}/file" in objects for file in (kept, added))


async def test_an_edit_with_a_missing_file_changes_nothing(full_app: FullApp) -> None:
    chat = full_app.chat()
    file = await attached(chat, full_app)
    created = await chat("threads.create", input=message("look", attachments=[file]))
    full_app.aws.s3.delete_object(Bucket=full_app.bucket, Key=f"kept/ann/{file}/file")
    refused = await edit(chat, thread_of(created), items_of(created)[0]["id"], "look again", file)
    assert refused.status == 409
    assert "is gone" in refused.json["message"]
    assert [item["type"] for item in await shown(chat, thread_of(created))] == ["user_message", "assistant_message"]


# Two tabs


def edit_of(item_id: str, text: str) -> ThreadsAddUserMessageReq:
    """Return a request that replaces a message."""
    params = {"thread_id": THREAD, "input": message(text)}
    return ThreadsAddUserMessageReq.model_validate({"params": params, "metadata": {EDITED: item_id}})


async def edited_in(tab: Tab, item_id: str, text: str, *, named: str | None = None) -> list[bytes]:
    return await tab.answered(edit_of(item_id, text), named=named)


@pytest.mark.parametrize("later_s", [0.05, 0.4, 1.1, 2.6])
async def test_editing_while_the_answer_is_written_leaves_the_new_text_and_its_answer(
    tabs: TwoTabs, later_s: float
) -> None:
    first = tabs.time.start(tabs.first.say("old"))
    await tabs.time.advance(later_s)
    [own] = [item.id for item in await tabs.items() if isinstance(item, UserMessageItem)]
    second = tabs.time.start(edited_in(tabs.second, own, "new"))
    await tabs.time.advance(60)
    await asyncio.gather(first, second)
    assert await tabs.messages() == ["new", "answer"]
    assert tabs.model.inputs[-1] == ["new"]


@pytest.mark.parametrize("later_s", [0, 0.4, 1.4, 1.6, 3])
async def test_of_two_edits_in_two_tabs_one_text_remains_with_its_answer(tabs: TwoTabs, later_s: float) -> None:
    await complete(tabs, tabs.first.say("old"))
    own = (await tabs.items())[0].id
    first = tabs.time.start(edited_in(tabs.first, own, "left"))
    await tabs.time.advance(later_s)
    second = tabs.time.start(edited_in(tabs.second, own, "right"))
    await tabs.time.advance(60)
    await asyncio.gather(first, second, return_exceptions=True)
    assert await tabs.messages() == ["right", "answer"]
    assert tabs.model.inputs[-1] == ["right"]


async def test_an_edit_in_a_tab_that_missed_a_newer_message_is_refused_and_loses_nothing(tabs: TwoTabs) -> None:
    await complete(tabs, tabs.first.say("one"))
    own = (await tabs.items())[0].id
    await complete(tabs, tabs.second.say("two"))
    with pytest.raises(ConflictError, match="Only your last message can be edited"):
        await complete(tabs, edited_in(tabs.first, own, "changed"))
    assert await tabs.messages() == ["one", "answer", "two", "answer"]


@pytest.mark.parametrize("later_s", [0.3, 0.8, 1.3])
async def test_a_message_that_overtakes_an_edit_is_not_lost(tabs: TwoTabs, later_s: float) -> None:
    """The edit waits for the running answer to notice; the message takes the lease in between."""
    first = tabs.time.start(tabs.first.say("old"))
    await tabs.time.advance(2)
    own = (await tabs.items())[0].id
    edited = tabs.time.start(edited_in(tabs.second, own, "new"))
    await tabs.time.advance(later_s)
    newer = tabs.time.start(tabs.first.say("newer"))
    await tabs.time.advance(60)
    with pytest.raises(ConflictError):
        await edited
    await asyncio.gather(first, newer)
    assert [text for text in await tabs.messages() if text != "answer"] == ["old", "newer"]


@pytest.mark.parametrize("lost", ["delete_thread_item", "save_item"])
@pytest.mark.parametrize("lands", [True, False])
async def test_an_edit_that_failed_midway_is_completed_by_its_retry(tabs: TwoTabs, lost: str, *, lands: bool) -> None:
    await complete(tabs, tabs.first.say("old"))
    own = (await tabs.items())[0].id
    store = tabs.first.store
    tabs.first.server.store = LostAnswers(store, lands=lands).losing(lost)
    with pytest.raises(UnavailableError):
        await complete(tabs, edited_in(tabs.first, own, "new", named=NAMED))
    assert (await tabs.messages())[0] == ("new" if lost == "save_item" and lands else "old")
    await complete(tabs, edited_in(tabs.second, own, "new", named=NAMED))
    assert await tabs.messages() == ["new", "answer"]
