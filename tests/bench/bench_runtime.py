"""Benchmark of the runtime against uvicorn behind a bridge and against a theoretical floor. Linux only.

    .venv/bin/python -m tests.bench.bench_runtime [--quick]

writes its section of docs/reference/benchmarks.md. All contestants run behind the same emulator and take turns every
few requests, so that noise on the machine affects all of them; read the ratios, not the milliseconds.

Latency is measured twice: through the emulator's Invoke API, which adds as little as possible to the runtime, and
through its function URL, where a Python HTTP server and client account for most of the time.
"""

import argparse
import asyncio
import io
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import h11

from lambda_src.dev.emulator import Emulator, Switches
from lambda_src.dev.emulator.delivery import Collected
from lambda_src.dev.emulator.url.events import Request, event_2_0
from tests.bench.report import write as write_section
from tests.dev.emulator.client import Stream, open_stream

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- bench-runtime: begin -->", "<!-- bench-runtime: end -->"
MIB = 1024 * 1024
TURN = 50  # requests before the next contestant's turn


@dataclass
class Contestant:
    """One way to serve the app, and its measurements."""

    name: str
    command: tuple[str, ...]
    json_ms: list[float] = field(default_factory=list)
    first_byte_ms: list[float] = field(default_factory=list)
    url_json_ms: list[float] = field(default_factory=list)
    url_first_byte_ms: list[float] = field(default_factory=list)
    chunk_cpu_us: list[float] = field(default_factory=list)
    chunk_wall_us: list[float] = field(default_factory=list)
    rss_mib: float = 0.0

    def emulator(self) -> Emulator:
        switches = Switches(processes=1, timeout_s=600, freeze=False)
        return Emulator("tests.bench.runtime_apps:app", command=self.command, switches=switches, output=io.StringIO())


CONTESTANTS = (
    Contestant("this runtime", ()),
    Contestant("bridge + uvicorn", (sys.executable, "-m", "tests.bench.bridge")),
    Contestant("null runtime", (sys.executable, "-m", "tests.bench.null_runtime")),
    Contestant("floor: null runtime + app", (sys.executable, "-m", "tests.bench.null_runtime", "--app")),
)


