"""Store requests answered without loading the chat server: byte for byte equal to ChatKit's answers."""

import asyncio
import gc
import json
from functools import partial
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import NonStreamingReq

from lambda_src.chat.lazy_server import LazyChatServer, without_collector
from lambda_src.chat.server import ChatServer
from lambda_src.chat.store_requests import StoreRequests
from lambda_src.chat.validation import Checks
from lambda_src.dev.store_contract.samples import ITEM_FIELDS, context_of, item_of, thread_of
from lambda_src.http import request_parsing
from lambda_src.startup import flags
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import server_with

ANN = context_of("ann")
REQUESTS: list[dict[str, Any]] = [
    {"type": "threads.list", "params": {}},
    {"type": "threads.list", "params": {"limit": 1, "order": "asc"}},
    {"type": "threads.list", "params": {"limit": 1, "order": "desc", "after": "thr_2"}},
    {"type": "threads.get_by_id", "params": {"thread_id": "thr_1"}},
    {"type": "threads.get_by_id", "params": {"thread_id": "thr_2"}},
    {"type": "items.list", "params": {"thread_id": "thr_1"}},
    {"type": "items.list", "params": {"thread_id": "thr_1", "limit": 3, "order": "asc"}},
    {"type": "items.list", "params": {"thread_id": "nobody's"}},
    {"type": "threads.update", "params": {"thread_id": "thr_1", "title": "New ☂"}},
    {"type": "items.feedback", "params": {"thread_id": "thr_1", "item_ids": ["item_0"], "kind": "positive"}},
    {"type": "threads.delete", "params": {"thread_id": "thr_1"}},
    {"type": "threads.delete", "params": {"thread_id": "nobody's"}},
]
MISSING = [
    {"type": "threads.get_by_id", "params": {"thread_id": "nobody's"}},
    {"type": "threads.list", "params": {"after": "nobody's"}},
    {"type": "threads.update", "params": {"thread_id": "nobody's", "title": "New"}},
    {"type": "items.feedback", "params": {"thread_id": "nobody's", "item_ids": [], "kind": "negative"}},
]


async def filled() -> MemoryStore:
    """Return a store with three threads of ann's; the first has an item of every kind, including hidden ones."""
    store = MemoryStore(clock=iter(range(10**18, 10**19)).__next__)
    for number in (1, 2, 3):
        await store.save_thread(thread_of(f"thr_{number}", title=f"No. {number}"), ANN)
    for number, kind in enumerate(ITEM_FIELDS):
        await store.add_thread_item("thr_1", item_of(kind, f"item_{number}", thread_id="thr_1"), ANN)
    return store


def request_of(body: dict[str, Any]) -> NonStreamingReq:
    request: NonStreamingReq = request_parsing.parse(json.dumps(body).encode())  # type: ignore[assignment]  # none of them streams
    return request


@pytest.mark.parametrize("body", REQUESTS, ids=lambda body: f"{body['type']} {body['params']}")
async def test_an_answer_equals_chatkits(body: dict[str, Any]) -> None:
    store, copy = await filled(), await filled()
    ours = await StoreRequests(store, store).answer(request_of(body), ANN)
    upstream: Any = await server_with(copy).process(json.dumps(body), ANN)
    assert ours == upstream.json
    assert [row async for row in store.export_user(ANN)] == [row async for row in copy.export_user(ANN)]


@pytest.mark.parametrize("body", MISSING, ids=lambda body: body["type"])
async def test_what_is_missing_for_chatkit_is_missing(body: dict[str, Any]) -> None:
    store = await filled()
    for answering in (
        StoreRequests(store, store).answer(request_of(body), ANN),
        server_with(store).process(json.dumps(body), ANN),
    ):
        with pytest.raises(NotFoundError):
            await answering


@pytest.mark.parametrize(
    "body",
    [
        {"type": "input.transcribe", "params": {"audio_base64": "", "mime_type": "audio/webm"}},
        {"type": "threads.sync_custom_action", "params": {"thread_id": "t", "action": {"type": "a", "payload": 1}}},
        {"type": "attachments.delete", "params": {"attachment_id": "a"}},
    ],
    ids=lambda body: body["type"],
)
async def test_requests_that_need_more_than_the_store_are_left_to_the_server(body: dict[str, Any]) -> None:
    store = await filled()
    assert await StoreRequests(store, store).answer(request_of(body), ANN) is None


class Loads:
    """Counts how often the server is loaded; the first `failing` attempts fail."""

    def __init__(self, store: MemoryStore, *, failing: int = 0) -> None:
        self.count, self.failing = 0, failing
        self._store = store
        self.server = LazyChatServer(
            partial(without_collector, self),
            self.prepare,
            checks=Checks(store),
            store_requests=StoreRequests(store, store),
        )

    async def prepare(self) -> None:
        """Build nothing: there is no agent."""

    def __call__(self) -> ChatServer:
        self.count += 1
        if self.count <= self.failing:
            raise ImportError("no module named toolbox")
        return server_with(self._store)


@pytest.mark.skipif(not flags.is_on("requests"), reason="without the optimization the server answers everything")
async def test_listing_threads_does_not_load_the_server() -> None:
    loads = Loads(await filled())
    await loads.server.answer(request_of(REQUESTS[0]), ANN)
    assert loads.count == 0


async def test_concurrent_first_messages_load_the_server_once() -> None:
    loads = Loads(await filled())
    await asyncio.gather(*(loads.server.loaded() for _ in range(5)))
    assert loads.count == 1


async def test_a_failed_load_is_retried() -> None:
    loads = Loads(await filled(), failing=1)
    with pytest.raises(ImportError):
        await loads.server.loaded()
    assert isinstance(await loads.server.loaded(), ChatServer)


async def test_garbage_collection_is_enabled_again_after_loading() -> None:
    await Loads(await filled(), failing=0).server.loaded()
    assert gc.isenabled()
