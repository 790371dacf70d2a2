"""The showcase of ChatKit's features through the emulated Lambda, DynamoDB and S3: streamed, stored and reloaded."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.apps.chat import message
from tests.apps.emulated import Client
from tests.apps.full import PNG, items_of, thread_of
from tests.dev.test_showcase import EVENTS, PHRASES
from tests.e2e.test_uploads import SWEEP_TIMEOUT_S

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e showcase")]


async def reloaded(ann: Client, thread_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    return items


@pytest.mark.parametrize(("phrase", "kinds"), PHRASES, ids=[phrase for phrase, _ in PHRASES])
async def test_each_phrase_leaves_the_expected_items_after_a_reload(ann: Client, phrase: str, kinds: list[str]) -> None:
    response = await ann("threads.create", input=message(phrase))
    assert response.of("error") == []
    items = await reloaded(ann, thread_of(response))
    assert [item["type"] for item in items] == ["user_message", *kinds]
    # A reloaded widget has explicit defaults, because upstream parses it into other classes.
    streamed = {item["id"]: item for item in items_of(response) if item["type"] != "widget"}
    assert all(streamed[item["id"]] == item for item in items if item["id"] in streamed), "stored as streamed"


@pytest.mark.parametrize(("phrase", "kind", "fields"), EVENTS, ids=[kind for _, kind, _ in EVENTS])
async def test_progress_effects_and_notices_are_sent_as_events(
    ann: Client, phrase: str, kind: str, fields: dict[str, Any]
) -> None:
    response = await ann("threads.create", input=message(f"please {phrase}"))
    assert fields.items() <= response.of(kind)[0].items()


async def test_the_run_continues_when_a_client_tool_or_a_form_is_answered(ann: Client) -> None:
    tool = thread_of(await ann("threads.create", input=message("please read my clipboard")))
    response = await ann("threads.add_client_tool_output", thread_id=tool, result={"text": "forty-two"})
    assert "forty-two" in items_of(response)[-1]["content"][0]["text"]
    form = await ann("threads.create", input=message("please ask me something"))
    sent = {"status": "answered", "answers": {"why": {"values": ["because"]}}}
    ids = {"thread_id": thread_of(form), "item_id": items_of(form)[-1]["id"]}
    assert items_of(await ann("threads.add_structured_input", **ids, input=sent))[-1]["type"] == "assistant_message"
    assert (await reloaded(ann, ids["thread_id"]))[2]["status"] == "answered"
    assert (await ann("threads.add_structured_input", **ids, input={**sent, "status": "skipped"})).status == 409


@pytest.mark.parametrize(("word", "reply"), [("Approve", "order 17 of ann is refunded"), ("Deny", "did not allow")])
async def test_a_tool_waits_for_approval_and_runs_once_or_not_at_all(ann: Client, word: str, reply: str) -> None:
    response = await ann("threads.create", input=message(f"please give a refund ({word})"))
    ids = {"thread_id": thread_of(response), "item_id": items_of(response)[-1]["id"]}
    assert (await reloaded(ann, ids["thread_id"]))[-1]["status"] == "pending"
    sent = {"status": "answered", "answers": {"0": {"values": [word]}}}
    assert (await ann.as_("bob")("threads.add_structured_input", **ids, input=sent)).status == 404
    decided = await ann("threads.add_structured_input", **ids, input=sent)
    assert reply in items_of(decided)[-1]["content"][0]["text"]
    items = await reloaded(ann, ids["thread_id"])
    called = ["workflow"] if word == "Approve" else []
    assert [item["type"] for item in items] == ["user_message", "structured_input", *called, "assistant_message"]
    assert items[1]["inputs"][0]["answer"]["values"] == [word]
    sent["answers"] = {"0": {"values": ["Approve again"]}}
    assert (await ann("threads.add_structured_input", **ids, input=sent)).status == 409
    assert await reloaded(ann, ids["thread_id"]) == items


async def test_a_clicked_widget_is_reloaded_in_its_new_state(ann: Client) -> None:
    response = await ann("threads.create", input=message("please show me a widget"))
    thread_id = thread_of(response)
    widget = next(item for item in items_of(response) if item["type"] == "widget")
    for operation, kind, state in (
        ("threads.custom_action", "order.ship", "shipped"),
        ("threads.sync_custom_action", "order.cancel", "cancelled"),
    ):
        action = {"type": kind, "payload": {"order_id": 17}}
        assert (await ann(operation, thread_id=thread_id, item_id=widget["id"], action=action)).status == 200
        assert (await reloaded(ann, thread_id))[2]["widget"]["children"][1]["value"] == state


async def test_mentions_and_quotes_are_stored_and_reach_the_agent(ann: Client) -> None:
    tag = {"type": "input_tag", "id": "1", "text": "Ann", "data": {"role": "boss"}, "interactive": True}
    content = [{"type": "input_text", "text": "tell me who is mentioned: "}, tag]
    response = await ann("threads.create", input={**message(""), "content": content})
    assert 'Ann is {"role": "boss"}' in items_of(response)[-1]["content"][0]["text"]
    assert response.of("thread.updated")[0]["thread"]["title"] == "tell me who is mentioned: @Ann"
    quoting = {**message("what of it?"), "quoted_text": "a quote"}
    second = await ann("threads.add_user_message", thread_id=thread_of(response), input=quoting)
    assert "a quote" in items_of(second)[-1]["content"][0]["text"], "the demo model repeats its input"
    sent_messages = [item for item in await reloaded(ann, thread_of(response)) if item["type"] == "user_message"]
    assert (sent_messages[0]["content"][1]["data"], sent_messages[1]["quoted_text"]) == ({"role": "boss"}, "a quote")


async def test_each_assistant_has_its_own_tools_and_threads(ann: Client) -> None:
    shop = ann.at("shop")
    sale = await shop("threads.create", input=message("please sell socks"))
    assert "sold to ann" in items_of(sale)[-1]["content"][0]["text"]
    assert [t["id"] for t in (await shop("threads.list")).json["data"]] == [thread_of(sale)]
    from_default = await ann("threads.get_by_id", thread_id=thread_of(sale))
    assert (from_default.status, from_default.body) == (404, (await ann("threads.get_by_id", thread_id="thr_no")).body)
    assert (await ann.at("nobody")("threads.list")).status == 404


async def test_deleting_a_thread_deletes_its_pictures(ann: Client) -> None:
    response = await ann("threads.create", input=message("paint me another one"))
    [picture] = [item for item in await reloaded(ann, thread_of(response)) if item["type"] == "generated_image"]
    await ann("threads.delete", thread_id=thread_of(response))
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http, asyncio.timeout(SWEEP_TIMEOUT_S):
        while (await http.get(picture["image"]["url"])).status_code != 404:  # noqa: ASYNC110 - S3 cannot notify us
            await asyncio.sleep(0.05)


async def test_a_generated_picture_is_stored_and_a_fresh_url_serves_it(ann: Client) -> None:
    response = await ann("threads.create", input=message("paint me something"))
    [picture] = [item for item in await reloaded(ann, thread_of(response)) if item["type"] == "generated_image"]
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        fetched = await http.get(picture["image"]["url"])
    assert (fetched.content, fetched.headers["content-type"]) == (PNG, "image/png")
