"""Whatever is sent: no 5xx, nothing that takes a second, every refusal in one shape, and nothing stored by one.

CHAT_FUZZ says how many bodies (`make fuzz` sends 20,000).
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
CPU_COUNTS = time.process_time  # other processes on this machine are not the app's fault


async def furnished() -> MemoryStore:
    """A store in which the fuzzer's ids name something."""
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


async def kept(store: MemoryStore) -> list[str]:
    """All that ann has."""
    return [str(record) async for record in store.export_user(context_of("ann"))]


async def send(body: bytes) -> tuple[Answer, float, bool]:
    """The answer, the seconds of CPU that it took, and whether anything was changed."""
    store = await furnished()
    chat = Chat(app_with(server_with(store)))
    before = await kept(store)
    gc.disable()  # thousands of examples are a heap that no function has: one collection of it can take a second
    try:
        began_s = CPU_COUNTS()
        answer = await chat.post(body)
        took_s = CPU_COUNTS() - began_s
    finally:
        gc.enable()
    return answer, took_s, await kept(store) != before


# What a run of 20,000 found, and what would not be found again in 300.
FOUND = [
    {"type": f"threads.{kind}", "params": {"thread_id": "thr_ann", "item_id": item, "action": {"payload": 1}}}
    for kind in ("custom_action", "sync_custom_action")
    for item in (None, "widget_ann")
]


@pytest.mark.parametrize("body", FOUND, ids=lambda body: body["type"])
async def test_what_was_a_fault_of_ours_is_none_any_more(body: dict[str, object]) -> None:
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
def test_no_body_is_a_fault_of_ours(body: bytes) -> None:
    answer, took_s, changed = asyncio.run(send(body))
    assert answer.status == 200 or answer.status in REFUSED, (answer.status, body)
    assert took_s < SLOW_S
    if answer.status != 200:
        assert set(answer.json) == {"error", "message"}
        assert not changed
    elif answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.events
    assert len(answer.body) < 100 * MAX_BODY_BYTES
