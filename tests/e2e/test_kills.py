"""Crash safety: kill -9 at twenty random points loses no message, and at most the last second of an answer.

The points are seeded and follow an answer's first words: before, during or after its journal batches. Each kill hits
five answers that run in one process, as on Managed Instances.
"""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack, suppress
from itertools import accumulate
from pathlib import Path

import httpx2

from lambda_src.dev.local_aws import local_aws
from tests.e2e.one_user import EmulatedFunction, Stream, emulated, streamed_text, whole_events
from tests.fakes.model_api import model_api

SEED = 5
KILLS, AT_ONCE = 4, 5
WITHIN_S = 4.0  # after an answer's first words
MAX_LOST_WORDS = 100  # what the model writes in 2 s: the second not yet journaled, and latency


async def test_kill_9_at_twenty_random_points_loses_no_message_and_at_most_a_second_of_an_answer(
    tmp_path: Path,
) -> None:
    points = random.Random(SEED)
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless", managed=2 * AT_ONCE) as function,
    ):
        for kill in range(KILLS):
            names = [f"first {kill}.{number}" for number in range(AT_ONCE)]
            gaps_s = [points.uniform(0, WITHIN_S / AT_ONCE) for _ in names]
            streams = await streams_until_kill(function, dict(zip(names, gaps_s, strict=True)))
            await asyncio.gather(*(assert_survived(function, *each) for each in zip(streams, names, strict=True)))


async def streams_until_kill(function: EmulatedFunction, gaps_s: dict[str, float]) -> list[Stream]:
    """Start the turns with these gaps after each, kill the processes, and return what the clients received."""
    async with AsyncExitStack() as turns:
        streams, reading = [], []
        for name, gap_s in gaps_s.items():
            streams.append(await turns.enter_async_context(function.turn(name)))
            reading.append(asyncio.create_task(streams[-1].rest()))
            await asyncio.sleep(gap_s)  # not a race, because any moment will do
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        ends = await asyncio.gather(*reading, return_exceptions=True)
        with suppress(httpx2.HTTPError):
            await turns.aclose()
    assert all(isinstance(end, httpx2.HTTPError) for end in ends), ends
    return streams


async def assert_survived(function: EmulatedFunction, stream: Stream, first: str) -> None:
    """When the user writes again, both messages are there once, and the answer lacks at most its last second."""
    items = await function.items_once_answered(stream.thread_id, f"after {first}")
    users = [item["content"][0]["text"] for item in items if item["type"] == "user_message"]
    assert users == [first, f"after {first}"]
    stored = next((item["content"][0]["text"] for item in items if item["type"] == "assistant_message"), "")
    events = whole_events(stream.body)
    streamed = streamed_text(events)
    assert stored.startswith(streamed) or streamed.startswith(stored)
    words = [event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated"]
    lengths = accumulate(map(len, words))
    assert sum(length > len(stored) for length in lengths) <= MAX_LOST_WORDS
