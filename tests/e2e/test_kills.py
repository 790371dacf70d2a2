"""kill -9 at twenty random points of twenty answers: no message is lost, and of an answer at most its last second.

The points are seeded, from an answer's first words on: before its first batch, in it, behind several. Five answers run
in one process (as on Managed Instances) and are as many points of one kill.
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
from tests.e2e.one_user import EmulatedFunction, Stream, emulated, said, whole_events
from tests.fakes.model_api import model_api

SEED = 5
KILLS, AT_ONCE = 4, 5
WITHIN_S = 4.0  # of an answer's first words
LOST_MOST_WORDS = 100  # what the model says in 2 s: the second that was not journaled yet, and the way there


async def test_kill_9_at_twenty_random_points_loses_no_message_and_little_of_the_answers(tmp_path: Path) -> None:
    points = random.Random(SEED)
    async with (
        local_aws(tmp_path) as aws,
        model_api() as api,
        emulated(aws, f"{api.url}/endless", managed=2 * AT_ONCE) as function,
    ):
        for kill in range(KILLS):
            names = [f"first of {kill}.{number}" for number in range(AT_ONCE)]
            gaps_s = [points.uniform(0, WITHIN_S / AT_ONCE) for _ in names]
            streams = await killed(function, dict(zip(names, gaps_s, strict=True)))
            await asyncio.gather(*(survives(function, *each) for each in zip(streams, names, strict=True)))


async def killed(function: EmulatedFunction, gaps_s: dict[str, float]) -> list[Stream]:
    """What the clients have seen of answers that began one after another, so long before the next or the kill."""
    async with AsyncExitStack() as turns:
        streams, reading = [], []
        for name, gap_s in gaps_s.items():
            streams.append(await turns.enter_async_context(function.turn(name)))
            reading.append(asyncio.create_task(streams[-1].rest()))
            await asyncio.sleep(gap_s)  # no race: any moment will do
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        ends = await asyncio.gather(*reading, return_exceptions=True)
        with suppress(httpx2.HTTPError):
            await turns.aclose()
    assert all(isinstance(end, httpx2.HTTPError) for end in ends), ends
    return streams


async def survives(function: EmulatedFunction, stream: Stream, first: str) -> None:
    """The user writes again: both messages are there once, and what was shown of the answer but its last second."""
    items = await function.items_once_answered(stream.thread_id, f"after {first}")
    users = [item["content"][0]["text"] for item in items if item["type"] == "user_message"]
    assert users == [first, f"after {first}"]
    kept = next((item["content"][0]["text"] for item in items if item["type"] == "assistant_message"), "")
    events = whole_events(stream.body)
    shown = said(events)
    assert kept.startswith(shown) or shown.startswith(kept)
    words = [event["update"].get("delta", "") for event in events if event["type"] == "thread.item.updated"]
    there = accumulate(map(len, words))
    assert sum(length > len(kept) for length in there) <= LOST_MOST_WORDS
