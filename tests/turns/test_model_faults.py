"""What goes wrong at the model, on the wire, through the real client: the user is told, nothing said is lost."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_src.models.providers import RETRIES, openai_run_config
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.persistence import CUT_NOTE, AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests import content_markers
from tests.apps.chat import Answer, Chat, app_with, message, server_with
from tests.content_markers import MARKERS
from tests.fakes.model_api import ANSWER, ModelApi, model_api

NAMED = "turn-named-by-the-client"
STALL_S = 1.0  # how long the real client waits for a byte: real time, as short as a busy machine lets it be


@pytest.fixture
async def api() -> AsyncIterator[ModelApi]:
    async with model_api() as api:
        yield api


def chat_with(api: ModelApi, behaviour: str) -> Chat:
    run_config = openai_run_config("key", base_url=f"{api.url}/{behaviour}", stall_s=STALL_S)
    return Chat(app_with(server_with(MemoryStore(), run_config=run_config)))


async def ask(chat: Chat, **headers: str) -> tuple[Answer, list[str]]:
    """The answer, and what the thread holds afterwards."""
    body = content_markers.request_body("threads.create", {"input": message("count")})
    answer = await chat.post(body, **headers)
    thread_id = answer.of("thread.created")[0]["thread"]["id"]
    items = (await chat("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    return answer, ["".join(part["text"] for part in item["content"]) for item in items]


@pytest.mark.parametrize("behaviour", ["well", "trickle"])
async def test_an_answer_arrives_whole_however_its_bytes_come(api: ModelApi, behaviour: str) -> None:
    answer, kept = await ask(chat_with(api, behaviour))
    assert kept == ["count", ANSWER]
    assert not answer.of("error")


@pytest.mark.parametrize("behaviour", ["stall", "reset", "half-line", "failed-event"])
async def test_an_answer_that_breaks_off_keeps_what_was_said_and_is_not_asked_for_again(
    api: ModelApi, behaviour: str
) -> None:
    answer, kept = await ask(chat_with(api, behaviour))
    (error,) = answer.of("error")
    assert error["allow_retry"] is True
    assert error["message"]
    assert MARKERS["exception"].encode() not in answer.body
    assert kept[0] == "count"
    assert kept[1]
    assert ANSWER.startswith(kept[1])
    assert len(kept[1]) < len(ANSWER)
    assert len(api.requests) == 1, "never retried after the first event"
    await api.until_closed()


@pytest.mark.parametrize(("behaviour", "words", "retry"), [("busy", "busy", True), ("broken", "reached", True)])
async def test_a_model_that_refuses_is_asked_again_and_then_explained(
    api: ModelApi, behaviour: str, words: str, retry: bool
) -> None:
    answer, kept = await ask(chat_with(api, behaviour))
    (error,) = answer.of("error")
    assert words in error["message"]
    assert error["allow_retry"] is retry
    assert kept == ["count"]
    assert len(api.requests) == 1 + RETRIES


async def test_a_wrong_key_is_said_at_once_and_no_retry_is_offered(api: ModelApi) -> None:
    answer, _ = await ask(chat_with(api, "no-key"))
    (error,) = answer.of("error")
    assert "key" in error["message"]
    assert error.get("allow_retry", False) is False
    assert len(api.requests) == 1


async def test_a_passing_failure_is_not_even_seen(api: ModelApi) -> None:
    api.failures_left = RETRIES
    answer, kept = await ask(chat_with(api, "well"))
    assert kept == ["count", ANSWER]
    assert not answer.of("error")


async def test_a_model_that_says_nothing_at_all_is_given_up(api: ModelApi) -> None:
    answer, kept = await ask(chat_with(api, "silent"))
    (error,) = answer.of("error")
    assert "in time" in error["message"]
    assert kept == ["count"]
    await api.until_closed()


async def test_the_next_message_after_a_broken_answer_sees_it_and_the_note(api: ModelApi) -> None:
    chat = chat_with(api, "half-line")
    created = (await chat("threads.create", input=message("count"))).of("thread.created")[0]
    await chat("threads.add_user_message", thread_id=created["thread"]["id"], input=message("continue"))
    shown = str(api.requests[-1]["input"])
    assert "one" in shown
    assert CUT_NOTE[:40] in shown


async def test_a_stopped_run_leaves_no_task_that_asyncio_complains_about(api: ModelApi) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    store = MemoryStore()
    server = server_with(store, run_config=openai_run_config("key", base_url=f"{api.url}/endless", stall_s=STALL_S))
    services = TurnServices(store.ledger, AnswerStore(store), sleep=lambda seconds: asyncio.sleep(seconds / 100))
    chat = Chat(app_with(server, services=services))
    asking = asyncio.create_task(ask(chat, x_chat_turn=NAMED))
    await api.talking.wait()
    assert (await chat.post(b'{"turn_id":"%s"}' % NAMED.encode(), "/chatkit/stop")).json["stopped"]
    _, kept = await asking
    await api.until_closed()
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints
    assert kept[0] == "count"


async def test_a_turn_that_is_stopped_before_the_first_word_leaves_no_empty_message_on_the_page(api: ModelApi) -> None:
    store = MemoryStore()
    server = server_with(store, run_config=openai_run_config("key", base_url=f"{api.url}/opening"))
    services = TurnServices(store.ledger, AnswerStore(store), sleep=lambda seconds: asyncio.sleep(seconds / 100))
    chat = Chat(app_with(server, services=services))
    asking = asyncio.create_task(ask(chat, x_chat_turn=NAMED))
    await api.talking.wait()
    assert (await chat.post(b'{"turn_id":"%s"}' % NAMED.encode(), "/chatkit/stop")).json["stopped"]
    answer, kept = await asking
    added = [event["item"]["id"] for event in answer.of("thread.item.added")]
    assert [event["item_id"] for event in answer.of("thread.item.removed")] == added
    assert kept == ["count"]
