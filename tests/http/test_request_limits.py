"""Request limits (headers, URL, body, JSON depth and values, ids): each at its edge; beyond it nothing is stored."""

import gzip
import json
from typing import Any

import httpx2
import pytest

from lambda_src.errors import RequestError
from lambda_src.http.request_limits import MAX_DEPTH, MAX_HEADER_BYTES, MAX_URL_CHARS, MAX_VALUES, check_json
from lambda_src.store.bounds import MAX_ID_BYTES
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import MAX_BODY_BYTES, Chat, app_with, message, server_with

CREATE = json.dumps({"type": "threads.create", "params": {"input": message("hello")}}).encode()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def chat(store: MemoryStore) -> Chat:
    return Chat(app_with(server_with(store)))


async def send(chat: Chat, body: bytes, *, path: str = "/chatkit", **headers: str) -> httpx2.Response:
    """Send a raw POST as ann."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"authorization": "Bearer ann"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=chat.app), base_url="http://chat.test", headers={"user-agent": "x"}
    ) as client:
        return await client.post(path, content=body, headers=named)


def is_empty(store: MemoryStore) -> bool:
    """Whether nobody has any threads."""
    return not any(rows.threads for rows in store._users.values())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_pad": "x" * (MAX_HEADER_BYTES - 300)}, 200),
        ({"x_pad": "x" * MAX_HEADER_BYTES}, 413),
        ({"content_encoding": "identity"}, 200),
        ({"content_encoding": "gzip"}, 422),
        ({"content_encoding": "br"}, 422),
    ],
    ids=["headers at the limit", "headers over the limit", "plain", "gzip", "brotli"],
)
async def test_headers_within_the_limits_pass_and_beyond_them_nothing_is_stored(
    chat: Chat, store: MemoryStore, headers: dict[str, str], status: int
) -> None:
    answer = await send(chat, CREATE, **headers)
    assert answer.status_code == status
    if status != 200:
        assert set(answer.json()) == {"error", "message"}
        assert is_empty(store)


async def test_a_compressed_body_is_never_decompressed(chat: Chat, store: MemoryStore) -> None:
    bomb = gzip.compress(b" " * 5_000_000)
    assert len(bomb) < MAX_BODY_BYTES
    assert (await send(chat, bomb, content_encoding="gzip")).status_code == 422
    assert (await send(chat, bomb)).status_code == 422
    assert is_empty(store)


async def test_a_body_with_a_content_length_over_the_limit_is_refused_unread(chat: Chat) -> None:
    async def never() -> Any:
        raise AssertionError("the body was read")
        yield b""

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=chat.app), base_url="http://chat.test") as client:
        headers = {"content-length": str(MAX_BODY_BYTES + 1), "authorization": "Bearer ann"}
        assert (await client.post("/chatkit", content=never(), headers=headers)).status_code == 413


async def test_a_body_without_a_content_length_is_counted_as_it_arrives(chat: Chat, store: MemoryStore) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 1000

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=chat.app), base_url="http://chat.test") as client:
        answer = await client.post("/chatkit", content=endless(), headers={"authorization": "Bearer ann"})
    assert answer.status_code == 413
    assert is_empty(store)


async def test_a_long_url_is_refused(chat: Chat) -> None:
    assert (await send(chat, CREATE, path="/chatkit?" + "x" * MAX_URL_CHARS)).status_code == 413


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 150, 5000])
def test_json_may_be_nested_up_to_the_limit(depth: int) -> None:
    body = b"[" * depth + b"]" * depth
    if depth <= MAX_DEPTH:
        check_json(body)
    else:
        with pytest.raises(RequestError):
            check_json(body)


@pytest.mark.parametrize("values", [MAX_VALUES, MAX_VALUES + 1])
def test_json_may_have_values_up_to_the_limit(values: int) -> None:
    body = json.dumps({"a": [1] * (values - 3), "b": {}}).encode()
    if values <= MAX_VALUES:
        check_json(body)
    else:
        with pytest.raises(RequestError):
            check_json(body)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "0x1", "1_000", "+1"]
)
async def test_numbers_that_other_parsers_cannot_read_are_refused(chat: Chat, store: MemoryStore, number: str) -> None:
    body = '{"type":"threads.add_client_tool_output","params":{"thread_id":"t","result":[%s]}}' % number  # noqa: UP031 - braces
    assert (await send(chat, body.encode())).status_code == 422
    assert is_empty(store)


IDS = [
    "",
    "x" * MAX_ID_BYTES,
    "x" * (MAX_ID_BYTES + 1),
    "x" * 4000,
    "é" * 400,
    "a\0b",
    "../../etc",
    "#",
    "\u202e",
]


@pytest.mark.parametrize("name", IDS, ids=lambda name: repr(name[:12]))
async def test_an_id_that_cannot_be_stored_looks_missing(chat: Chat, name: str) -> None:
    missing = await chat("threads.get_by_id", thread_id="thr_unknown")
    assert (await chat("threads.get_by_id", thread_id=name)).body == missing.body
    assert (await chat("threads.delete", thread_id=name)).status == 200
    assert (await chat("items.feedback", thread_id=name, item_ids=[name], kind="positive")).status == 404


async def test_a_page_is_never_larger_than_the_store_allows(chat: Chat) -> None:
    for limit in (-5, 0, 10**9, 10**40):
        assert (await chat("threads.list", limit=limit)).status == 200


@pytest.mark.parametrize("title", ["", " ", "x" * 201])
async def test_a_title_of_invalid_length_is_refused(chat: Chat, title: str) -> None:
    created = await chat("threads.create", input=message("hello"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    assert (await chat("threads.update", thread_id=thread_id, title=title)).status == 422


async def test_lists_in_a_request_have_a_maximum_length(chat: Chat) -> None:
    many = await chat("threads.create", input=message("hi", attachments=[f"atc_{n}" for n in range(100)]))
    assert many.status == 422
    created = await chat("threads.create", input=message("hello"))
    thread_id = created.of("thread.created")[0]["thread"]["id"]
    ids = [f"msg_{n}" for n in range(101)]
    assert (await chat("items.feedback", thread_id=thread_id, item_ids=ids, kind="positive")).status == 422


async def test_the_request_id_is_only_in_the_header(chat: Chat) -> None:
    first, second = [await chat("threads.get_by_id", thread_id=thread_id) for thread_id in ("a", "b")]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.body == second.body
    assert first.headers["x-request-id"].encode() not in first.body
