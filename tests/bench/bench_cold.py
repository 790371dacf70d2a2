"""Cold starts: from exec to the first `next`, and on to a first threads.list or the first word of a message.

    .venv/bin/python -m tests.bench.bench_cold [--rounds 7] [--quick]

writes its section of docs/benchmarks.md. What starts is the built zip's folder (`make bundle`), with its bytecode and
without; beside it, on the same libraries, the naive server of tests/bench/naive. MiniStack stands for AWS, a fake of
the Responses API for the model. The contestants take turns, so that a noisy neighbour hits all; read the ratios. Linux.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from infra import bundling
from infra.wheels import LAMBDA
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from lambda_src.runtime.http1 import End, Head, Parser
from tests.auth.test_backend import ED_JWK, token
from tests.bench import report
from tests.bench.processes import cpu_s, peak_mib
from tests.chat import message
from tests.model_api import ModelApi, model_api

MARK = "bench-cold"
ROOT = Path(__file__).resolve().parents[2]
KEY = "/chatkit/bench/model-key"
WARM, COLD, BARE = "ours, prewarmed", "ours, not prewarmed", "ours without bytecode"
NAIVE, NAIVE_BARE = "naive", "naive without bytecode"
KINDS = ("list", "message")
FIRST = {"list": b"has_more", "message": b"text_delta"}  # what makes the answer's first byte, or first word


@dataclass
class Start:
    """One cold start: CPU and wall seconds since exec at the first `next`, the first word and the end; memory."""

    next_cpu: float
    next_wall: float
    first_cpu: float
    first_wall: float
    end_cpu: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that is started: by `command`, in `folder`, with `env`."""

    name: str
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class RuntimeApi:
    """Delivers one event, and notes when it was asked for, when its answer began and when it was done."""

    def __init__(self, event: Mapping[str, object], first: bytes) -> None:
        self.event, self.first = json.dumps(event).encode(), first
        self.pid, self.began_s = 0, 0.0
        self.at: dict[str, tuple[float, float]] = {}
        self.body = bytearray()
        self.done = asyncio.Event()

    def note(self, what: str) -> None:
        if what not in self.at:
            self.at[what] = cpu_s(self.pid), time.perf_counter() - self.began_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = Parser(requests=True)
        is_next = False
        while data := await reader.read(1 << 16):
            for part in parser.feed(data):
                match part:
                    case Head():
                        is_next = part.start[1].endswith("/next")
                    case End() if not is_next:
                        self.note("end")
                        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                    case End() if "next" in self.at:
                        self.done.set()
                    case End():
                        self.note("next")
                        head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nLambda-Runtime-Aws-Request-Id: one\r\n"
                        head += "Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n\r\n"
                        deadline_ms = int(time.time() * 1000) + 60_000
                        writer.write((head % (len(self.event), deadline_ms)).encode() + self.event)
                    case _:
                        self.body += part
                        if self.first in self.body:
                            self.note("first")


def request_of(kind: str) -> dict[str, object]:
    """A first request. No two messages are alike: the same bytes again would be taken for a retry, and replayed."""
    if kind == "list":
        return {"type": "threads.list", "params": {}}
    return {"type": "threads.create", "params": {"input": message(uuid.uuid4().hex)}}


def event_of(body: Mapping[str, object]) -> dict[str, object]:
    """What a function URL makes of a POST /chatkit."""
    http = {"method": "POST", "path": "/chatkit", "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"}
    headers = {"content-type": "application/json", "authorization": token(), "host": "chat.test"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/chatkit",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": http, "stage": "$default"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


async def started(contestant: Contestant, kind: str, env: Mapping[str, str], model: ModelApi) -> Start:
    """Start it, let it answer one request, end it. RuntimeError with what it said when it dies or refuses."""
    api = RuntimeApi(event_of(request_of(kind)), FIRST[kind])
    asked = len(model.requests)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryFile() as output:
        api.began_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *contestant.command,
            cwd=contestant.folder,
            env={**env, **contestant.env, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"},
            stdout=output,
            stderr=output,
        )
        api.pid = process.pid
        ended = asyncio.create_task(process.wait())
        done = asyncio.create_task(api.done.wait())
        await asyncio.wait({ended, done}, timeout=120, return_when=asyncio.FIRST_COMPLETED)
        if "first" not in api.at or not done.done():
            output.seek(0)
            raise RuntimeError(f"{contestant.name}: {output.read()[-3000:].decode()} {bytes(api.body)[:500]!r}")
        peak = peak_mib(process.pid)
        process.kill()
        await ended
    server.close()
    if len(model.requests) - asked != (kind == "message"):
        raise RuntimeError(f"{contestant.name}: a {kind} asked the model {len(model.requests) - asked} times")
    next_, first, end = api.at["next"], api.at["first"], api.at["end"]
    return Start(next_[0], next_[1], first[0], first[1], end[0], peak)


@asynccontextmanager
async def surroundings(folder: Path) -> AsyncIterator[tuple[ModelApi, dict[str, str]]]:
    """AWS and the model, and the environment that leads to them."""
    async with local_aws(folder) as aws, model_api() as model:
        await asyncio.to_thread(aws.client("ssm").put_parameter, Name=KEY, Type="SecureString", Value="sk-bench")
        yield (
            model,
            {
                "PATH": os.environ["PATH"],
                **aws.env,
                "CHAT_TABLE": TABLE,
                "CHAT_BUCKET": BUCKET,
                "CHAT_AUTH_PUBLIC_KEYS": json.dumps([ED_JWK]),
                "CHAT_AUTH_AUDIENCE": "chat",
                "CHAT_MODEL_KEY_PARAMETER": KEY,
                "OPENAI_BASE_URL": f"{model.url}/well",
                "_HANDLER": "lambda_src.handler.handler",
                "AWS_LAMBDA_FUNCTION_NAME": "bench",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's disk is read-only
            },
        )


def contestants(built: Path, folder: Path) -> list[Contestant]:
    """Ours with bytecode and without, prewarmed and not; the naive one with and without. All on the same libraries."""
    bare = folder / "without-bytecode"
    shutil.copytree(built, bare, ignore=shutil.ignore_patterns("__pycache__"))
    for place in (built, bare):
        naive = folder / f"naive-{place.name}" / "tests" / "bench" / "naive"
        shutil.copytree(ROOT / "tests" / "bench" / "naive", naive, ignore=shutil.ignore_patterns("__pycache__"))
        if place is built:
            compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(naive)]
            subprocess.run(compiling, check=True)
    ours = ("sh", "lambda_src/bootstrap", sys.executable, "bootstrap.py")
    naive_of = {place: {"PYTHONPATH": f"{folder / f'naive-{place.name}'}:{place}"} for place in (built, bare)}
    loop = (sys.executable, "-m", "tests.bench.naive")
    cold = {"CHAT_PREWARM": "false"}
    return [
        Contestant(WARM, built, ours, {"LAMBDA_TASK_ROOT": str(built)}),
        Contestant(COLD, built, ours, {"LAMBDA_TASK_ROOT": str(built), **cold}),
        Contestant(BARE, bare, ours, {"LAMBDA_TASK_ROOT": str(bare)}),
        Contestant(NAIVE, built, loop, naive_of[built]),
        Contestant(NAIVE_BARE, bare, loop, naive_of[bare]),
    ]


