"""Benchmark of Stop, kill -9, deadlines and the overhead of turns, with real processes and a fake model on a socket.

    .venv/bin/python -m tests.bench.bench_turns [--quick]

writes its section of docs/reference/benchmarks.md. The function runs in several processes of the emulator with
MiniStack. The model sends a word every 20 ms and never stops by itself.
"""

import argparse
import asyncio
import io
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from agents.items import TResponseStreamEvent
from chatkit.types import ThreadsCreateReq

from lambda_src.context import RequestContext, Turn, User
from lambda_src.dev.local_aws import LocalAws, local_aws
from lambda_src.models.demo_model import DemoModel, message_of
from lambda_src.models.demo_model import events_of as model_events
from lambda_src.store.memory.store import MemoryStore
from lambda_src.turns.duplicates import TurnRequest
from lambda_src.turns.lifecycle import Turns
from lambda_src.turns.persistence import AnswerStore
from lambda_src.turns.turn_task import TurnServices
from tests.apps.chat import message, server_with
from tests.bench.report import write as write_section
from tests.e2e.one_user import EmulatedFunction, emulated, streamed_text, whole_events
from tests.fakes.model_api import ModelApi, model_api

BEGIN, END = "<!-- bench-turns: begin -->", "<!-- bench-turns: end -->"
SEED = 5  # of the times of the kills, the same in every run
KILL_WITHIN_S = 3.0  # after the first words: before, during and after several batches
DELTAS = 2_000  # of the answer whose CPU time is measured: about 16 KB
TIMEOUTS_S = range(1, 11)  # function timeouts
AT_ONCE = 5  # answers per timeout
Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Crash:
    """The losses of a kill -9: seconds and bytes of the answer that the client had received, and user messages."""

    lost_s: float
    lost_bytes: int
    lost_messages: int


async def stopped(function: EmulatedFunction, api: ModelApi) -> tuple[float, bool]:
    """Seconds from POST /chatkit/stop until the model's socket is closed, and whether the partial answer is stored."""
    # The text is unique, or the turn would be a duplicate of the previous one.
    async with function.turn(f"go on forever, {uuid.uuid4().hex}") as stream:
        began_s = time.perf_counter()
        rest = asyncio.create_task(stream.rest())
        await function.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        await api.until_closed()
        took_s = time.perf_counter() - began_s
        streamed = streamed_text(await rest)
        item = (await function.items(stream.thread_id))[-1]
        return took_s, item["type"] == "assistant_message" and item["content"][0]["text"] == streamed


async def killed(function: EmulatedFunction, after_s: float) -> Crash:
    """Kill the process of a turn `after_s` seconds after its first words; then send another message."""
    first, second = uuid.uuid4().hex, uuid.uuid4().hex  # unique, or they would be duplicates
    async with function.turn(first) as stream:
        arrivals: list[tuple[float, int]] = []  # time, and length of the answer that had arrived

        async def read() -> None:
            async for chunk in stream.chunks:
                stream.body += chunk
                arrivals.append((time.perf_counter(), len(streamed_text(whole_events(stream.body)))))

        reading = asyncio.create_task(read())
        await asyncio.sleep(after_s)
        died_s = time.perf_counter()
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        with suppress(httpx2.HTTPError):
            await reading
    items = await function.items_once_answered(stream.thread_id, second)
    users = [item["content"][0]["text"] for item in items if item["type"] == "user_message"]
    stored = next((item["content"][0]["text"] for item in items if item["type"] == "assistant_message"), "")
    streamed = streamed_text(whole_events(stream.body))
    lost_since_s = next((at_s for at_s, length in arrivals if length > len(stored)), died_s)
    lost_bytes = max(0, len(streamed) - len(stored))
    return Crash(max(0.0, died_s - lost_since_s), lost_bytes, len({first, second} - set(users)))


async def ends_cleanly(function: EmulatedFunction) -> bool:
    """Whether an answer cut by Lambda's timeout ends with a notice and is stored as it was streamed."""
    body = {"type": "threads.create", "params": {"input": message(f"go on forever, {uuid.uuid4().hex}")}}
    try:
        response = await function.http.post("/chatkit", json=body)
    except httpx2.HTTPError:  # cut in the middle
        return False
    if response.status_code != 200 or not response.content.endswith(b"\n\n"):
        return False
    events = whole_events(response.content)
    items = await function.items(events[0]["thread"]["id"])
    stored = [item["content"][0]["text"] for item in items if item["type"] == "assistant_message"]
    return events[-1]["type"] == "notice" and stored == ([streamed_text(events)] if streamed_text(events) else [])


async def deadlines(aws: LocalAws, model_url: str, *, output: io.StringIO) -> tuple[int, int]:
    """How many of AT_ONCE answers end cleanly at each timeout, and of how many. A first answer warms each function."""
    clean = []
    for timeout_s in TIMEOUTS_S:
        switches = {"timeout_s": float(timeout_s), "managed": AT_ONCE}
        async with emulated(aws, model_url, output=output, **switches) as function:
            await ends_cleanly(function)
            clean += await asyncio.gather(*(ends_cleanly(function) for _ in range(AT_ONCE)))
    return sum(clean), len(clean)


