"""Turn routes (events, resume, stop): unusual and invalid headers and bodies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from lambda_src import sse
from lambda_src.models.demo_model import DemoModel
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import app_with, message, server_with

TURN = "turn-named-by-the-client"
EVENTS = f"/chatkit/turns/{TURN}/events"
BODY = {"type": "threads.create", "params": {"input": message("hi")}}
ANN = {"authorization": "Bearer ann"}
KB = 1024


class BlockedModel(DemoModel):
    """The demo model; waits for `released` before it answers."""

    def __init__(self) -> None:
        super().__init__(sleep=self._wait)
        self.started, self.released = asyncio.Event(), asyncio.Event()

    async def _wait(self, _: float) -> None:
        self.started.set()
        await self.released.wait()


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Ann's client, after one named turn has ended."""
    app = app_with(server_with(MemoryStore()))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test", headers=ANN) as http:
        answer = await http.post("/chatkit", json=BODY, headers={"x-chat-turn": TURN})
        assert answer.status_code == 200
        yield http


async def ids_after(http: httpx2.AsyncClient, seen: str | None) -> list[int]:
    """Return the ids of the events replayed to a client whose last event id is `seen`."""
    answer = await http.get(EVENTS, headers={} if seen is None else {b"last-event-id": seen.encode("latin-1")})
    assert answer.status_code == 200
    assert (await http.get(EVENTS, params={} if seen is None else {"lastEventId": seen})).content == answer.content
    return [int(message.id) for message in sse.read(answer.content)]


@pytest.mark.parametrize("garbage", ["", "abc", "-1", "1e3", "0x10", "3;4", "9" * 10, "²", "3 4", "null"])
async def test_an_invalid_event_id_replays_from_the_first_event(http: httpx2.AsyncClient, garbage: str) -> None:
    ids = await ids_after(http, garbage)
    assert ids == await ids_after(http, None)
    assert ids == list(range(1, len(ids) + 1))


async def test_an_event_id_replays_the_events_after_it(http: httpx2.AsyncClient) -> None:
    assert await ids_after(http, "3") == (await ids_after(http, None))[3:]


@pytest.mark.parametrize("beyond", [0, 1, 1000, 999_999_999])
async def test_resuming_a_finished_turn_after_its_last_event_is_a_204(http: httpx2.AsyncClient, beyond: int) -> None:
    """After an empty 200 an EventSource would reconnect forever."""
    last = len(await ids_after(http, None))
    seen = str(min(last + beyond, 999_999_999))
    for request in (
        http.build_request("GET", EVENTS, headers={"last-event-id": seen}),
        http.build_request("GET", EVENTS, params={"lastEventId": seen}),
        http.build_request("POST", "/chatkit", json=BODY, headers={"x-chat-turn": TURN, "last-event-id": seen}),
        http.build_request("POST", "/chatkit", json=BODY, headers={"x-chat-turn": TURN}, params={"lastEventId": seen}),
    ):
        answer = await http.send(request)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["x-chat-turn"].startswith("turn_")
    assert await ids_after(http, str(last - 1)) == [last]


@pytest.mark.parametrize(
    "path", ["/chat/health", EVENTS, "/chatkit/threads/thr_1/turn", "/chatkit/turns/turn-of-nobody/events"]
)
async def test_head_answers_like_get(http: httpx2.AsyncClient, path: str) -> None:
    got, head = await http.get(path), await http.head(path)
    assert head.status_code == got.status_code
    for name in ("content-type", "x-chat-turn", "cache-control"):
        assert head.headers.get(name) == got.headers.get(name)


async def test_head_of_a_running_turn_does_not_wait_for_its_end() -> None:
    store, model = MemoryStore(), BlockedModel()
    app = app_with(server_with(store, model=model))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test", headers=ANN) as http:
        turn = asyncio.create_task(http.post("/chatkit", json=BODY, headers={"x-chat-turn": TURN}))
        await model.started.wait()
        assert (await http.head(EVENTS)).status_code == 200
        assert not turn.done()
        model.released.set()
        assert (await turn).status_code == 200