Measured = dict[tuple[str, str], list[Start]]


async def measured(built: Path, rounds: int) -> Measured:
    """Every contestant's cold starts, in turn; the first round warms the page cache and does not count."""
    found: Measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aws").mkdir()
        everyone = contestants(built, folder)
        async with surroundings(folder / "aws") as (model, env):
            for number in range(rounds + 1):
                for contestant in everyone:
                    for kind in KINDS:
                        start = await started(contestant, kind, env, model)
                        if number:
                            found.setdefault((contestant.name, kind), []).append(start)
    return found


def rows_of(found: Measured) -> list[tuple[str, str, str]]:
    """The ratios that were promised. Each is of medians; CPU, since wall time here is the neighbours' too."""

    def median(name: str, kind: str, what: Callable[[Start], float]) -> float:
        return statistics.median(map(what, found[name, kind]))

    def ratio(one: float, other: float, unit: str) -> str:
        return f"{one / other:.2f}x ({one:.2f} / {other:.2f} {unit})"

    def end(start: Start) -> float:
        return start.end_cpu

    def since_next(start: Start) -> float:
        return start.first_cpu - start.next_cpu

    rows = []
    for kind, ours, targets in (("message", WARM, ("0.60x", "0.35x")), ("list", COLD, ("0.50x", "0.27x"))):
        for name, target in zip((NAIVE, NAIVE_BARE), targets, strict=True):
            what = f"first {kind}, {ours}, to {name}"
            rows.append((what, ratio(median(ours, kind, end), median(name, kind, end), "s CPU"), target))
    for kind, ours in (("message", COLD), ("list", WARM)):
        rows.append(
            (
                f"first {kind}, {ours}, to {NAIVE}",
                ratio(median(ours, kind, end), median(NAIVE, kind, end), "s CPU"),
                "-",
            )
        )
    bare = ratio(median(WARM, "message", end), median(BARE, "message", end), "s CPU")
    rows.append(("bytecode in the zip: first message with to without", bare, "-"))
    after = ratio(median(WARM, "message", since_next), median(COLD, "message", since_next), "s CPU")
    rows.append(("first word after init: prewarmed to not", after, "0.15x"))
    naive = ratio(median(WARM, "message", since_next), median(NAIVE, "message", since_next), "s CPU")
    rows.append((f"... to {NAIVE}, all imported", naive, "-"))
    ours_mib, naive_mib = (median(name, "message", lambda start: start.peak_mib) for name in (WARM, NAIVE))
    rows.append((f"peak memory of a first message, to {NAIVE}", ratio(ours_mib, naive_mib, "MiB"), "0.75x"))
    return rows


def page(found: Measured, command: str, rounds: int) -> str:
    """The section of docs/benchmarks.md."""
    columns = [(one.name, 0 if one.name == "peak_mib" else 2) for one in fields(Start)]
    medians = [
        (name, kind, *(f"{statistics.median(getattr(one, column) for one in starts):.{n}f}" for column, n in columns))
        for (name, kind), starts in found.items()
    ]
    head = (
        "",
        "first request",
        "CPU to `next`",
        "wall",
        "CPU to first byte or word",
        "wall",
        "CPU to the end",
        "peak MiB",
    )
    return report.section(
        MARK,
        [
            "## Cold start",
            "",
            f"`{command}` on {report.machine()}. Medians of {rounds} rounds in turn; seconds since exec.",
            "",
            *report.table(head, medians),
            "",
            *report.table(("", "measured", "aimed at"), rows_of(found)),
        ],
    )


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")


def main() -> None:
    """Build, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round, nothing written")
    options = parser.parse_args()
    target = LAMBDA["x86_64" if platform.machine() == "x86_64" else "arm64"]
    built = bundling.build(ROOT, environ=os.environ, target=target, say=say)
    rounds = 1 if options.quick else options.rounds
    found = asyncio.run(measured(built.folder, rounds))
    text = page(found, f".venv/bin/python -m tests.bench.bench_cold --rounds {rounds}", rounds)
    sys.stdout.write(text)
    if not options.quick:
        report.write(MARK, text)


if __name__ == "__main__":
    main()
