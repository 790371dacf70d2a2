"""Benchmark of cold starts: from exec to the first `next`, then to a first threads.list or the first word of an answer.

    .venv/bin/python -m tests.bench.bench_cold [--rounds 7] [--quick]

writes its section of docs/reference/benchmarks.md. It starts the built zip's folder (`make bundle`) with and without
bytecode, and, for comparison, the naive server in tests/bench/naive with the same libraries and all of botocore's data.
AWS is MiniStack, and the model is a fake Responses API. The contestants take turns, so that noise on the machine
affects all of them; read the ratios. Linux only.
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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path

import botocore

from infra.bundle import build
from infra.bundle.wheels import LAMBDA
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from lambda_src.startup import flags
from tests.auth.test_backend_tokens import ED_JWK
from tests.bench import report
from tests.bench.cold_start import KINDS, Contestant, Start, start_once
from tests.fakes.model_api import ModelApi, model_api

MARK = "bench-cold"
ROOT = Path(__file__).resolve().parents[2]
KEY = "/chatkit/bench/model-key"
WARM, COLD, BARE = "ours, prewarmed", "ours, not prewarmed", "ours without bytecode"
NAIVE, NAIVE_BARE = "naive", "naive without bytecode"


@asynccontextmanager
async def surroundings(folder: Path) -> AsyncIterator[tuple[ModelApi, dict[str, str]]]:
    """Run the local AWS and the fake model; yield the model and the environment variables that point to both."""
    async with local_aws(folder) as aws, model_api() as model:
        await asyncio.to_thread(aws.client("ssm").put_parameter, Name=KEY, Type="SecureString", Value="sk-bench")
        yield (
            model,
            {
                "PATH": os.environ["PATH"],
                **{name: os.environ[name] for name in (flags.VARIABLE,) if name in os.environ},
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
    """Ours with and without bytecode and prewarming, and the naive server with and without bytecode."""
    bare = folder / "without-bytecode"
    shutil.copytree(built, bare, ignore=shutil.ignore_patterns("__pycache__"))
    for place in (built, bare):
        naive = folder / f"naive-{place.name}" / "tests" / "bench" / "naive"
        shutil.copytree(ROOT / "tests" / "bench" / "naive", naive, ignore=shutil.ignore_patterns("__pycache__"))
        if place is built:
            compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(naive)]
            subprocess.run(compiling, check=True)
    ours = ("sh", "lambda_src/bootstrap", sys.executable, "bootstrap.py")
    full_data = str(Path(botocore.__file__).parent / "data")  # infra/bundle/aws_services.py trims it in the zip
    naive_of = {
        place: {"PYTHONPATH": f"{folder / f'naive-{place.name}'}:{place}", "AWS_DATA_PATH": full_data}
        for place in (built, bare)
    }
    loop = (sys.executable, "-m", "tests.bench.naive")
    cold = {"CHAT_OPTIMIZATIONS_OFF": "prewarm"}
    return [
        Contestant(WARM, built, ours, {"LAMBDA_TASK_ROOT": str(built)}),
        Contestant(COLD, built, ours, {"LAMBDA_TASK_ROOT": str(built), **cold}),
        Contestant(BARE, bare, ours, {"LAMBDA_TASK_ROOT": str(bare)}),
        Contestant(NAIVE, built, loop, naive_of[built]),
        Contestant(NAIVE_BARE, bare, loop, naive_of[bare]),
    ]


Measured = dict[tuple[str, str], list[Start]]


async def measured(built: Path, rounds: int) -> Measured:
    """Every contestant's cold starts, in turn. The first round warms the page cache and does not count."""
    starts: Measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aws").mkdir()
        everyone = contestants(built, folder)
        async with surroundings(folder / "aws") as (model, env):
            for number in range(rounds + 1):
                for contestant in everyone:
                    for kind in KINDS:
                        start = await start_once(contestant, kind, env, model)
                        if number:
                            starts.setdefault((contestant.name, kind), []).append(start)
    return starts


def rows_of(starts: Measured) -> list[tuple[str, str, str]]:
    """The ratios with targets. Each compares median CPU times, because wall time depends on other processes."""

    def median(name: str, kind: str, what: Callable[[Start], float]) -> float:
        return statistics.median(map(what, starts[name, kind]))

    def ratio(value: float, other: float, unit: str) -> str:
        return f"{value / other:.2f}x ({value:.2f} / {other:.2f} {unit})"

    def end(start: Start) -> float:
        return start.end_cpu

    def since_next(start: Start) -> float:
        return start.first_cpu - start.next_cpu

    rows = []
    for kind, ours, targets in (("message", WARM, ("0.72x", "0.35x")), ("list", COLD, ("0.35x", "0.27x"))):
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
    rows.append((f"peak memory of a first message, to {NAIVE}", ratio(ours_mib, naive_mib, "MiB"), "0.95x"))
    return rows


def page(starts: Measured, command: str, rounds: int) -> str:
    """The section of docs/reference/benchmarks.md."""
    columns = [(column.name, 0 if column.name == "peak_mib" else 2) for column in fields(Start)]
    medians = [
        (
            name,
            kind,
            *(f"{statistics.median(getattr(start, column) for start in group):.{n}f}" for column, n in columns),
        )
        for (name, kind), group in starts.items()
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
            f"`{command}` on {report.machine()}. Medians of {rounds} interleaved rounds.",
            "",
            "All times are seconds since the process was started. `next` is the call with which a process asks",
            "for its first event, the end of Lambda's INIT phase. The naive server is a small chat server with",
            "the same libraries and nothing optimized (`tests/bench/naive`).",
            "",
            *report.table(head, medians),
            "",
            *report.table(("", "measured", "aimed at"), rows_of(starts)),
        ],
    )


def say(line: str) -> None:
    """Print progress."""
    sys.stderr.write(f"{line}\n")


def main() -> None:
    """Build, measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round, nothing written")
    options = parser.parse_args()
    target = LAMBDA["x86_64" if platform.machine() == "x86_64" else "arm64"]
    built = build.build(ROOT, environ=os.environ, target=target, say=say)
    rounds = 1 if options.quick else options.rounds
    starts = asyncio.run(measured(built.folder, rounds))
    text = page(starts, f".venv/bin/python -m tests.bench.bench_cold --rounds {rounds}", rounds)
    sys.stdout.write(text)
    if not options.quick:
        report.write(MARK, text)


if __name__ == "__main__":
    main()