class LongAnswer(DemoModel):
    """A model that sends DELTAS words without a pause."""

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        """The events of the whole answer."""
        for number, event in enumerate(model_events(message_of("of words " * (DELTAS // 2)))):
            event.sequence_number = number
            yield event


async def cpu_us_a_delta(*, in_turns: bool) -> float:
    """CPU microseconds of this process per delta of an answer, with or without the work of turns/."""
    store = MemoryStore()
    server = server_with(store, model=LongAnswer())
    services = TurnServices(store.ledger, AnswerStore(store))
    context = RequestContext(user=User("ann"), request_id="r", turn=Turn(id=f"turn-bench-{time.perf_counter_ns()}"))
    body = b'{"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": "hi"}], '
    body += b'"attachments": [], "inference_options": {}}}}'

    async def check() -> None:
        """Refuse nothing."""

    async def begin() -> Any:
        return await server.events(ThreadsCreateReq.model_validate_json(body), context)

    began_s = time.process_time()
    deltas = 0
    if in_turns:
        turn_request = TurnRequest("threads.create", thread_id=None, body=body, named=None)
        events: Any = await Turns(services).open(turn_request, check, begin, context=context)
    else:
        events = await begin()
    async for event in events:
        deltas += b"text_delta" in event
    if in_turns:
        await events.stop()
    return (time.process_time() - began_s) / deltas * 1e6


async def cpu(rounds: int) -> tuple[float, float]:
    """The medians with and without turns/, measured alternately, so that noise on the machine affects both."""
    times_us: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for in_turns in (True, False):
            us = await cpu_us_a_delta(in_turns=in_turns)
            if number:  # the first round warms caches
                times_us[in_turns].append(us)
    return statistics.median(times_us[True]), statistics.median(times_us[False])


async def measured(*, stops: int, kills: int, rounds: int) -> list[Row]:
    """All rows of the table. The function's log is discarded."""
    random_s = random.Random(SEED)
    with_turns, without = await cpu(rounds)
    with tempfile.TemporaryDirectory() as folder:
        async with local_aws(Path(folder)) as aws, model_api() as api:
            output = io.StringIO()
            async with emulated(aws, f"{api.url}/endless", output=output) as function:
                await stopped(function, api)  # starts the second process
                ends = [await stopped(function, api) for _ in range(stops)]
            async with emulated(aws, f"{api.url}/endless", output=output) as function:
                crashes = [await killed(function, random_s.uniform(0, KILL_WITHIN_S)) for _ in range(kills)]
            clean, cut = await deadlines(aws, f"{api.url}/endless", output=output)
    times_s = sorted(took_s for took_s, _ in ends)
    complete = sum(is_complete for _, is_complete in ends)
    lost_s = sorted(crash.lost_s for crash in crashes)
    return [
        ("Stop from another process to the model's socket closed, p50", f"{statistics.median(times_s):.2f} s", "-"),
        ("... p95", f"{percentile(times_s, 95):.2f} s", "1.5 s"),
        ("... partial answers kept whole", f"{complete} of {stops}", "all"),
        (f"kill -9 at {kills} random points: user messages lost", str(sum(c.lost_messages for c in crashes)), "0"),
        ("... of the answer lost, p50", f"{statistics.median(lost_s):.2f} s", "-"),
        ("... at most", f"{lost_s[-1]:.2f} s, {max(crash.lost_bytes for crash in crashes)} bytes", "2 s or 2 KB"),
        (
            f"Time-outs of 1 to 10 s, {cut} answers: valid to a last notice and kept as shown",
            f"{clean} of {cut}",
            "all",
        ),
        (
            "CPU a delta: with lease, idempotency key and journal to without",
            f"{with_turns / without:.2f}x ({with_turns:.0f} / {without:.0f} us)",
            "1.05x",
        ),
    ]


def percentile(ordered: list[float], percent: int) -> float:
    """A percentile by nearest rank."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def report(rows: list[Row], command: str) -> str:
    """The section of docs/reference/benchmarks.md."""
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"
    lines = [BEGIN, "## Turns", "", f"`{command}` on {machine}. The emulator and MiniStack share its cores.", ""]
    lines += ["| | measured | aimed at |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {limit} |" for what, figure, limit in rows]
    return "\n".join([*lines, END]) + "\n"


def main() -> None:
    """Measure, then print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, nothing written")
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20, help="each costs cold starts; 100 on a quiet machine")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    rows = asyncio.run(measured(stops=options.stops // share, kills=options.kills // share, rounds=50 // share))
    command = f".venv/bin/python -m tests.bench.bench_turns --stops {options.stops} --kills {options.kills}"
    section = report(rows, command)
    sys.stdout.write(section)
    if not options.quick:
        write_section("bench-turns", section)


if __name__ == "__main__":
    main()
