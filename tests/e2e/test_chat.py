"""A chat end to end: streaming, concurrency, errors and resuming over real processes, sockets and DynamoDB."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from lambda_src import sse
from lambda_src.dev.emulator import Emulator
from tests.apps.chat import message

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e chat")]  # one emulator serves all

TIMEOUT_S = 60.0


def client(emulator: Emulator, user: str = "ann") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=emulator.url, headers={"authorization": f"Bearer {user}"}, timeout=TIMEOUT_S, trust_env=False
    )


def body(operation: str, **params: Any) -> dict[str, Any]:
    return {"type": operation, "params": params}


async def events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for event in sse.messages(response.aiter_bytes()):
        yield json.loads(event.data)


async def test_a_turn_streams_while_the_answer_is_written_and_both_messages_are_stored(emulator: Emulator) -> None:
    async with client(emulator) as http:
        chunks: list[bytes] = []
        create = body("threads.create", input=message("hello, count to 30"))
        async with http.stream("POST", "/chatkit", json=create) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-request-id"]
            chunks = [chunk async for chunk in response.aiter_raw()]
        streamed = [json.loads(message.data) for message in sse.read(b"".join(chunks))]
        deltas = [event for event in streamed if "delta" in event.get("update", {})]
        assert len(chunks) > len(deltas) / 2 > 10, "the words must arrive one by one"

        thread_id = streamed[0]["thread"]["id"]
        thread = (await http.post("/chatkit", json=body("threads.get_by_id", thread_id=thread_id))).json()
        user_item, assistant_item = thread["items"]["data"]
        assert user_item["content"][0]["text"] == "hello, count to 30"
        assert assistant_item["content"][0]["text"] == "".join(event["update"]["delta"] for event in deltas)


async def test_a_second_request_is_served_while_the_first_streams(emulator: Emulator) -> None:
    async with client(emulator, "bob") as http:
        async with http.stream("POST", "/chatkit", json=body("threads.create", input=message("slow"))) as response:
            first = await anext(events(response))
            listed = await http.post("/chatkit", json=body("threads.list"))
        assert [thread["id"] for thread in listed.json()["data"]] == [first["thread"]["id"]]
        assert len(emulator.pids) == 2


async def test_errors_pages_and_head_requests_are_served(emulator: Emulator) -> None:
    async with client(emulator) as http:
        bad = await http.post("/chatkit", content=b"{")
        assert (bad.status_code, bad.json()["error"]) == (422, "invalid_request")
        missing = await http.post("/chatkit", json=body("threads.get_by_id", thread_id="thr_no"))
        assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
        page = await http.get("/")
        assert "<title>" in page.text
        assert (await http.get("/chat/health")).json()["status"] == "healthy"
        for path in ("/chat/health", "/", "/chat-client.js"):
            head = await http.head(path)
            assert (head.status_code, head.content) == (200, b"")
        no_path = await http.get("/%ff")
        assert (no_path.status_code, no_path.json()["error"]) == (400, "invalid_request")
    async with httpx2.AsyncClient(base_url=emulator.url, timeout=TIMEOUT_S, trust_env=False) as anonymous:
        assert (await anonymous.post("/chatkit", json=body("threads.list"))).status_code == 401


async def test_invalid_settings_are_one_init_error_that_lists_them_all() -> None:
    async with Emulator("lambda_src.handler.handler", env={"CHAT_HISTORY_ITEMS": "none"}) as emulator:
        collected = await emulator.invoke({"version": "2.0"})
    assert collected.report is not None
    for name in ("CHAT_TABLE", "CHAT_HISTORY_ITEMS", "CHAT_AUTH_"):
        assert name in collected.report.message


async def test_resuming_a_turn_that_was_received_completely_is_a_204_that_does_not_hang(emulator: Emulator) -> None:
    """Function URLs are reported to hang on a response without a single body byte."""
    async with client(emulator) as http:
        turn = {"x-chat-turn": "a-turn-that-was-fully-seen"}
        async with http.stream(
            "POST", "/chatkit", json=body("threads.create", input=message("count to 3")), headers=turn
        ) as response:
            received = [event async for event in events(response)]
        path, last = f"/chatkit/turns/{turn['x-chat-turn']}/events", str(len(received))
        for request in (
            http.build_request("GET", path, headers={"last-event-id": last}),
            http.build_request("GET", path, params={"lastEventId": last}),
        ):
            assert (await http.send(request)).status_code == 204
        assert (await http.get(path)).status_code == 200
