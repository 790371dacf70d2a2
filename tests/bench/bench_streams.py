"""Benchmark of many streams in one process, as on Managed Instances: added latency, CPU and memory. Linux only.

    .venv/bin/python -m tests.bench.bench_streams [--quick] [--streams 1 10 50]

writes its section of docs/reference/benchmarks.md. The function runs in the emulator with one slot per stream. A model
in its own process sends the current time 50 times a second to each stream; the age of a word on arrival is the added
latency, including the emulator's. Model, function and emulator share the machine's cores.
"""

import argparse
import asyncio
import io
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, monotonic_ns

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.emulator.delivery import Collected
from lambda_src.dev.emulator.url.events import Request, event_2_0
from tests.apps.chat import message
from tests.bench import report
from tests.bench.paced_model import MARK as WORD_PREFIX
from tests.bench.processes import cpu_s, peak_mib
from tests.e2e.conftest import ROOT, SETTINGS

MARK = "bench-streams"
STREAMS = (1, 10, 50, 100, 150, 200)
TARGETS = (  # number of streams, field, label, upper bound, unit
    (50, "p99_ms", "added latency, p99", 50, " ms"),
    (100, "p99_ms", "added latency, p99", 30, " ms"),
    (100, "cores", "cores of the process", 0.7, ""),
    (150, "latest_ms", "the latest word", 1000, " ms"),
)
EVENTS_A_SECOND = 50
SECONDS = 10.0
WARM_S = 2.0  # after the first word; not counted, because streams are still starting
DELTA = re.compile(rb'"delta":"((?:' + WORD_PREFIX.encode() + rb'\d+ )+)"')  # several words, if a stream is behind


@dataclass(frozen=True, slots=True)
class Load:
    """The results for a number of streams: added latency, CPU of function and emulator, peak memory of the function."""

    streams: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    latest_ms: float
    word_us: float
    cores: float
    emulator_cores: float
    peak_mib: float


class AgeRecorder(Collected):
    """Records how old each word is when it arrives."""

    def __init__(self, ages: list[tuple[int, float]]) -> None:
        super().__init__()
        self._ages = ages

    async def write(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        words = [word for text in DELTA.findall(data) for word in text.split()]
        self._ages += [(now_ns, (now_ns - int(word.removeprefix(WORD_PREFIX.encode()))) / 1e6) for word in words]


@asynccontextmanager
async def paced_model() -> AsyncIterator[str]:
    """Run the paced model and yield its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.paced_model", str(EVENTS_A_SECOND), str(SECONDS), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


async def loaded(model_url: str, streams: int) -> Load:
    """Run a number of concurrent streams to their ends."""
    env = {**SETTINGS, "CHAT_STORE": "memory", "MODEL_URL": model_url}
    switches = Switches(managed=streams, timeout_s=120)
    ages: list[tuple[int, float]] = []
    output = io.StringIO()
    async with Emulator(
        "tests.e2e.chat_handler.handler", env=env, task_root=ROOT, switches=switches, output=output
    ) as emulator:
        health = event_2_0(Request("GET", "/chat/health", [("host", "b")], b""), request_id="b", now=datetime.now(UTC))
        await emulator.invoke(health)
        [pid] = emulator.pids

        async def stream(number: int) -> None:
            body = json.dumps({"type": "threads.create", "params": {"input": message(f"stream {number}")}}).encode()
            headers = [("host", "b"), ("content-type", "application/json"), ("authorization", f"Bearer user-{number}")]
            request = Request("POST", "/chatkit", headers, body)
            collected = await emulator.invoke(
                event_2_0(request, request_id=f"r-{number}", now=datetime.now(UTC)), AgeRecorder(ages)
            )
            if not isinstance(collected, AgeRecorder) or not collected.complete:
                raise RuntimeError(f"a stream failed: {collected} {output.getvalue()[-2000:]}")

        pids = (pid, os.getpid())
        began_cpu, began_s = [cpu_s(process) for process in pids], monotonic()
        await asyncio.gather(*(stream(number) for number in range(streams)))
        took_s = monotonic() - began_s
        cores, emulator_cores = ((cpu_s(process) - cpu) / took_s for process, cpu in zip(pids, began_cpu, strict=True))
        peak = peak_mib(pid)
    if len(ages) != (expected := streams * int(EVENTS_A_SECOND * SECONDS)):
        raise RuntimeError(f"{expected - len(ages)} of {expected} words were lost")
    first_ns = min(at for at, _ in ages)
    counted = sorted(age for at, age in ages if at - first_ns > WARM_S * 1e9)
    p50, p95, p99 = (counted[min(len(counted) - 1, len(counted) * share // 100)] for share in (50, 95, 99))
    word_us = cores * took_s / len(ages) * 1e6
    return Load(streams, p50, p95, p99, counted[-1], word_us, cores, emulator_cores, peak)


async def measured(streams: Sequence[int]) -> list[Load]:
    """The results for each number of streams, each in a fresh process."""
    async with paced_model() as url:
        return [await loaded(url, number) for number in streams]


def main() -> None:
    """Measure, then print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ten streams at most, nothing written")
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    options = parser.parse_args()
    loads = asyncio.run(measured((1, 10) if options.quick else options.streams))
    rows = [
        (
            str(load.streams),
            f"{load.p50_ms:.1f}",
            f"{load.p95_ms:.1f}",
            f"{load.p99_ms:.1f}",
            f"{load.latest_ms:.1f}",
            f"{load.word_us:.0f}",
            f"{load.cores:.2f}",
            f"{load.emulator_cores:.2f}",
            f"{load.peak_mib:.0f}",
        )
        for load in loads
    ]
    targets = [
        (f"{streams} streams: {name}", f"{getattr(load, what):.2f}{unit}", f"{most}{unit}")
        for streams, what, name, most, unit in TARGETS
        for load in loads
        if load.streams == streams
    ]
    intro = (
        f"`.venv/bin/python -m tests.bench.bench_streams` on {report.machine()}, {os.cpu_count()} cores. "
        f"The function, the emulator and the model are three processes that share them. Each stream gets "
        f"{EVENTS_A_SECOND} words a second for {SECONDS:.0f} s. If a word is lost, the run fails."
    )
    head = ("streams", "added ms, p50", "p95", "p99", "latest", "CPU us a word", "cores", "emulator's", "peak MiB")
    tables = [*report.table(head, rows), "", *report.table(("", "measured", "aimed at"), targets)]
    text = report.section(MARK, ["## Streams in one process", "", intro, "", *tables])
    sys.stdout.write(text)
    if not options.quick:
        report.write(MARK, text)


if __name__ == "__main__":
    main()
