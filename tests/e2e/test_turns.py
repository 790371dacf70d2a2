"""Turns in real processes with a fake model on a socket: Stop, kill -9, SIGTERM, deadline, duplicates and resuming."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx2
import pytest
import pytest_asyncio

from lambda_src.dev.local_aws import LocalAws, local_aws
from lambda_src.turns.persistence import STOPPED_NOTE, SUPERSEDED_NOTE
from tests.apps.chat import message
from tests.e2e.one_user import DELTAS, emulated, journaled, streamed_text, whole_events
from tests.fakes.model_api import ModelApi, model_api

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e turns")]  # one local AWS

DUPLICATES = 100  # as if a load balancer, a proxy and a user all retried


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aws(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalAws]:
    async with local_aws(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest_asyncio.fixture(loop_scope="module")
async def api() -> AsyncIterator[ModelApi]:
    async with model_api() as api:
        yield api


async def test_stop_from_another_process_closes_the_models_socket_and_keeps_the_partial_answer(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as function, function.turn("go on forever") as stream:
        stopped = await function.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        assert stopped.json() == {"stopped": True}
        events = await stream.rest()
        await api.until_closed()
        assert len(function.emulator.pids) == 2, "Stop must reach another process than the turn's"
        last = events[-1]
        assert last["type"] == "thread.item.done"
        assert last["item"]["content"][0]["text"] == streamed_text(events)
        items = await function.items(stream.thread_id)
        assert items[-1]["content"][0]["text"] == streamed_text(events)
        again = await function.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        assert again.json() == {"stopped": False}
        assert len(api.requests) == 1
        assert STOPPED_NOTE not in str(items), "only the model may see the note"


async def test_at_the_deadline_the_answer_is_kept_and_the_stream_ends_with_a_notice(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless", timeout_s=6.0) as function, function.turn("go on forever") as stream:
        events = await stream.rest()
        assert [event["type"] for event in events[-2:]] == ["thread.item.done", "notice"]
        assert (await function.items(stream.thread_id))[-1]["content"][0]["text"] == streamed_text(events)
        await api.until_closed()


async def test_kill_9_loses_no_user_message_and_at_most_the_last_second_of_the_answer(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as function, function.turn("first") as stream:
        await journaled(aws)
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx2.HTTPError):
            await stream.rest()
        thread_id = stream.thread_id
        async with function.http.stream(
            "POST",
            "/chatkit",
            json={"type": "threads.add_user_message", "params": {"thread_id": thread_id, "input": message("second")}},
        ) as response:
            await anext(response.aiter_raw())
            items = await function.items(thread_id)
        kinds = [item["type"] for item in items]
        assert kinds[:3] == ["user_message", "assistant_message", "user_message"]
        stored, streamed = items[1]["content"][0]["text"], streamed_text(whole_events(stream.body))
        assert stored, "the journaled part of the answer must be there"
        assert streamed.startswith(stored) or stored.startswith(streamed)
    assert SUPERSEDED_NOTE in str(api.requests[1]["input"]), "the model must learn why the answer breaks off"


async def test_duplicates_attach_to_the_running_turn_and_the_oldest_make_room(aws: LocalAws, api: ModelApi) -> None:
    body = {"type": "threads.create", "params": {"input": message("once")}}
    async with emulated(aws, f"{api.url}/well", managed=2 * DUPLICATES) as function:
        responses = await asyncio.gather(*(function.http.post("/chatkit", json=body) for _ in range(DUPLICATES)))
        assert {response.status_code for response in responses} == {200}
        streams = [whole_events(response.content) for response in responses]
        cut = [events for events in streams if events[-1]["type"] == "notice"]  # they made room for newer ones
        complete, *others = [events for events in streams if events not in cut]
        assert complete[-1]["type"] == "thread.item.done"
        assert all(events == complete for events in others)
        assert all(events[:-1] == complete[: len(events) - 1] for events in cut)
        assert len({response.headers["x-chat-turn"] for response in responses}) == 1
        listed = (await function.request("threads.list")).json()["data"]
        assert len(listed) == 1
    assert len(api.requests) == 1


async def test_after_a_reload_the_client_finds_the_turn_and_resumes_after_the_last_event_that_it_received(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as function, function.turn("go on") as stream:
        await journaled(aws)
        running = await function.http.get(f"/chatkit/threads/{stream.thread_id}/turn")
        assert running.json() == {"turn_id": stream.turn_id}
        url = f"/chatkit/turns/{stream.turn_id}/events"
        async with function.http.stream("GET", url, headers={"last-event-id": "3"}) as resumed:
            chunks = resumed.aiter_raw()
            replayed = await anext(chunks)
            assert replayed.split(b"\n\n")[0].endswith(b"\nid: 4")
            await function.http.post("/chatkit/stop", json={"thread_id": stream.thread_id})
            replayed += b"".join([chunk async for chunk in chunks])
        assert whole_events(replayed) == (await stream.rest())[3:]
        unknown = await function.http.get("/chatkit/turns/turn-that-never-was/events")
        assert unknown.status_code == 404


async def test_a_sandbox_that_gets_sigterm_loses_no_text_that_was_sent(aws: LocalAws, api: ModelApi) -> None:
    """SIGTERM leaves 100 ms. The journal is written first, and restores everything that the client has received."""
    async with emulated(aws, f"{api.url}/endless") as function, function.turn("first") as stream:
        await journaled(aws)
        for _ in range(DELTAS):
            stream.body += await anext(stream.chunks)
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGTERM)
        with suppress(httpx2.HTTPError):
            await stream.rest()
        body = {"type": "threads.add_user_message", "params": {"thread_id": stream.thread_id, "input": message("on")}}
        async with function.http.stream("POST", "/chatkit", json=body) as response:
            await anext(response.aiter_raw())
            items = await function.items(stream.thread_id)
    stored, streamed = items[1]["content"][0]["text"], streamed_text(whole_events(stream.body))
    assert stored.startswith(streamed)
    assert [item["type"] for item in items[:3]] == ["user_message", "assistant_message", "user_message"]
