"""The hourly sweep finishes a delete that was interrupted by kill -9, in real processes."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from chatkit.types import HiddenContextItem, ThreadMetadata

from lambda_src.context import RequestContext, User
from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from lambda_src.store.dynamodb import DynamoDBStore
from tests.apps.chat import SLOW_INIT_S
from tests.e2e.conftest import ROOT, SETTINGS

ANN = RequestContext(user=User(id="ann"), request_id="r")
ITEMS = 200  # more than one batch of deletes, so that a kill leaves some behind


async def test_the_hourly_sweep_finishes_an_interrupted_delete(tmp_path: Path) -> None:
    async with local_aws(tmp_path) as aws:
        dynamodb = aws.client("dynamodb")
        store = DynamoDBStore(dynamodb, TABLE)
        await store.save_thread(ThreadMetadata(id="thr_1", created_at=datetime.now(UTC)), ANN)
        for number in range(ITEMS):
            item = HiddenContextItem(id=f"m{number}", thread_id="thr_1", created_at=datetime.now(UTC), content=number)
            await store.add_thread_item("thr_1", item, ANN)

        env = {**SETTINGS, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
        async with Emulator(
            "tests.e2e.chat_handler.handler", env=env, task_root=ROOT, switches=Switches(init_timeout_s=SLOW_INIT_S)
        ) as emulator:
            await delete("thr_1", emulator)
            for pid in emulator.pids:
                os.kill(pid, signal.SIGKILL)
            while emulator.pids:  # noqa: ASYNC110 - an invocation would be lost with a dying process
                await asyncio.sleep(0)
            collected = await emulator.invoke({"chat": "sweep"})
            swept = json.loads(b"".join(collected.chunks))
            health = await emulator.invoke({"chat": "health"})
            assert json.loads(b"".join(health.chunks))["status"] == "healthy"
        assert set(swept) == {"swept", "orphans", "moved"}
        assert not [row for row in await rows(dynamodb) if row["sk"]["S"].startswith("ITEM#")]


async def delete(thread_id: str, emulator: Emulator) -> None:
    """Delete a thread, and wait only for the response."""
    body = {"type": "threads.delete", "params": {"thread_id": thread_id}}
    async with httpx2.AsyncClient(base_url=emulator.url, timeout=60, trust_env=False) as http:
        response = await http.post("/chatkit", json=body, headers={"authorization": "Bearer ann"})
    assert response.json() == {}


async def rows(dynamodb: Any) -> list[dict[str, Any]]:
    """All rows in the table."""
    items: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page = await asyncio.to_thread(dynamodb.scan, TableName=TABLE, **start)
        items += page["Items"]
        if "LastEvaluatedKey" not in page:
            return items
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
