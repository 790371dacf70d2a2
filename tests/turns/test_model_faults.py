"""Model failures on the wire with the real client: the user gets an explanation, and no words are lost."""

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
STALL_S = 1.0  # how long the real client waits for a byte, in real time: as short as a busy machine allows


@pytest.fixture
async def api() -> AsyncIterator[ModelApi]:
    async with model_api() as api:
        yield api


def chat_with(api: ModelApi, behavior: str) -> Chat:
    run_config = openai_run_config("key", base_url=f"{api.url}/{behavior}", stall_s=STALL_S)
    return Chat(app_with(server_with(MemoryStore(), run_config=run_config)))


async def ask(chat: Chat, **headers: str) -> tuple[Answer, list[str]]:
    """Send a message; return the answer and the texts stored in the thread."""
    body = content_markers.request_body("threads.create", {"input": message("count")})
    answer = await chat.post(body, **headers)
    thread_id = answer.of("thread.created")[0]["thread"]["id"]
    items = (await chat("threads.get_by_id", thread_id=thread_id)).json["items"]["data"]
    return answer, ["".join(part["text"] for part in item["content"]) for item in items]


@pytest.mark.parametrize("behavior", ["well", "trickle"])
async def test_an_answer_is_complete_however_its_bytes_arrive(api: ModelApi, behavior: str) -> None:
    answer, stored = await ask(chat_with(api, behavior))
    assert stored == ["count", ANSWER]
    assert not answer.of("error")


@pytest.mark.parametrize("behavior", ["stall", "reset", "half-line", "failed-event"])
async def test_an_answer_that_breaks_off_keeps_its_words_and_is_not_retried(api: ModelApi, behavior: str) -> None:
    answer, stored = await ask(chat_with(api, behavior))
    (error,) = answer.of("error")
    assert error["allow_retry"] is True
    assert error["message"]
    assert MARKERS["exception"].encode() not in answer.body
    assert stored[0] == "count"
    assert stored[1]
    assert ANSWER.startswith(stored[1])
    assert len(stored[1]) < len(ANSWER)
    assert len(api.requests) == 1, "no retry after the first event"
    await api.until_closed()


@pytest.mark.parametrize(("behavior", "words", "retry"), [("busy", "busy", True), ("broken", "reached", True)])
async def test_a_refusing_model_is_retried_and_then_explained(
    api: ModelApi, behavior: str, words: str, retry: bool
) -> None:
    answer, stored = await ask(chat_with(api, behavior))
    (error,) = answer.of("error")
    assert words in error["message"]
    assert error["allow_retry"] is retry
    assert stored == ["count"]
    assert len(api.requests) == 1 + RETRIES


async def test_a_wrong_key_is_reported_at_once_without_offering_a_retry(api: ModelApi) -> None:
    answer, _ = await ask(chat_with(api, "no-key"))
    (error,) = answer.of("error")
    assert "key" in error["message"]
    assert error.get("allow_retry", False) is False
    assert len(api.requests) == 1


async def test_a_temporary_failure_is_not_visible(api: ModelApi) -> None:
    api.failures_left = RETRIES
    answer, stored = await ask(chat_with(api, "well"))
    assert stored == ["count", ANSWER]
    assert not answer.of("error")


async def test_a_silent_model_times_out(api: ModelApi) -> None:
    answer, stored = await ask(chat_with(api, "silent"))
    (error,) = answer.of("error")
    assert "in time" in error["message"]
    assert stored == ["count"]
    await api.until_closed()


async def test_the_turn_after_a_broken_answer_sends_its_words_and_the_note_to_the_model(api: ModelApi) -> None:
    chat = chat_with(api, "half-line")
    created = (await chat("threads.create", input=message("count"))).of("thread.created")[0]
    await chat("threads.add_user_message", thread_id=created["thread"]["id"], input=message("continue"))
    model_input = str(api.requests[-1]["input"])
    assert "one" in model_input
    assert CUT_NOTE[:40] in model_input


async def test_a_stopped_run_leaves_no_task_with_an_unretrieved_exception(api: ModelApi) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    store = MemoryStore()
    server = server_with(store, run_config=openai_run_config("key", base_url=f"{api.url}/endless", stall_s=STALL_S))
    services = TurnServices(store.ledger, AnswerStore(store), sleep=lambda seconds: asyncio.sleep(seconds / 100))
    chat = Chat(app_with(server, services=services))
    asking = asyncio.create_task(ask(chat, x_chat_turn=NAMED))
    await api.talking.wait()
    assert (await chat.post(b'{"turn_id":"%s"}' % NAMED.encode(), "/chatkit/stop")).json["stopped"]
    _, stored = await asking
    await api.until_closed()
    gc.collect()
    await asyncio.sleep(0)
    assert not problems
    assert stored[0] == "count"


async def test_a_turn_stopped_before_its_first_word_removes_its_empty_message(api: ModelApi) -> None:
    store = MemoryStore()
    server = server_with(store, run_config=openai_run_config("key", base_url=f"{api.url}/opening"))
    services = TurnServices(store.ledger, AnswerStore(store), sleep=lambda seconds: asyncio.sleep(seconds / 100))
    chat = Chat(app_with(server, services=services))
    asking = asyncio.create_task(ask(chat, x_chat_turn=NAMED))
    await api.talking.wait()
    assert (await chat.post(b'{"turn_id":"%s"}' % NAMED.encode(), "/chatkit/stop")).json["stopped"]
    answer, stored = await asking
    added = [event["item"]["id"] for event in answer.of("thread.item.added")]
    assert [event["item_id"] for event in answer.of("thread.item.removed")] == added
    assert stored == ["count"]
