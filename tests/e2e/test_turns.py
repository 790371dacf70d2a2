"""Turns through real processes: Stop from another one, kill -9, deadline, duplicates. The model is a real socket."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws, local_aws
from lambda_src.turns.keeping import STOPPED_NOTE, SUPERSEDED_NOTE
from lambda_src.turns.running import RENEW_S
from tests.chat import message
from tests.e2e.conftest import ROOT, SETTINGS
from tests.model_api import ModelApi, model_api

DELTAS = 8  # read before something happens to the turn


@pytest.fixture
async def aws(tmp_path: Path) -> AsyncIterator[LocalAws]:
    async with local_aws(tmp_path) as aws:
        yield aws


@pytest.fixture
async def api() -> AsyncIterator[ModelApi]:
    async with model_api() as api:
        yield api


@asynccontextmanager
async def emulated(aws: LocalAws, model_url: str, **switches: Any) -> AsyncIterator["House"]:
    """The function, answered by the model at `model_url`."""
    env = {**SETTINGS, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET, "MODEL_URL": model_url}
    async with (
        Emulator("tests.e2e.served.handler", env=env, task_root=ROOT, switches=Switches(**switches)) as emulator,
        httpx2.AsyncClient(
            base_url=emulator.url, headers={"authorization": "Bearer ann"}, timeout=60, trust_env=False
        ) as http,
    ):
        yield House(emulator, http)


@dataclass(slots=True)
class House:
    """The emulator and one user's client."""

    emulator: Emulator
    http: httpx2.AsyncClient

    @asynccontextmanager
    async def turn(self, text: str, **headers: str) -> AsyncIterator["Stream"]:
        """A new thread's turn, read up to DELTAS words of its answer."""
        body = {"type": "threads.create", "params": {"input": message(text)}}
        async with self.http.stream("POST", "/chatkit", json=body, headers=headers) as answer:
            assert answer.status_code == 200
            stream = Stream(answer.headers["x-chat-turn"], answer.aiter_raw())
            while stream.body.count(b"text_delta") < DELTAS:
                stream.body += await anext(stream.chunks)
            yield stream

    async def ask(self, operation: str, **params: Any) -> httpx2.Response:
        """Any request."""
        return await self.http.post("/chatkit", json={"type": operation, "params": params})

    async def items(self, thread_id: str) -> list[dict[str, Any]]:
        """What the thread shows, oldest first."""
        answer = await self.ask("items.list", thread_id=thread_id, order="asc", limit=100)
        return list(answer.json()["data"])


@dataclass(slots=True)
class Stream:
    """An answer under way."""

    turn_id: str
    chunks: AsyncIterator[bytes]
    body: bytes = b""

    @property
    def thread_id(self) -> str:
        """The thread that its first event names."""
        return str(json.loads(self.body.split(b"\n", 1)[0][6:])["thread"]["id"])

    async def rest(self) -> list[dict[str, Any]]:
        """Every event, once the stream has ended."""
        async for chunk in self.chunks:
            self.body += chunk
        return whole_events(self.body)


def whole_events(body: bytes) -> list[dict[str, Any]]:
    """The events whose bytes have all arrived; heartbeats and ids left out."""
    return [json.loads(line[6:]) for line in body.split(b"\n")[:-1] if line.startswith(b"data: ")]


