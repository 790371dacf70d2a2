"""Fuzzed request bodies: no 5xx, no answer over a second, refusals in one format that store nothing.

CHAT_FUZZ sets the number of bodies (`make fuzz` sends 20,000).
"""

import asyncio
import gc
import json
import os
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from lambda_src.dev.store_contract.samples import context_of, file_of, item_of, message_of, thread_of
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import MAX_BODY_BYTES, Answer, Chat, app_with, server_with
from tests.fuzz.bodies import bodies

CASES = int(os.environ.get("CHAT_FUZZ", "300"))
SLOW_S = 1.0
REFUSED = {400, 404, 409, 413, 422}
cpu_s = time.process_time  # unlike wall time, not affected by other processes


async def filled_store() -> MemoryStore:
    """Return a store in which the fuzzer's ids exist."""
    store, ann = MemoryStore(), context_of("ann")
    await store.save_thread(thread_of("thr_ann"), ann)
    await store.add_thread_item("thr_ann", message_of("msg_ann", thread_id="thr_ann"), ann)
    for kind, name, more in (
        ("widget", "widget_ann", {}),
        ("structured_input", "form_ann", {"status": "pending"}),
        ("client_tool_call", "call_ann", {"status": "pending", "output": None}),
    ):
        await store.add_thread_item("thr_ann", item_of(kind, name, thread_id="thr_ann", **more), ann)
    await store.save_attachment(file_of("atc_ann"), ann)
    return store


async def records(store: MemoryStore) -> list[str]:
    """Return everything of ann's."""
    return [str(record) async for record in store.export_user(context_of("ann"))]


async def send(body: bytes) -> tuple[Answer, float, bool]:
    """Send a body; return the answer, its CPU seconds, and whether anything stored changed."""
    store = await filled_store()
    chat = Chat(app_with(server_with(store)))
    before = await records(store)
    gc.disable()  # the heap of thousands of examples can take a second to collect, which a function never has
    try:
        began_s = cpu_s()
        answer = await chat.post(body)
        took_s = cpu_s() - began_s
    finally:
        gc.enable()
    return answer, took_s, await records(store) != before


# Bodies that a run of 20,000 once found to fail, which 300 would not find.
ONCE_FAILED = [
    {"type": f"threads.{kind}", "params": {"thread_id": "thr_ann", "item_id": item, "action": {"payload": 1}}}
    for kind in ("custom_action", "sync_custom_action")
    for item in (None, "widget_ann")
]


@pytest.mark.parametrize("body", ONCE_FAILED, ids=lambda body: body["type"])
async def test_a_body_that_once_failed_is_refused(body: dict[str, object]) -> None:
    answer, _, changed = await send(json.dumps(body).encode())
    assert answer.status in REFUSED
    assert not changed


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(bodies())
def test_no_body_causes_a_server_error(body: bytes) -> None:
    answer, took_s, changed = asyncio.run(send(body))
    assert answer.status == 200 or answer.status in REFUSED, (answer.status, body)
    assert took_s < SLOW_S
    if answer.status != 200:
        assert set(answer.json) == {"error", "message"}
        assert not changed
    elif answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.events
    assert len(answer.body) < 100 * MAX_BODY_BYTES
