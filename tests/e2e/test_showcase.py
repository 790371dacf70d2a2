"""What ChatKit can show, through the emulated Lambda, DynamoDB and S3: streamed, kept, shown again on reload."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.apps.chat import message
from tests.apps.emulated import Client
from tests.apps.full import PNG, items_of, thread_of
from tests.dev.test_showcase import EVENTS, KEPT
from tests.e2e.test_uploads import SWEPT_WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def reloaded(ann: Client, thread_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await ann("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    return items


@pytest.mark.parametrize(("phrase", "kinds"), KEPT, ids=[phrase for phrase, _ in KEPT])
async def test_a_phrase_shows_it_and_a_reload_shows_what_is_kept(ann: Client, phrase: str, kinds: list[str]) -> None:
    answer = await ann("threads.create", input=message(phrase))
    assert answer.of("error") == []
    items = await reloaded(ann, thread_of(answer))
    assert [item["type"] for item in items] == ["user_message", *kinds]
    # A widget comes back with the defaults of its parts spelled out: upstream parses it into other classes.
    told = {item["id"]: item for item in items_of(answer) if item["type"] != "widget"}
    assert all(told[item["id"]] == item for item in items if item["id"] in told), "what was streamed is what is kept"


@pytest.mark.parametrize(("phrase", "kind", "fields"), EVENTS, ids=[kind for _, kind, _ in EVENTS])
async def test_what_is_only_told_is_told(ann: Client, phrase: str, kind: str, fields: dict[str, Any]) -> None:
    answer = await ann("threads.create", input=message(f"please {phrase}"))
    assert fields.items() <= answer.of(kind)[0].items()


async def test_a_client_tool_and_a_form_go_on_when_they_are_answered(ann: Client) -> None:
    tool = thread_of(await ann("threads.create", input=message("please read my clipboard")))
    answer = await ann("threads.add_client_tool_output", thread_id=tool, result={"text": "forty-two"})
    assert "forty-two" in items_of(answer)[-1]["content"][0]["text"]
    form = await ann("threads.create", input=message("please ask me something"))
    sent = {"status": "answered", "answers": {"why": {"values": ["because"]}}}
    ids = {"thread_id": thread_of(form), "item_id": items_of(form)[-1]["id"]}
    assert items_of(await ann("threads.add_structured_input", **ids, input=sent))[-1]["type"] == "assistant_message"
    assert (await reloaded(ann, ids["thread_id"]))[1]["status"] == "answered"
    assert (await ann("threads.add_structured_input", **ids, input={**sent, "status": "skipped"})).status == 409


@pytest.mark.parametrize(("word", "told"), [("Approve", "order 17 of ann is refunded"), ("Deny", "did not allow")])
async def test_a_tool_waits_for_a_yes_and_runs_once_or_not_at_all(ann: Client, word: str, told: str) -> None:
    answer = await ann("threads.create", input=message(f"please give a refund ({word})"))
    ids = {"thread_id": thread_of(answer), "item_id": items_of(answer)[-1]["id"]}
    assert (await reloaded(ann, ids["thread_id"]))[-1]["status"] == "pending"
    sent = {"status": "answered", "answers": {"0": {"values": [word]}}}
    assert (await ann.as_("bob")("threads.add_structured_input", **ids, input=sent)).status == 404
    decided = await ann("threads.add_structured_input", **ids, input=sent)
    assert told in items_of(decided)[-1]["content"][0]["text"]
    items = await reloaded(ann, ids["thread_id"])
    assert [item["type"] for item in items] == ["user_message", "structured_input", "assistant_message"]
    assert items[1]["inputs"][0]["answer"]["values"] == [word]
    sent["answers"] = {"0": {"values": ["Approve again"]}}
    assert (await ann("threads.add_structured_input", **ids, input=sent)).status == 409
    assert await reloaded(ann, ids["thread_id"]) == items


async def test_a_clicked_widget_is_shown_as_it_became(ann: Client) -> None:
    answer = await ann("threads.create", input=message("please show me a widget"))
    thread_id = thread_of(answer)
    widget = next(item for item in items_of(answer) if item["type"] == "widget")
    for operation, kind, state in (
        ("threads.custom_action", "order.ship", "shipped"),
        ("threads.sync_custom_action", "order.cancel", "cancelled"),
    ):
        action = {"type": kind, "payload": {"order_id": 17}}
        assert (await ann(operation, thread_id=thread_id, item_id=widget["id"], action=action)).status == 200
        assert (await reloaded(ann, thread_id))[1]["widget"]["children"][1]["value"] == state


async def test_mentions_and_quotes_are_kept_and_mentions_reach_the_agent(ann: Client) -> None:
    tag = {"type": "input_tag", "id": "1", "text": "Ann", "data": {"role": "boss"}, "interactive": True}
    content = [{"type": "input_text", "text": "tell me who is mentioned: "}, tag]
    answer = await ann("threads.create", input={**message(""), "content": content})
    assert 'Ann is {"role": "boss"}' in items_of(answer)[-1]["content"][0]["text"]
    assert answer.of("thread.updated")[0]["thread"]["title"] == "tell me who is mentioned: @Ann"
    quoting = {**message("what of it?"), "quoted_text": "a quote"}
    told = await ann("threads.add_user_message", thread_id=thread_of(answer), input=quoting)
    assert "a quote" in items_of(told)[-1]["content"][0]["text"], "the demo model gives back what it was shown"
    said = [item for item in await reloaded(ann, thread_of(answer)) if item["type"] == "user_message"]
    assert (said[0]["content"][1]["data"], said[1]["quoted_text"]) == ({"role": "boss"}, "a quote")


async def test_each_assistant_has_its_own_tools_and_threads(ann: Client) -> None:
    shop = ann.at("shop")
    sold = await shop("threads.create", input=message("please sell socks"))
    assert "sold to ann" in items_of(sold)[-1]["content"][0]["text"]
    assert [t["id"] for t in (await shop("threads.list")).json["data"]] == [thread_of(sold)]
    other = await ann("threads.get_by_id", thread_id=thread_of(sold))
    assert (other.status, other.body) == (404, (await ann("threads.get_by_id", thread_id="thr_no")).body)
    assert (await ann.at("nobody")("threads.list")).status == 404


async def test_a_deleted_thread_takes_its_pictures_along(ann: Client) -> None:
    answer = await ann("threads.create", input=message("paint me another one"))
    [shown] = [item for item in await reloaded(ann, thread_of(answer)) if item["type"] == "generated_image"]
    await ann("threads.delete", thread_id=thread_of(answer))
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http, asyncio.timeout(SWEPT_WITHIN_S):
        while (await http.get(shown["image"]["url"])).status_code != 404:  # noqa: ASYNC110 - S3 tells nobody
            await asyncio.sleep(0.05)


async def test_a_picture_is_painted_kept_and_seen_by_a_fresh_url(ann: Client) -> None:
    answer = await ann("threads.create", input=message("paint me something"))
    [shown] = [item for item in await reloaded(ann, thread_of(answer)) if item["type"] == "generated_image"]
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        fetched = await http.get(shown["image"]["url"])
    assert (fetched.content, fetched.headers["content-type"]) == (PNG, "image/png")
