"""The function behind the emulator as one user meets it: turns under way, cut where a test or a benchmark says so."""

import asyncio
import json
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

DELTAS = 8  # read before something happens to the turn
AGAIN = (429, 502, 503)  # what a client tries again after


@asynccontextmanager
async def emulated(
    aws: LocalAws, model_url: str, *, output: TextIO | None = None, **switches: Any
) -> AsyncIterator["EmulatedFunction"]:
    """The function, answered by the model at `model_url`; its log goes to `output`, or ours."""
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
            base_url=emulator.url, headers={"authorization": "Bearer ann"}, timeout=60, trust_env=False
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

    async def items_once_answered(self, thread_id: str, text: str) -> list[dict[str, Any]]:
        """What the thread shows when the user has written again and the answer begins, which is stopped then.

        A sandbox found dead answers 502, and the client asks again, as ChatKit's does.
        """
        body = {"type": "threads.add_user_message", "params": {"thread_id": thread_id, "input": message(text)}}
        while True:
            async with self.http.stream("POST", "/chatkit", json=body) as answer:
                if answer.status_code == 200:
                    await anext(answer.aiter_raw())
                    items = await self.items(thread_id)
                    await self.http.post("/chatkit/stop", json={"thread_id": thread_id})
                    return items
                if answer.status_code not in AGAIN:
                    raise RuntimeError(f"status {answer.status_code}: {(await answer.aread())[:200]!r}")


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
    return [json.loads(message.data) for message in sse.read(body)]


def said(events: list[dict[str, Any]]) -> str:
    """What the deltas add up to."""
    return "".join(event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated")


async def journaled(aws: LocalAws) -> None:
    """Return when what has been read so far is journaled: two batches later than now."""
    client = aws.client("dynamodb")

    async def batches() -> int:
        rows = await asyncio.to_thread(client.scan, TableName=TABLE)
        return sum(row["sk"]["S"].startswith("EVENTS#") for row in rows["Items"])

    wanted = await batches() + 2
    while await batches() < wanted:  # noqa: ASYNC110 - another process writes them: there is no event to wait for
        await asyncio.sleep(RENEW_S / 10)