async def timed(url: str, path: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the first byte of the body and to its end, for `rounds` requests on one connection."""
    first, total = [], []
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(rounds):
        await asyncio.sleep(0.001)  # until the sandbox is back in `next`, so that no queueing is measured
        http = h11.Connection(h11.CLIENT)
        request = http.send(h11.Request(method="GET", target=path, headers=[("host", host)])) or b""
        http.send(h11.EndOfMessage())
        stream = Stream(reader, http)
        began = time.perf_counter()
        writer.write(request)
        await stream.chunk()
        first.append((time.perf_counter() - began) * 1000)
        await stream.rest()
        total.append((time.perf_counter() - began) * 1000)
    writer.close()
    return first, total


class Timed(Collected):
    """Records the time of the first byte."""

    def __init__(self) -> None:
        super().__init__()
        self.first_at = 0.0

    async def write(self, data: bytes) -> None:
        self.first_at = self.first_at or time.perf_counter()
        await super().write(data)


async def invoked(emulator: Emulator, path: str, rounds: int) -> tuple[list[float], list[float]]:
    """Like `timed`, but through the Invoke API."""
    first, total = [], []
    event = event_2_0(Request("GET", path, [("host", "bench")], b""), request_id="bench", now=datetime.now(UTC))
    for _ in range(rounds):
        await asyncio.sleep(0.001)
        answer = Timed()
        began = time.perf_counter()
        await emulator.invoke(event, answer)
        total.append((time.perf_counter() - began) * 1000)
        first.append((answer.first_at - began) * 1000)
    return first, total


async def measure(*, requests: int, chunks: int) -> None:
    """One round of all measurements for every contestant, in fresh processes, in turns of TURN requests."""
    async with AsyncExitStack() as stack:
        running = [(contestant, await stack.enter_async_context(contestant.emulator())) for contestant in CONTESTANTS]
        for _, emulator in running:
            await timed(emulator.url, "/json", 20)
        for n in range(requests // TURN):
            for contestant, emulator in running[n % len(running) :] + running[: n % len(running)]:
                contestant.json_ms += (await invoked(emulator, "/json", TURN))[1]
                contestant.first_byte_ms += (await invoked(emulator, "/stream/1", TURN))[0]
                contestant.url_json_ms += (await timed(emulator.url, "/json", TURN))[1]
                contestant.url_first_byte_ms += (await timed(emulator.url, "/stream/1", TURN))[0]
        for contestant, emulator in running:
            pids = group(emulator.pids[0])
            before, began = cpu_s(pids), time.perf_counter()
            await timed(emulator.url, f"/stream/{chunks}", 1)
            contestant.chunk_cpu_us.append((cpu_s(pids) - before) / chunks * 1e6)
            contestant.chunk_wall_us.append((time.perf_counter() - began) / chunks * 1e6)
            contestant.rss_mib = rss_mib(pids)


async def managed(streams: int) -> dict[str, float]:
    """The added delay of `streams` paced streams in one process, and their memory compared with that of one stream."""
    switches = Switches(managed=streams, timeout_s=600)
    async with Emulator("tests.bench.runtime_apps:paced", switches=switches, output=io.StringIO()) as emulator:
        await follow(emulator.url)
        alone = rss_mib(emulator.pids)
        all_delays = await asyncio.gather(*(follow(emulator.url) for _ in range(streams)))
        together = rss_mib(emulator.pids)
    delays = list(chain.from_iterable(all_delays))
    async with Emulator("tests.bench.runtime_apps:paced", switches=Switches(processes=4), output=io.StringIO()) as four:
        await asyncio.gather(*(follow(four.url) for _ in range(4)))
        per_process = rss_mib(four.pids) / len(four.pids)
    return {
        "p50_ms": quantile(delays, 0.5), "p95_ms": quantile(delays, 0.95), "p99_ms": quantile(delays, 0.99),
        "alone_mib": alone, "together_mib": together, "per_process_mib": per_process,
    }  # fmt: skip


async def follow(url: str) -> list[float]:
    """Milliseconds between the sending of each event and its arrival here."""
    delays = []
    async with open_stream(url) as stream:
        while data := await stream.chunk():
            now = time.monotonic_ns()
            delays += [(now - int(line)) / 1e6 for line in data.split()]
    return delays


def group(leader: int) -> list[int]:
    """The IDs of all processes of a sandbox."""
    result = subprocess.run(["pgrep", "-g", str(leader)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in result.stdout.split()]


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds as the scheduler counts them, because /proc/*/stat has a resolution of only 10 ms."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def rss_mib(pids: Sequence[int]) -> float:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def app_rss_mib() -> float:
    """The memory of a process with the app and an event loop but no server."""
    code = (
        "import tests.bench.runtime_apps as a; a.asyncio.run(a.asyncio.sleep(0)); "
        "print(open('/proc/self/statm').read())"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return int(out.split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def report(app_mib: float, streams: int, many: dict[str, float], command: str) -> str:
    """The section of docs/reference/benchmarks.md."""
    ours, bridge, null, floor = CONTESTANTS
    median = statistics.median

    def ratio(what: str, limit: str, over: float, under: float) -> str:
        return f"| {what} | {over / under:.2f}x | {limit} |"

    rows = [
        f"| {c.name} | {median(c.json_ms):.2f} | {quantile(c.json_ms, 0.99):.2f} | {median(c.first_byte_ms):.2f} "
        f"| {median(c.url_json_ms):.2f} | {median(c.url_first_byte_ms):.2f} "
        f"| {median(c.chunk_cpu_us):.1f} | {median(c.chunk_wall_us):.1f} | {c.rss_mib:.1f} |"
        for c in CONTESTANTS
    ]
    median_of_null = median(null.json_ms)
    streams_mib, one_mib = many["together_mib"], many["alone_mib"]
    ratios = [
        ratio("median of a 1 KB JSON answer, to the bridge's", "0.6", median(ours.json_ms), median(bridge.json_ms)),
        ratio("... to the floor's", "1.3", median(ours.json_ms), median(floor.json_ms)),
        ratio("... p99, to the bridge's", "0.6", quantile(ours.json_ms, 0.99), quantile(bridge.json_ms, 0.99)),
        ratio("... the floor's, to the bridge's", "-", median(floor.json_ms), median(bridge.json_ms)),
        ratio(
            "... what ours adds to the null runtime, to what the bridge adds",
            "-",
            median(ours.json_ms) - median_of_null,
            median(bridge.json_ms) - median_of_null,
        ),
        ratio("first byte, to the bridge's", "0.6", median(ours.first_byte_ms), median(bridge.first_byte_ms)),
        ratio("... to the floor's", "1.3", median(ours.first_byte_ms), median(floor.first_byte_ms)),
        ratio("by the URL: JSON, to the bridge's", "0.6", median(ours.url_json_ms), median(bridge.url_json_ms)),
        ratio("... the null runtime's, to the bridge's", "-", median(null.url_json_ms), median(bridge.url_json_ms)),
        ratio("... to the floor's", "1.3", median(ours.url_json_ms), median(floor.url_json_ms)),
        ratio("... first byte", "0.6", median(ours.url_first_byte_ms), median(bridge.url_first_byte_ms)),
        ratio(
            "CPU of the sandbox a chunk, to the bridge's", "0.6", median(ours.chunk_cpu_us), median(bridge.chunk_cpu_us)
        ),
        ratio(f"{streams} streams in one process: memory, to one stream's", "1.5", streams_mib, one_mib),
        ratio("... memory a stream, to a process each", "0.1", streams_mib / streams, many["per_process_mib"]),
    ]
    absolute = [
        ("memory over the app's own", f"{ours.rss_mib - app_mib:.1f} MiB", "5 MiB"),
        (f"{streams} streams at 10 events a second: added delay, p95", f"{many['p95_ms']:.1f} ms", "20 ms"),
    ]
    return "\n".join(
        [
            BEGIN,
            "## The runtime",
            "",
            f"`{command}` on {platform.system()} {platform.machine()}, {os.cpu_count()} shared cores, "
            f"CPython {platform.python_version()}. Medians within a run.",
            "",
            "The table compares four ways to run the same app on the emulator. The bridge is an adapter like",
            "those in common use: it passes each request over HTTP to uvicorn, a second process. (It is written",
            "in Python; a compiled one would be faster.) The null runtime sends a fixed response and has no app,",
            "so its row shows the cost of the emulator, which is included in all rows. The floor calls the app",
            "directly, without a server or an event loop, so no real server can be faster. Its streamed chunks",
            "are fixed too, so their CPU time is not a floor.",
            "",
            'The columns "by the URL" are measured through the function URL, which adds an HTTP server and a client',
            "written in Python. The other times are measured at the Runtime API.",
            "",
            "| | 1 KB JSON ms | p99 | first byte ms | by the URL: JSON | first byte "
            "| CPU us a chunk | wall us a chunk | RSS MiB |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"A process that has only imported the app, without a server, needs {app_mib:.1f} MiB.",
            "",
            "| | measured | aimed at |",
            "|---|---|---|",
            *ratios,
            *(f"| {what} | {value} | {most} |" for what, value, most in absolute),
            END,
        ]
    )


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


async def run(*, rounds: int, requests: int, chunks: int, streams: int, command: str) -> str:
    for n in range(rounds):
        say(f"round {n + 1} of {rounds}")
        await measure(requests=requests, chunks=chunks)
    say(f"{streams} streams in one process")
    many = await managed(streams)
    return report(app_rss_mib(), streams, many, command)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a short run that writes nothing")
    quick = parser.parse_args().quick
    size = {"rounds": 1, "requests": 100, "chunks": 2000, "streams": 20} if quick else {
        "rounds": 5, "requests": 300, "chunks": 10_000, "streams": 200,
    }  # fmt: skip
    section = asyncio.run(run(**size, command=".venv/bin/python -m tests.bench.bench_runtime"))
    say(section)
    if not quick:
        write_section("bench-runtime", section)


if __name__ == "__main__":
    main()
