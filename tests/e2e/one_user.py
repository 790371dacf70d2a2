"""The emulated function and a client of one user: starts turns and reads their streams until a test interrupts them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import httpx2

from lambda_src import sse
from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws
from lambda_src.turns.lease import RENEW_S
from tests.apps.chat import SLOW_INIT_S, message
from tests.e2e.conftest import ROOT, SETTINGS

DELTAS = 8  # how many are read before a test interrupts the turn
RETRIED = (429, 502, 503)  # statuses after which a client retries


@asynccontextmanager
async def emulated(
    aws: LocalAws, model_url: str, *, output: TextIO | None = None, **switches: Any
) -> AsyncIterator["EmulatedFunction"]:
    """The function with the model API at `model_url`, and a new user's client. The log goes to `output` or stdout."""
    env = {**SETTINGS, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET, "MODEL_URL": model_url}
    async with (
        Emulator(
            "tests.e2e.chat_handler.handler",
            env=env,
            task_root=ROOT,
            switches=Switches(**{"init_timeout_s": SLOW_INIT_S, **switches}),
            output=output,
        ) as emulator,
        httpx2.AsyncClient(
            base_url=emulator.url, headers={"authorization": f"Bearer {uuid.uuid4()}"}, timeout=60, trust_env=False
        ) as http,
    ):
        yield EmulatedFunction(emulator, http)


@dataclass(slots=True)
class EmulatedFunction:
    """The emulator and one user's client."""

    emulator: Emulator
    http: httpx2.AsyncClient

    @asynccontextmanager
    async def turn(self, text: str, **headers: str) -> AsyncIterator["Stream"]:
        """Start a thread and yield its turn, read up to the first DELTAS words of the answer."""
        body = {"type": "threads.create", "params": {"input": message(text)}}
        async with self.http.stream("POST", "/chatkit", json=body, headers=headers) as response:
            assert response.status_code == 200
            stream = Stream(response.headers["x-chat-turn"], response.aiter_raw())
            while stream.body.count(b"text_delta") < DELTAS:
                stream.body += await anext(stream.chunks)
            yield stream

    async def request(self, operation: str, **params: Any) -> httpx2.Response:
        """Send a ChatKit request."""
        return await self.http.post("/chatkit", json={"type": operation, "params": params})

    async def items(self, thread_id: str) -> list[dict[str, Any]]:
        """The items of the thread, oldest first."""
        response = await self.request("items.list", thread_id=thread_id, order="asc", limit=100)
        return list(response.json()["data"])

    async def items_once_answered(self, thread_id: str, text: str) -> list[dict[str, Any]]:
        """Send another message, and return the items of the thread once its answer has started. The answer is stopped.

        A dead sandbox is answered with 502, and the client retries, as ChatKit's client does.
        """
        body = {"type": "threads.add_user_message", "params": {"thread_id": thread_id, "input": message(text)}}
        while True:
            async with self.http.stream("POST", "/chatkit", json=body) as response:
                if response.status_code == 200:
                    await anext(response.aiter_raw())
                    items = await self.items(thread_id)
                    await self.http.post("/chatkit/stop", json={"thread_id": thread_id})
                    return items
                if response.status_code not in RETRIED:
                    raise RuntimeError(f"status {response.status_code}: {(await response.aread())[:200]!r}")


@dataclass(slots=True)
class Stream:
    """A streamed response in progress."""

    turn_id: str
    chunks: AsyncIterator[bytes]
    body: bytes = b""

    @property
    def thread_id(self) -> str:
        """The ID of the thread, from the first event."""
        return str(json.loads(self.body.split(b"\n", 1)[0][6:])["thread"]["id"])

    async def rest(self) -> list[dict[str, Any]]:
        """Read to the end of the stream and return all its events."""
        async for chunk in self.chunks:
            self.body += chunk
        return whole_events(self.body)


def whole_events(body: bytes) -> list[dict[str, Any]]:
    """The events that have arrived completely, without heartbeats and IDs."""
    return [json.loads(message.data) for message in sse.read(body)]


def streamed_text(events: list[dict[str, Any]]) -> str:
    """The text of all deltas."""
    return "".join(event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated")


async def journaled(aws: LocalAws) -> None:
    """Wait until everything read so far is in the journal, that is, for two more batches."""
    client = aws.client("dynamodb")

    async def batches() -> int:
        rows = await asyncio.to_thread(client.scan, TableName=TABLE)
        return sum(row["sk"]["S"].startswith("EVENTS#") for row in rows["Items"])

    wanted = await batches() + 2
    while await batches() < wanted:  # noqa: ASYNC110 - another process writes them, so there is no event to wait for
        await asyncio.sleep(RENEW_S / 10)