@pytest.mark.parametrize("named", [{"x-chat-turn": "another-name-of-the-client"}, {}], ids=["named", "unnamed"])
@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_a_request_with_a_last_event_id_begins_no_turn(
    http: httpx2.AsyncClient, named: dict[str, str], how: str
) -> None:
    """The client would skip the new turn's first events, and the message would be stored twice."""
    headers = named | ({"last-event-id": "34"} if how == "header" else {})
    params = {"lastEventId": "34"} if how == "parameter" else {}
    body = {"type": "threads.create", "params": {"input": message("sent long ago")}}
    for _ in range(2):
        answer = await http.post("/chatkit", json=body, headers=headers, params=params)
        assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
        assert "Reload" in answer.json()["message"]
    threads = await http.post("/chatkit", json={"type": "threads.list", "params": {}})
    assert len(threads.json()["data"]) == 1
    assert (await http.post("/chatkit", json=body, headers=named)).status_code == 200


async def test_a_request_with_a_last_event_id_gets_the_rest_of_its_turn(http: httpx2.AsyncClient) -> None:
    complete = await http.post("/chatkit", json=BODY, headers={"x-chat-turn": TURN})
    rest = await http.post("/chatkit", json=BODY, headers={"x-chat-turn": TURN, "last-event-id": "5"})
    assert rest.content == complete.content.partition(b"id: 5\n\n")[2] != b""
    unnamed = {"type": "threads.create", "params": {"input": message("without a name")}}
    first = await http.post("/chatkit", json=unnamed)
    again = await http.post("/chatkit", json=unnamed, headers={"last-event-id": "5"})
    assert sse.read(again.content) == [
        replace(message, id=str(number)) for number, message in enumerate(sse.read(first.content), 1) if number > 5
    ]


@pytest.mark.parametrize("header", ["last-event-id", "x-chat-turn", "x-anything"])
async def test_a_header_of_ten_kilobytes_is_harmless(http: httpx2.AsyncClient, header: str) -> None:
    body = {"type": "threads.create", "params": {"input": message("again")}}
    answer = await http.post("/chatkit", json=body, headers={header: "9" * 10 * KB})
    assert answer.status_code == (422 if header == "x-chat-turn" else 200)


STOPS = [
    b"", b"{", b"[]", b"null", b'"turn"', b"{}", b'{"turn_id": null}', b'{"turn_id": 1}', b'{"turn_id": ["a"]}',
    b'{"turn_id": "a", "thread_id": "b"}', b'{"turn_id": "a", "more": 1}', b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("body", STOPS)
async def test_an_invalid_stop_request_is_refused_with_a_message(http: httpx2.AsyncClient, body: bytes) -> None:
    answer = await http.post("/chatkit/stop", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["turn_id", "thread_id"])
@pytest.mark.parametrize("value", ["", "no-such-turn-was-ever-here", "\u0000", "é" * 600, "../../etc/passwd", TURN])
async def test_stopping_a_finished_or_unknown_turn_changes_nothing(
    http: httpx2.AsyncClient, name: str, value: str
) -> None:
    answer = await http.post("/chatkit/stop", json={name: value})
    assert (answer.status_code, answer.content) == (200, b'{"stopped":false}')


async def test_a_foreign_turn_looks_like_an_unknown_one(http: httpx2.AsyncClient) -> None:
    bob = {"authorization": "Bearer bob"}
    for path in (EVENTS, "/chatkit/turns/turn-that-never-was/events"):
        answer = await http.get(path, headers=bob)
        assert answer.status_code == 404
        assert answer.json()["error"] == "not_found"
    stops = [
        await http.post("/chatkit/stop", json={"turn_id": turn_id}, headers=bob)
        for turn_id in (TURN, "turn-that-never-was")
    ]
    assert len({stop.content for stop in stops}) == 1