def said(events: list[dict[str, Any]]) -> str:
    """What the deltas add up to."""
    return "".join(event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated")


async def test_stop_from_another_process_closes_the_models_socket_and_keeps_what_was_said(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as house, house.turn("go on for ever") as stream:
        stopped = await house.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        assert stopped.json() == {"stopped": True}
        events = await stream.rest()
        await api.until_closed()
        assert len(house.emulator.pids) == 2, "the stop reached another process than the turn's"
        last = events[-1]
        assert last["type"] == "thread.item.done"
        assert last["item"]["content"][0]["text"] == said(events)
        kept = await house.items(stream.thread_id)
        assert kept[-1]["content"][0]["text"] == said(events)
        again = await house.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        assert again.json() == {"stopped": False}
        assert len(api.requests) == 1
        assert STOPPED_NOTE not in str(kept), "the note is for the model only"


async def test_the_deadline_keeps_the_answer_says_how_to_go_on_and_ends_the_stream_well(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless", timeout_s=6.0) as house, house.turn("go on for ever") as stream:
        events = await stream.rest()
        assert [event["type"] for event in events[-2:]] == ["thread.item.done", "notice"]
        assert (await house.items(stream.thread_id))[-1]["content"][0]["text"] == said(events)
        await api.until_closed()


async def test_kill_9_loses_no_users_message_and_at_most_the_last_second_of_the_answer(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as house, house.turn("first") as stream:
        await journaled(aws)
        for pid in house.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx2.HTTPError):
            await stream.rest()
        thread_id = stream.thread_id
        async with house.http.stream(
            "POST",
            "/chatkit",
            json={"type": "threads.add_user_message", "params": {"thread_id": thread_id, "input": message("second")}},
        ) as answer:
            await anext(answer.aiter_raw())
            items = await house.items(thread_id)
        kinds = [item["type"] for item in items]
        assert kinds[:3] == ["user_message", "assistant_message", "user_message"]
        kept, shown = items[1]["content"][0]["text"], said(whole_events(stream.body))
        assert kept, "a journaled second of the answer is there"
        assert shown.startswith(kept) or kept.startswith(shown)
    assert SUPERSEDED_NOTE in str(api.requests[1]["input"]), "the model knows why the answer breaks off"


async def test_duplicates_attach_to_the_turn_that_runs_and_see_the_same_events(aws: LocalAws, api: ModelApi) -> None:
    body = {"type": "threads.create", "params": {"input": message("once")}}
    async with emulated(aws, f"{api.url}/well", managed=16) as house:
        answers = await asyncio.gather(*(house.http.post("/chatkit", json=body) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len({answer.headers["x-chat-turn"] for answer in answers}) == 1
        listed = (await house.ask("threads.list")).json()["data"]
        assert len(listed) == 1
    assert len(api.requests) == 1


async def test_a_reload_in_mid_answer_finds_the_turn_and_resumes_behind_what_it_had_seen(
    aws: LocalAws, api: ModelApi
) -> None:
    async with emulated(aws, f"{api.url}/endless") as house, house.turn("go on") as stream:
        await journaled(aws)
        running = await house.http.get(f"/chatkit/threads/{stream.thread_id}/turn")
        assert running.json() == {"turn_id": stream.turn_id}
        url = f"/chatkit/turns/{stream.turn_id}/events"
        async with house.http.stream("GET", url, headers={"last-event-id": "3"}) as resumed:
            chunks = resumed.aiter_raw()
            replayed = await anext(chunks)
            assert replayed.split(b"\n\n")[0].endswith(b"\nid: 4")
            await house.http.post("/chatkit/stop", json={"thread_id": stream.thread_id})
            replayed += b"".join([chunk async for chunk in chunks])
        seen = [line for line in replayed.split(b"\n") if line.startswith(b"data: ")]
        assert [json.loads(line[6:]) for line in seen] == (await stream.rest())[3:]
        unknown = await house.http.get("/chatkit/turns/turn-that-never-was/events")
        assert unknown.status_code == 404


async def journaled(aws: LocalAws) -> None:
    """Return when what has been read so far is journaled: two batches later than now."""
    client = aws.client("dynamodb")

    async def batches() -> int:
        rows = await asyncio.to_thread(client.scan, TableName=TABLE)
        return sum(row["sk"]["S"].startswith("EVENTS#") for row in rows["Items"])

    wanted = await batches() + 2
    while await batches() < wanted:  # noqa: ASYNC110 - another process writes them: there is no event to wait for
        await asyncio.sleep(RENEW_S / 10)
