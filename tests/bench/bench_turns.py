"""Stop, kill -9, the deadline and the cost of a turn's bookkeeping, through real processes and a model on a socket.

    .venv/bin/python -m tests.bench.bench_turns [--quick]

writes its section of docs/benchmarks.md. The function runs in the emulator on MiniStack, several processes of it; the
model says a word every 20 ms and never ends by itself.
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
from tests.e2e.one_user import EmulatedFunction, emulated, said, whole_events
from tests.fakes.model_api import ModelApi, model_api

BEGIN, END = "<!-- bench-turns: begin -->", "<!-- bench-turns: end -->"
SEED = 5  # where the kills fall; the same in every run
KILL_WITHIN_S = 3.0  # of the first words: before, in and after several batches
DELTAS = 2_000  # of the answer whose CPU is measured: some 16 KB
TIMEOUTS_S = range(1, 11)  # Lambda's
AT_ONCE = 5  # answers cut by each
Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Killed:
    """What a kill -9 cost: seconds and bytes of the answer that the client had seen, and user messages."""

    lost_s: float
    lost_bytes: int
    lost_messages: int


async def stopped(function: EmulatedFunction, api: ModelApi) -> tuple[float, bool]:
    """Seconds from POST /chatkit/stop to the model's socket closed, and whether all that was shown is kept."""
    async with function.turn(
        f"go on for ever, {uuid.uuid4().hex}"
    ) as stream:  # or it would be the last one's duplicate
        began_s = time.perf_counter()
        rest = asyncio.create_task(stream.rest())
        await function.http.post("/chatkit/stop", json={"turn_id": stream.turn_id})
        await api.until_closed()
        took_s = time.perf_counter() - began_s
        shown = said(await rest)
        kept = (await function.items(stream.thread_id))[-1]
        return took_s, kept["type"] == "assistant_message" and kept["content"][0]["text"] == shown


async def killed(function: EmulatedFunction, after_s: float) -> Killed:
    """A turn whose process is killed so long after its first words; then the user writes again."""
    first, second = uuid.uuid4().hex, uuid.uuid4().hex  # or they would be the last ones' duplicates
    async with function.turn(first) as stream:
        arrivals: list[tuple[float, int]] = []  # when how much of the answer had arrived

        async def read() -> None:
            async for chunk in stream.chunks:
                stream.body += chunk
                arrivals.append((time.perf_counter(), len(said(whole_events(stream.body)))))

        reading = asyncio.create_task(read())
        await asyncio.sleep(after_s)
        died_s = time.perf_counter()
        for pid in function.emulator.pids:
            os.kill(pid, signal.SIGKILL)
        with suppress(httpx2.HTTPError):
            await reading
    items = await function.items_once_answered(stream.thread_id, second)
    users = [item["content"][0]["text"] for item in items if item["type"] == "user_message"]
    kept = next((item["content"][0]["text"] for item in items if item["type"] == "assistant_message"), "")
    shown = said(whole_events(stream.body))
    lost_since_s = next((at_s for at_s, length in arrivals if length > len(kept)), died_s)
    return Killed(max(0.0, died_s - lost_since_s), max(0, len(shown) - len(kept)), len({first, second} - set(users)))


async def cut_well(function: EmulatedFunction) -> bool:
    """If an answer that Lambda's time-out cuts ends as valid events, with a notice, and is kept as it was shown."""
    body = {"type": "threads.create", "params": {"input": message(f"go on for ever, {uuid.uuid4().hex}")}}
    try:
        answer = await function.http.post("/chatkit", json=body)
    except httpx2.HTTPError:  # cut in the middle
        return False
    if answer.status_code != 200 or not answer.content.endswith(b"\n\n"):
        return False
    events = whole_events(answer.content)
    items = await function.items(events[0]["thread"]["id"])
    kept = [item["content"][0]["text"] for item in items if item["type"] == "assistant_message"]
    return events[-1]["type"] == "notice" and kept == ([said(events)] if said(events) else [])


async def deadlines(aws: LocalAws, model_url: str, *, output: io.StringIO) -> tuple[int, int]:
    """How many answers were cut well, of AT_ONCE at each time-out; each after a first one that loads everything."""
    well = []
    for timeout_s in TIMEOUTS_S:
        switches = {"timeout_s": float(timeout_s), "managed": AT_ONCE}
        async with emulated(aws, model_url, output=output, **switches) as function:
            await cut_well(function)
            well += await asyncio.gather(*(cut_well(function) for _ in range(AT_ONCE)))
    return sum(well), len(well)


class LongAnswer(DemoModel):
    """Says DELTAS words at once."""

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        """The whole answer, event by event."""
        for number, event in enumerate(model_events(message_of("of words " * (DELTAS // 2)))):
            event.sequence_number = number
            yield event


async def cpu_us_a_delta(*, in_turns: bool) -> float:
    """Microseconds of this process's CPU for each delta of one answer, with or without what turns/ does around it."""
    store = MemoryStore()
    server = server_with(store, model=LongAnswer())
    services = TurnServices(store.ledger, AnswerStore(store))
    context = RequestContext(user=User("ann"), request_id="r", turn=Turn(id=f"turn-bench-{time.perf_counter_ns()}"))
    body = b'{"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": "hi"}], '
    body += b'"attachments": [], "inference_options": {}}}}'

    async def check() -> None:
        """Nothing to refuse."""

    async def begin() -> Any:
        return await server.events(ThreadsCreateReq.model_validate_json(body), context)

    began_s = time.process_time()
    deltas = 0
    if in_turns:
        asked = TurnRequest("threads.create", thread_id=None, body=body, named=None)
        events: Any = await Turns(services).open(asked, check, begin, context=context)
    else:
        events = await begin()
    async for event in events:
        deltas += b"text_delta" in event
    if in_turns:
        await events.stop()
    return (time.process_time() - began_s) / deltas * 1e6


async def cpu(rounds: int) -> tuple[float, float]:
    """The medians with and without, measured in turn, so that a noisy neighbour hits both."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for in_turns in (True, False):
            us = await cpu_us_a_delta(in_turns=in_turns)
            if number:  # the first one warms caches
                taken[in_turns].append(us)
    return statistics.median(taken[True]), statistics.median(taken[False])


async def measured(*, stops: int, kills: int, rounds: int) -> list[Row]:
    """Every row of the table. What the function logs is thrown away."""
    random_s = random.Random(SEED)
    with_turns, without = await cpu(rounds)
    with tempfile.TemporaryDirectory() as folder:
        async with local_aws(Path(folder)) as aws, model_api() as api:
            output = io.StringIO()
            async with emulated(aws, f"{api.url}/endless", output=output) as function:
                await stopped(function, api)  # the second process starts
                ends = [await stopped(function, api) for _ in range(stops)]
            async with emulated(aws, f"{api.url}/endless", output=output) as function:
                crashes = [await killed(function, random_s.uniform(0, KILL_WITHIN_S)) for _ in range(kills)]
            well, cut = await deadlines(aws, f"{api.url}/endless", output=output)
    times_s = sorted(took_s for took_s, _ in ends)
    kept = sum(whole for _, whole in ends)
    lost_s = sorted(crash.lost_s for crash in crashes)
    return [
        ("Stop from another process to the model's socket closed, p50", f"{statistics.median(times_s):.2f} s", "-"),
        ("... p95", f"{percentile(times_s, 95):.2f} s", "1.5 s"),
        ("... partial answers kept whole", f"{kept} of {stops}", "all"),
        (f"kill -9 at {kills} random points: user messages lost", str(sum(c.lost_messages for c in crashes)), "0"),
        ("... of the answer lost, p50", f"{statistics.median(lost_s):.2f} s", "-"),
        ("... at most", f"{lost_s[-1]:.2f} s, {max(crash.lost_bytes for crash in crashes)} bytes", "2 s or 2 KB"),
        (f"Time-outs of 1 to 10 s, {cut} answers: valid to a last notice and kept as shown", f"{well} of {cut}", "all"),
        (
            "CPU a delta: with lease, guard and journal to without",
            f"{with_turns / without:.2f}x ({with_turns:.0f} / {without:.0f} us)",
            "1.05x",
        ),
    ]


def percentile(ordered: list[float], percent: int) -> float:
    """The nearest rank."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def report(rows: list[Row], command: str) -> str:
    """The section of docs/benchmarks.md."""
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}"
    lines = [BEGIN, "## Turns", "", f"`{command}` on {machine}. Emulator and MiniStack on the same cores.", ""]
    lines += ["| | measured | aimed at |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {limit} |" for what, figure, limit in rows]
    return "\n".join([*lines, END]) + "\n"


def main() -> None:
    """Measure, print, write."""
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
